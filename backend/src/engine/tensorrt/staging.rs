//! Memory of one tensor: pinned on the host's side, and the GPU's. It grows to the largest that was asked for and is kept.

use forebay_bindings::Error;
use forebay_bindings::cuda::{Device, DeviceBuffer, PinnedBuffer};

#[derive(Default)]
pub(super) struct Staging(Option<Sides>);

/// The two sides, equally large.
pub(super) struct Sides {
    pub(super) host: PinnedBuffer,
    pub(super) gpu: DeviceBuffer,
}

impl Staging {
    /// Room for so many bytes.
    ///
    /// # Errors
    /// There is not enough memory.
    pub(super) fn of(&mut self, device: &Device, bytes: usize) -> Result<&Sides, Error> {
        if self.0.as_ref().is_none_or(|sides| sides.host.len() < bytes) {
            // The old ones first: there may be no room for both.
            self.0 = None;
            self.0 = Some(Sides { host: device.alloc_pinned(bytes)?, gpu: device.alloc(bytes)? });
        }
        // Unreachable: it was put there just now.
        self.0.as_ref().ok_or_else(|| Error::Wrong("no staging memory".to_owned()))
    }
}
