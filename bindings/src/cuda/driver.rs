//! CUDA's driver is found here, once a process. Next: its [`Device`]s.

use std::ffi::c_int;
use std::sync::OnceLock;

use cudarc::driver::sys;

use super::device::Device;
use super::error::{CudaError, check};

/// Every function of the driver that this crate calls. cudarc panics at the first call of one that is missing, so all are looked
/// for beforehand.
const SYMBOLS: [&str; 36] = [
    "cuInit",
    "cuDriverGetVersion",
    "cuDeviceGetCount",
    "cuDeviceGet",
    "cuDeviceGetName",
    "cuDeviceGetAttribute",
    "cuDevicePrimaryCtxRetain",
    "cuDevicePrimaryCtxRelease_v2",
    "cuCtxSetCurrent",
    "cuCtxSynchronize",
    "cuMemGetInfo_v2",
    "cuMemAlloc_v2",
    "cuMemFree_v2",
    "cuMemHostAlloc",
    "cuMemFreeHost",
    "cuMemcpyHtoDAsync_v2",
    "cuMemcpyDtoHAsync_v2",
    "cuStreamCreate",
    "cuStreamDestroy_v2",
    "cuStreamSynchronize",
    "cuStreamQuery",
    "cuStreamWaitEvent",
    "cuStreamBeginCapture_v2",
    "cuStreamEndCapture",
    "cuEventCreate",
    "cuEventDestroy_v2",
    "cuEventRecord",
    "cuEventQuery",
    "cuEventSynchronize",
    "cuEventElapsedTime_v2",
    "cuGraphInstantiateWithFlags",
    "cuGraphDestroy",
    "cuGraphExecDestroy",
    "cuGraphLaunch",
    "cuGetErrorName",
    "cuGetErrorString",
];

/// CUDA's driver, loaded and initialised. It stays loaded until the process ends.
#[derive(Debug, Clone, Copy)]
pub struct Driver(());

impl Driver {
    /// Loads `libcuda`, checks that it has every function needed, and initialises it. Does it once; later calls get the outcome.
    ///
    /// # Errors
    /// There is no driver, it is too old, or it can't be initialised, as without a GPU.
    pub fn load() -> Result<Self, CudaError> {
        static LOADED: OnceLock<Result<Driver, CudaError>> = OnceLock::new();
        LOADED.get_or_init(Self::load_now).clone()
    }

    fn load_now() -> Result<Self, CudaError> {
        // SAFETY: what runs as libcuda is loaded is its own initialisation.
        if !unsafe { sys::is_culib_present() } {
            return Err(CudaError::NoDriver);
        }
        // SAFETY: as above; it was found a moment ago, so this doesn't panic.
        let library = unsafe { sys::culib() };
        for symbol in SYMBOLS {
            // SAFETY: the function is only looked for, not called.
            if unsafe { library.get::<unsafe extern "C" fn()>(symbol.as_bytes()) }.is_err() {
                return Err(CudaError::TooOld { symbol });
            }
        }
        // SAFETY: the function is there; its one argument must be 0.
        check("cuInit", unsafe { sys::cuInit(0) })?;
        Ok(Self(()))
    }

    /// The newest CUDA that the driver can do: 13000 is 13.0.
    ///
    /// # Errors
    /// The driver fails.
    pub fn version(self) -> Result<i32, CudaError> {
        let mut version: c_int = 0;
        // SAFETY: the driver writes a number to a place that lives.
        check("cuDriverGetVersion", unsafe { sys::cuDriverGetVersion(&raw mut version) })?;
        Ok(version)
    }

    /// How many GPUs this process sees.
    ///
    /// # Errors
    /// The driver fails.
    pub fn count(self) -> Result<usize, CudaError> {
        let mut count: c_int = 0;
        // SAFETY: the driver writes a number to a place that lives.
        check("cuDeviceGetCount", unsafe { sys::cuDeviceGetCount(&raw mut count) })?;
        Ok(usize::try_from(count).unwrap_or(0))
    }

    /// The GPU of that number.
    ///
    /// # Errors
    /// There is no such GPU, or it can't be used.
    pub fn device(self, ordinal: usize) -> Result<Device, CudaError> {
        let count = self.count()?;
        let number = c_int::try_from(ordinal).ok().filter(|_| ordinal < count);
        Device::new(number.ok_or(CudaError::NoDevice { ordinal, count })?)
    }
}
