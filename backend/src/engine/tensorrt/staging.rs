//! Memory of a lane's tensors: pinned on the host's side, and the GPU's. Each grows to the largest that was asked for and is kept.

use forebay_bindings::Error;
use forebay_bindings::cuda::{Device, DeviceBuffer, PinnedBuffer};

pub(super) struct Staging {
    device: Device,
    /// By the tensor's number; none before the first use.
    tensors: Vec<Option<Sides>>,
    allocations: u64,
}

/// The two sides, equally large.
pub(super) struct Sides {
    pub(super) host: PinnedBuffer,
    pub(super) gpu: DeviceBuffer,
}

impl Staging {
    /// For so many tensors.
    pub(super) fn new(device: &Device, tensors: usize) -> Self {
        Self { device: device.clone(), tensors: (0..tensors).map(|_| None).collect(), allocations: 0 }
    }

    /// Room for so many bytes of a tensor.
    ///
    /// # Errors
    /// There is not enough memory.
    pub(super) fn of(&mut self, tensor: usize, bytes: usize) -> Result<&Sides, Error> {
        let before = self.tensors[tensor].as_ref().map_or(0, |sides| sides.host.len());
        if before < bytes || self.tensors[tensor].is_none() {
            self.allocations += 1;
            // The old ones first: there may be no room for both.
            self.tensors[tensor] = None;
            // Twice as much as before, so that slow growth is not an allocation a run.
            let grown = self.allocate(bytes.max(before * 2)).or_else(|_| self.allocate(bytes));
            self.tensors[tensor] = Some(grown?);
        }
        // Unreachable: it was put there just now.
        self.tensors[tensor].as_ref().ok_or_else(|| Error::Wrong("no staging memory".to_owned()))
    }
    /// How often memory was allocated: whether a tensor lies where it lay before.
    pub(super) fn allocations(&self) -> u64 {
        self.allocations
    }

    fn allocate(&self, bytes: usize) -> Result<Sides, Error> {
        Ok(Sides { host: self.device.alloc_pinned(bytes)?, gpu: self.device.alloc(bytes)? })
    }
}
