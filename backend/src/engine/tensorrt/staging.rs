//! Memory of a lane's tensors: pinned on the host's side, and the GPU's. Each grows to the largest that was asked for and is kept.

use forebay_bindings::Error;
use forebay_bindings::cuda::{Device, DeviceBuffer, PinnedBuffer};

pub(super) struct Staging {
    device: Device,
    /// By the tensor's number; none before the first use.
    tensors: Vec<Option<Sides>>,
}

/// The two sides, equally large.
pub(super) struct Sides {
    pub(super) host: PinnedBuffer,
    pub(super) gpu: DeviceBuffer,
}

impl Staging {
    /// For so many tensors.
    pub(super) fn new(device: &Device, tensors: usize) -> Self {
        Self { device: device.clone(), tensors: (0..tensors).map(|_| None).collect() }
    }

    /// Room for so many bytes of a tensor.
    ///
    /// # Errors
    /// There is not enough memory.
    pub(super) fn of(&mut self, tensor: usize, bytes: usize) -> Result<&Sides, Error> {
        let sides = &mut self.tensors[tensor];
        if sides.as_ref().is_none_or(|sides| sides.host.len() < bytes) {
            // The old ones first: there may be no room for both.
            *sides = None;
            *sides = Some(Sides { host: self.device.alloc_pinned(bytes)?, gpu: self.device.alloc(bytes)? });
        }
        // Unreachable: it was put there just now.
        sides.as_ref().ok_or_else(|| Error::Wrong("no staging memory".to_owned()))
    }
}
