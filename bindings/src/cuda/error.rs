//! What can go wrong with CUDA: what its driver answers, or a use that makes no sense. Next: `call` makes them.

/// An error of CUDA, or a use of it that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CudaError {
    /// There is no driver, or the system can't load it.
    #[error("CUDA's driver can't be loaded: {reason}")]
    NoDriver {
        /// What the loader says.
        reason: String,
    },
    /// The driver lacks a function.
    #[error("CUDA's driver is too old: {reason}")]
    TooOld {
        /// What the loader says, with the function's name.
        reason: String,
    },
    /// Another library of this process uses CUDA.
    #[error("the GPU's context can't be reset: {library} uses CUDA in this process, too")]
    NotAlone {
        /// Its file.
        library: String,
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
    #[error(
        "the graph is out of date: its execution context took other shapes or another profile since, or is gone"
    )]
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
        matches!(self, Self::Failed { code, .. } if STICKY.contains(code))
    }
}

/// Errors after which the context is lost, as the driver's header says of each: "the process must be terminated and relaunched" or
/// "the context cannot be used", and those that tell of hardware.
const STICKY: [u32; 18] = [
    4,   // CUDA_ERROR_DEINITIALIZED
    214, // CUDA_ERROR_ECC_UNCORRECTABLE
    220, // CUDA_ERROR_NVLINK_UNCORRECTABLE
    226, // CUDA_ERROR_CONTAINED
    700, // CUDA_ERROR_ILLEGAL_ADDRESS
    702, // CUDA_ERROR_LAUNCH_TIMEOUT
    709, // CUDA_ERROR_CONTEXT_IS_DESTROYED
    710, // CUDA_ERROR_ASSERT
    714, // CUDA_ERROR_HARDWARE_STACK_ERROR
    715, // CUDA_ERROR_ILLEGAL_INSTRUCTION
    716, // CUDA_ERROR_MISALIGNED_ADDRESS
    717, // CUDA_ERROR_INVALID_ADDRESS_SPACE
    718, // CUDA_ERROR_INVALID_PC
    719, // CUDA_ERROR_LAUNCH_FAILED
    721, // CUDA_ERROR_TENSOR_MEMORY_LEAK
    810, // CUDA_ERROR_MPS_CLIENT_TERMINATED
    // Where an outside device's work was waited for; said at once of such a device, it is taken for the same.
    911, // CUDA_ERROR_EXTERNAL_DEVICE
    999, // CUDA_ERROR_UNKNOWN
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_after_which_a_process_must_be_relaunched_are_sticky_and_others_are_not() {
        let failed = |code| CudaError::Failed { call: "", code, name: String::new(), text: String::new() };
        for code in [4, 214, 220, 226, 700, 702, 709, 710, 714, 715, 716, 717, 718, 719, 721, 810, 911, 999] {
            assert!(failed(code).is_sticky(), "{code}");
        }
        for code in [1, 2, 3, 100, 101, 201, 209, 400, 600, 701, 720, 802, 900, 908, 123_456] {
            assert!(!failed(code).is_sticky(), "{code}");
        }
    }
}
