//! What work on streams and captured graphs keep of a context: it goes when they are done.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cxx::UniquePtr;

use crate::bridge::ffi;
use crate::cuda::{CudaError, Device, Epoch, Order, Ordered};
use crate::engine::Engine;
use crate::scratch::Scratch;

/// TensorRT's context, and what it needs.
pub(super) struct Inner {
    // Before what it needs: fields are dropped in this order.
    pub(super) raw: Mutex<UniquePtr<ffi::Context>>,
    pub(super) order: Arc<Order>,
    pub(super) epoch: Epoch,
    pub(super) device: Device,
    pub(super) scratch: Scratch,
    pub(super) engine: Engine,
}

// SAFETY: TensorRT's context is bound to no thread; the mutex around it lets one in at a time.
unsafe impl Send for ffi::Context {}

impl Ordered for Inner {
    fn order(&self) -> &Order {
        &self.order
    }

    fn epoch(&self) -> &Epoch {
        &self.epoch
    }
}

impl Inner {
    /// Outdates the graphs that were captured from it, before what they rely on changes.
    ///
    /// # Errors
    /// What was launched failed, or is on a stream that is being captured.
    pub(super) fn outdate_graphs(&self) -> Result<(), CudaError> {
        self.order.outdate(&self.epoch)
    }

    /// Waits for what was launched, and outdates the graphs though that failed: what they rely on goes.
    ///
    /// # Errors
    /// What was launched failed, or is on a stream that is being captured.
    pub(super) fn end_graphs(&self) -> Result<(), CudaError> {
        self.order.end(&self.epoch)
    }

    /// TensorRT's context, for one caller at a time. The GPU becomes the thread's, for TensorRT works on the one that is.
    pub(super) fn raw(&self) -> Result<MutexGuard<'_, UniquePtr<ffi::Context>>, CudaError> {
        self.device.bind()?;
        Ok(self.raw.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Of a GPU that is lost nothing runs any more.
        if self.order.wait().is_err_and(|error| !error.is_sticky()) {
            // Whether it still runs can't be told: better lost, with the engine that it needs, than destroyed as it runs.
            let raw = self.raw.get_mut().unwrap_or_else(PoisonError::into_inner);
            std::mem::forget((std::mem::replace(raw, UniquePtr::null()), self.engine.clone()));
        }
        // TensorRT frees memory of this GPU.
        let _ = self.device.bind();
    }
}
