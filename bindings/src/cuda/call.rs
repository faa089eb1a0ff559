//! What CUDA's driver answers enters, an error that says what was tried leaves.

use super::error::CudaError;
use super::sys::{self, CUresult, cuda};

impl CudaError {
    pub(crate) fn new(call: &'static str, result: CUresult) -> Self {
        let name = told(|text| {
            // SAFETY: the driver is loaded, for it gave the result; it writes a pointer to static text, or nothing.
            unsafe { cuda().cuGetErrorName(result, text) }
        });
        let text = told(|text| {
            // SAFETY: as above.
            unsafe { cuda().cuGetErrorString(result, text) }
        });
        Self::Failed { call, code: result, name, text }
    }
}

fn told(ask: impl FnOnce(*mut *const std::ffi::c_char) -> CUresult) -> String {
    let mut text = std::ptr::null();
    if ask(&raw mut text) != sys::CUDA_SUCCESS || text.is_null() {
        return "no such error is known".to_owned();
    }
    // SAFETY: the driver's texts are static and end with a zero.
    unsafe { std::ffi::CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

/// The choke point of calls to the driver.
pub(crate) fn check(call: &'static str, result: CUresult) -> Result<(), CudaError> {
    match result {
        sys::CUDA_SUCCESS => Ok(()),
        failed => Err(CudaError::new(call, failed)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_gives_sticky_errors_the_numbers_that_are_known_here() {
        let sticky = [
            sys::CUDA_ERROR_DEINITIALIZED,
            sys::CUDA_ERROR_ECC_UNCORRECTABLE,
            sys::CUDA_ERROR_NVLINK_UNCORRECTABLE,
            sys::CUDA_ERROR_CONTAINED,
            sys::CUDA_ERROR_ILLEGAL_ADDRESS,
            sys::CUDA_ERROR_LAUNCH_TIMEOUT,
            sys::CUDA_ERROR_CONTEXT_IS_DESTROYED,
            sys::CUDA_ERROR_ASSERT,
            sys::CUDA_ERROR_HARDWARE_STACK_ERROR,
            sys::CUDA_ERROR_ILLEGAL_INSTRUCTION,
            sys::CUDA_ERROR_MISALIGNED_ADDRESS,
            sys::CUDA_ERROR_INVALID_ADDRESS_SPACE,
            sys::CUDA_ERROR_INVALID_PC,
            sys::CUDA_ERROR_LAUNCH_FAILED,
            sys::CUDA_ERROR_TENSOR_MEMORY_LEAK,
            sys::CUDA_ERROR_MPS_CLIENT_TERMINATED,
            sys::CUDA_ERROR_EXTERNAL_DEVICE,
            sys::CUDA_ERROR_UNKNOWN,
        ];
        for code in sticky {
            assert!(
                CudaError::Failed { call: "", code, name: String::new(), text: String::new() }.is_sticky()
            );
        }
    }
}
