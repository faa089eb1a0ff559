//! Whose scratch memory a context runs in: a choice enters, the order that its work must be done in leaves.

use std::sync::Arc;

use crate::cuda::{CudaError, Device, DeviceBuffer, Order};

/// Whose scratch memory a context runs in.
#[derive(Debug, Clone)]
pub enum Scratch {
    /// Its own, enough for every profile, allocated at once.
    Own,
    /// Its own, as much as the chosen profile needs, allocated as it is chosen.
    OwnPerProfile,
    /// Memory that contexts of any engines share: their work is done one after another.
    Shared(SharedScratch),
}

/// Scratch memory for several contexts. A handle: cheap to clone, used by any thread. Contexts keep it.
#[derive(Clone)]
pub struct SharedScratch(Arc<Inner>);

struct Inner {
    buffer: DeviceBuffer,
    order: Arc<Order>,
}

impl SharedScratch {
    /// Allocates it: as much as the largest need of its contexts, see [`crate::Engine::scratch_size`].
    ///
    /// # Errors
    /// There is not enough memory.
    pub fn new(device: &Device, len: usize) -> Result<Self, CudaError> {
        Ok(Self(Arc::new(Inner { buffer: device.alloc(len)?, order: Arc::new(Order::new(device)?) })))
    }

    /// Bytes.
    pub fn len(&self) -> usize {
        self.0.buffer.len()
    }

    /// Never: the smallest has 256 bytes.
    pub fn is_empty(&self) -> bool {
        self.0.buffer.is_empty()
    }

    pub(crate) fn buffer(&self) -> &DeviceBuffer {
        &self.0.buffer
    }

    pub(crate) fn order(&self) -> Arc<Order> {
        self.0.order.clone()
    }
}

impl std::fmt::Debug for SharedScratch {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} bytes of {:?}", self.len(), self.0.buffer.device())
    }
}
