//! TensorRT's enums as Rust sees them. The C++ compiler checks each value against the headers of both flavours.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[cxx::bridge(namespace = "nvinfer1")]
#[allow(unreachable_pub)]
mod ffi {
    /// What a tensor's elements are. 11, 8-bit scales that are powers of two, has no name here: TensorRT 10.11 has it not.
    #[derive(Debug)]
    #[repr(i32)]
    enum DataType {
        /// 32-bit floats.
        #[cxx_name = "kFLOAT"]
        Fp32 = 0,
        /// 16-bit floats of IEEE.
        #[cxx_name = "kHALF"]
        Fp16 = 1,
        /// 8-bit signed integers.
        #[cxx_name = "kINT8"]
        Int8 = 2,
        /// 32-bit signed integers.
        #[cxx_name = "kINT32"]
        Int32 = 3,
        /// Booleans, a byte each.
        #[cxx_name = "kBOOL"]
        Bool = 4,
        /// Bytes.
        #[cxx_name = "kUINT8"]
        Uint8 = 5,
        /// 8-bit floats, E4M3.
        #[cxx_name = "kFP8"]
        Fp8 = 6,
        /// Brain floats, 16 bits.
        #[cxx_name = "kBF16"]
        Bf16 = 7,
        /// 64-bit signed integers.
        #[cxx_name = "kINT64"]
        Int64 = 8,
        /// 4-bit signed integers, two a byte.
        #[cxx_name = "kINT4"]
        Int4 = 9,
        /// 4-bit floats, E2M1, two a byte.
        #[cxx_name = "kFP4"]
        Fp4 = 10,
    }

    /// Is a tensor an input or an output?
    #[derive(Debug)]
    #[repr(i32)]
    enum TensorIOMode {
        /// Neither.
        #[cxx_name = "kNONE"]
        Neither = 0,
        /// An input.
        #[cxx_name = "kINPUT"]
        Input = 1,
        /// An output.
        #[cxx_name = "kOUTPUT"]
        Output = 2,
    }

    /// Where a tensor's elements must lie.
    #[derive(Debug)]
    #[repr(i32)]
    enum TensorLocation {
        /// In GPU memory.
        #[cxx_name = "kDEVICE"]
        Device = 0,
        /// In host memory: the values decide shapes.
        #[cxx_name = "kHOST"]
        Host = 1,
    }

    /// Which of a profile's three shapes.
    #[derive(Debug)]
    #[repr(i32)]
    enum OptProfileSelector {
        /// The smallest.
        #[cxx_name = "kMIN"]
        Min = 0,
        /// The one that is optimised for.
        #[cxx_name = "kOPT"]
        Opt = 1,
        /// The largest.
        #[cxx_name = "kMAX"]
        Max = 2,
    }

    /// On which GPUs, beside the one that it was built on, an engine may run.
    #[derive(Debug)]
    #[repr(i32)]
    enum HardwareCompatibilityLevel {
        /// On GPUs of the same model only.
        #[cxx_name = "kNONE"]
        SameModel = 0,
        /// On Ampere and everything newer.
        #[cxx_name = "kAMPERE_PLUS"]
        AmperePlus = 1,
        /// On every GPU of the same compute capability.
        #[cxx_name = "kSAME_COMPUTE_CAPABILITY"]
        SameComputeCapability = 2,
    }

    /// Who allocates a context's scratch memory, and when.
    #[derive(Debug)]
    #[repr(i32)]
    enum ExecutionContextAllocationStrategy {
        /// TensorRT, once, enough for every profile.
        #[cxx_name = "kSTATIC"]
        Static = 0,
        /// TensorRT, as much as the chosen profile needs.
        #[cxx_name = "kON_PROFILE_CHANGE"]
        OnProfileChange = 1,
        /// The caller.
        #[cxx_name = "kUSER_MANAGED"]
        UserManaged = 2,
    }

    unsafe extern "C++" {
        include!("NvInfer.h");

        type DataType;
        type TensorIOMode;
        type TensorLocation;
        type OptProfileSelector;
        type HardwareCompatibilityLevel;
        type ExecutionContextAllocationStrategy;
    }
}

pub(crate) use ffi::ExecutionContextAllocationStrategy;
pub use ffi::{DataType, HardwareCompatibilityLevel, OptProfileSelector, TensorIOMode, TensorLocation};

/// What TensorRT-RTX builds for: `ComputeCapability` in its header, which TensorRT's has not.
pub(crate) const RTX_CAPABILITIES: [u16; 6] = [75, 80, 86, 89, 120, 121];

impl DataType {
    /// Bits of an element; sub-byte elements are packed.
    pub fn bits(self) -> usize {
        match self {
            Self::Int64 => 64,
            Self::Fp32 | Self::Int32 => 32,
            Self::Fp16 | Self::Bf16 => 16,
            Self::Int4 | Self::Fp4 => 4,
            _ => 8,
        }
    }
}

/// As its number in TensorRT's header.
impl Serialize for HardwareCompatibilityLevel {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i32(self.repr)
    }
}

impl<'de> Deserialize<'de> for HardwareCompatibilityLevel {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self { repr: i32::deserialize(deserializer)? })
    }
}
