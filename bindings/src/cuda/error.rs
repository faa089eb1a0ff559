//! What CUDA's driver answers enters, an error that says what was tried leaves.

use cudarc::driver::sys::{self, CUresult};

/// An error of CUDA, or a use of it that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CudaError {
    /// There is no driver.
    #[error("CUDA's driver (libcuda.so.1) is not on this machine")]
    NoDriver,
    /// The driver lacks functions.
    #[error("CUDA's driver is too old: it has no {symbol}")]
    TooOld {
        /// A function that it lacks.
        symbol: &'static str,
    },
    /// There is no such GPU.
    #[error("there is no GPU {ordinal}: this process sees {count}")]
    NoDevice {
        /// What was asked for.
        ordinal: usize,
        /// How many there are.
        count: usize,
    },
    /// GPU memory is used up.
    #[error("out of GPU memory: wanted {wanted} bytes, {free} of {total} are free")]
    OutOfMemory {
        /// Bytes that were wanted.
        wanted: usize,
        /// Bytes that were free.
        free: usize,
        /// Bytes that the GPU has.
        total: usize,
    },
    /// The host or another stream may still use what was asked for.
    #[error("{what} is in use: {by}")]
    Busy {
        /// What was asked for.
        what: &'static str,
        /// Who uses it.
        by: &'static str,
    },
    /// Offset and length leave the buffer.
    #[error("{len} bytes at {offset} are not in a buffer of {size} bytes")]
    Range {
        /// First byte.
        offset: usize,
        /// How many.
        len: usize,
        /// Size of the buffer.
        size: usize,
    },
    /// Two things of two GPUs.
    #[error("{what} is of another GPU than the stream")]
    OtherDevice {
        /// The thing.
        what: &'static str,
    },
    /// A graph is being captured on the stream.
    #[error("{what} is not possible while a graph is captured on the stream")]
    Capturing {
        /// What was tried.
        what: &'static str,
    },
    /// A graph's execution context is not as it was when the graph was captured.
    #[error("the graph is out of date: its execution context took other shapes or another profile since")]
    Stale,
    /// The driver refuses.
    #[error("{call} failed: {text} ({name}, {code})")]
    Failed {
        /// The driver's function.
        call: &'static str,
        /// The error's number.
        code: u32,
        /// Its name.
        name: String,
        /// Its meaning.
        text: String,
    },
}

impl CudaError {
    /// Is the GPU's context lost? Then every later call fails as well, until the context is made anew
    /// ([`super::Driver::reset`]), or, where that doesn't help, by a new process.
    pub fn is_sticky(&self) -> bool {
        matches!(self, Self::Failed { code, .. } if STICKY.iter().any(|sticky| *sticky as u32 == *code))
    }

    pub(crate) fn new(call: &'static str, result: CUresult) -> Self {
        let code = result as u32;
        let name = told(|text| {
            // SAFETY: the driver is loaded, for it gave the result; it writes a pointer to static text, or nothing.
            unsafe { sys::cuGetErrorName(result, text) }
        });
        let text = told(|text| {
            // SAFETY: as above.
            unsafe { sys::cuGetErrorString(result, text) }
        });
        Self::Failed { call, code, name, text }
    }
}

/// Errors after which the context is lost, as the driver API's reference says of each: "the process must be terminated and
/// relaunched" or "the context cannot be used", and those that tell of hardware.
const STICKY: [CUresult; 14] = [
    CUresult::CUDA_ERROR_DEINITIALIZED,
    CUresult::CUDA_ERROR_ECC_UNCORRECTABLE,
    CUresult::CUDA_ERROR_NVLINK_UNCORRECTABLE,
    CUresult::CUDA_ERROR_ILLEGAL_ADDRESS,
    CUresult::CUDA_ERROR_LAUNCH_TIMEOUT,
    CUresult::CUDA_ERROR_CONTEXT_IS_DESTROYED,
    CUresult::CUDA_ERROR_ASSERT,
    CUresult::CUDA_ERROR_HARDWARE_STACK_ERROR,
    CUresult::CUDA_ERROR_ILLEGAL_INSTRUCTION,
    CUresult::CUDA_ERROR_MISALIGNED_ADDRESS,
    CUresult::CUDA_ERROR_INVALID_ADDRESS_SPACE,
    CUresult::CUDA_ERROR_INVALID_PC,
    CUresult::CUDA_ERROR_LAUNCH_FAILED,
    CUresult::CUDA_ERROR_UNKNOWN,
];

fn told(ask: impl FnOnce(*mut *const std::ffi::c_char) -> CUresult) -> String {
    let mut text = std::ptr::null();
    if ask(&raw mut text) != CUresult::CUDA_SUCCESS || text.is_null() {
        return "no such error is known".to_owned();
    }
    // SAFETY: the driver's texts are static and end with a zero.
    unsafe { std::ffi::CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

/// The choke point of calls to the driver.
pub(crate) fn check(call: &'static str, result: CUresult) -> Result<(), CudaError> {
    match result {
        CUresult::CUDA_SUCCESS => Ok(()),
        failed => Err(CudaError::new(call, failed)),
    }
}
