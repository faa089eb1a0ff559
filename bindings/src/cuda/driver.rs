//! CUDA's driver is found here, once a process. Next: its [`Device`]s.

use std::ffi::c_int;
use std::sync::OnceLock;

use super::call::check;
use super::device::{Device, MemoryInfo};
use super::error::CudaError;
use super::sys::{self, cuda};

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
        sys::load()?;
        // SAFETY: its one argument must be 0.
        check("cuInit", unsafe { cuda().cuInit(0) })?;
        Ok(Self(()))
    }

    /// The newest CUDA that the driver can do: 13000 is 13.0.
    ///
    /// # Errors
    /// The driver fails.
    pub fn version(self) -> Result<i32, CudaError> {
        let mut version: c_int = 0;
        // SAFETY: the driver writes a number to a place that lives.
        check("cuDriverGetVersion", unsafe { cuda().cuDriverGetVersion(&raw mut version) })?;
        Ok(version)
    }

    /// How many GPUs this process sees.
    ///
    /// # Errors
    /// The driver fails.
    pub fn count(self) -> Result<usize, CudaError> {
        let mut count: c_int = 0;
        // SAFETY: the driver writes a number to a place that lives.
        check("cuDeviceGetCount", unsafe { cuda().cuDeviceGetCount(&raw mut count) })?;
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

    /// What NVIDIA's tools call the GPU of that number: "GPU-" and its UUID.
    ///
    /// # Errors
    /// There is no such GPU, or the driver fails.
    pub fn uuid(self, ordinal: usize) -> Result<String, CudaError> {
        let mut uuid = sys::CUuuid { bytes: [0; 16] };
        // SAFETY: the driver writes to a place that lives.
        let result = unsafe { cuda().cuDeviceGetUuid_v2(&raw mut uuid, Self::raw(ordinal)?) };
        check("cuDeviceGetUuid", result)?;
        let [a, b, c, d, ref rest @ ..] = uuid.bytes.map(|byte| format!("{:02x}", byte.to_ne_bytes()[0]));
        let pair = |place: usize| rest[place..place + 2].concat();
        Ok(format!("GPU-{a}{b}{c}{d}-{}-{}-{}-{}", pair(0), pair(2), pair(4), rest[6..].concat()))
    }

    /// Bytes of memory that the GPU of that number has.
    ///
    /// # Errors
    /// There is no such GPU, or the driver fails.
    pub fn total_memory(self, ordinal: usize) -> Result<usize, CudaError> {
        let mut bytes = 0;
        // SAFETY: the driver writes to a place that lives.
        let result = unsafe { cuda().cuDeviceTotalMem_v2(&raw mut bytes, Self::raw(ordinal)?) };
        check("cuDeviceTotalMem", result)?;
        Ok(bytes)
    }

    /// Memory of the GPU of that number; `None` if this process has no context there, which takes memory itself: none is made.
    ///
    /// # Errors
    /// There is no such GPU, or the driver fails.
    pub fn memory(self, ordinal: usize) -> Result<Option<MemoryInfo>, CudaError> {
        let (mut flags, mut active) = (0, 0);
        let raw = Self::raw(ordinal)?;
        // SAFETY: the driver writes to places that live.
        let result = unsafe { cuda().cuDevicePrimaryCtxGetState(raw, &raw mut flags, &raw mut active) };
        check("cuDevicePrimaryCtxGetState", result)?;
        if active == 0 {
            return Ok(None);
        }
        self.device(ordinal)?.memory().map(Some)
    }

    /// Makes the context of the GPU of that number anew, after an error that stays with it ([`CudaError::is_sticky`]). Whether
    /// the GPU works again is for [`Device::check`] to say.
    ///
    /// What any other library of this process has on that GPU would be gone as well, and it wouldn't know of it. So there must be
    /// none: all that this crate made there is let go before, and with it what TensorRT has; and no library but NVIDIA's own is
    /// loaded that knows CUDA, such as a provider of ONNX Runtime's. What is linked into the program itself isn't looked at:
    /// this crate is the one that knows CUDA there, and `deny.toml` keeps it so. Nor may one be loaded and used from then to the
    /// reset's end, which can't be seen from here: who loads such libraries takes turns with whoever calls this.
    ///
    /// # Errors
    /// [`CudaError::Busy`]: something that was made on the GPU is still there. [`CudaError::NotAlone`]: another library uses CUDA.
    /// Or the driver can't do it.
    pub fn reset(self, ordinal: usize) -> Result<(), CudaError> {
        Device::reset(Self::number(ordinal)?)
    }

    fn number(ordinal: usize) -> Result<c_int, CudaError> {
        c_int::try_from(ordinal).map_err(|_| CudaError::NoDevice { ordinal, count: 0 })
    }

    fn raw(ordinal: usize) -> Result<sys::CUdevice, CudaError> {
        let mut raw: sys::CUdevice = 0;
        // SAFETY: the driver is loaded, for a handle of it is there; it writes to a place that lives.
        check("cuDeviceGet", unsafe { cuda().cuDeviceGet(&raw mut raw, Self::number(ordinal)?) })?;
        Ok(raw)
    }
}
