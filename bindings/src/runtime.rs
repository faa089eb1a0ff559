//! A library enters, a runtime leaves, which makes an [`Engine`] of a plan.

use std::sync::{Arc, Mutex, PoisonError};

use cxx::UniquePtr;

use crate::bridge::ffi;
use crate::cuda::{CudaError, Device};
use crate::engine::Engine;
use crate::error::Error;
use crate::flavour::HostCode;
use crate::library::Library;

/// Makes engines. A handle: cheap to clone, used by any thread; threads take turns.
///
/// It keeps its library's handle; engines keep their runtime.
#[derive(Clone)]
pub struct Runtime(Arc<Inner>);

struct Inner {
    // Before what it needs: fields are dropped in this order.
    raw: Mutex<UniquePtr<ffi::Runtime>>,
    device: Option<Device>,
    library: Library,
}

// SAFETY: TensorRT's runtime is bound to no thread; the mutex around it lets one in at a time.
unsafe impl Send for ffi::Runtime {}

impl Drop for Inner {
    fn drop(&mut self) {
        // TensorRT frees what is on this GPU. A GPU that is lost needs no freeing.
        let _ = self.device.as_ref().map_or(Ok(()), Device::bind);
    }
}

impl Library {
    /// Makes a runtime for engines on that GPU. Without a GPU plans can't be run, only refused.
    ///
    /// # Errors
    /// TensorRT can't make one, as without a driver.
    pub fn runtime(&self, device: Option<&Device>, host_code: HostCode) -> Result<Runtime, Error> {
        device.map_or(Ok(()), Device::bind)?;
        let raw = self.raw().runtime(host_code == HostCode::Allow)?;
        let inner = Inner { raw: Mutex::new(raw), device: device.cloned(), library: self.clone() };
        Ok(Runtime(Arc::new(inner)))
    }
}

impl Runtime {
    /// Makes an engine of a plan: its weights are copied into GPU memory. The plan isn't needed afterwards.
    ///
    /// # Errors
    /// It is no plan, one that was cut short or changed, of another version, flavour or GPU, or carries host code that is not
    /// allowed; or there is no driver or not enough GPU memory. The message is TensorRT's.
    pub fn deserialize(&self, plan: &[u8]) -> Result<Engine, Error> {
        self.device().map_or(Ok(()), Device::bind)?;
        let runtime = self.0.raw.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.free()?;
        let raw = runtime.deserialize(plan)?;
        let taken = before.saturating_sub(self.free()?);
        drop(runtime);
        Engine::new(raw, self.clone(), taken)
    }

    /// Bytes of the GPU's memory that are free; 0 without a GPU.
    fn free(&self) -> Result<usize, CudaError> {
        self.device().map_or(Ok(0), |device| device.memory().map(|memory| memory.free))
    }

    /// The GPU that engines are made on.
    pub fn device(&self) -> Option<&Device> {
        self.0.device.as_ref()
    }

    /// The library that it is of.
    pub fn library(&self) -> &Library {
        &self.0.library
    }
}
