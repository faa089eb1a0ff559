//! What names a library, and what its plans may do: settings enter here, [`crate::Error`] tells of them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A kind of TensorRT. All are used by the same calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Flavour {
    /// TensorRT: builds and runs engines, on data-centre GPUs above all.
    Enterprise,
    /// TensorRT's lean runtime: runs engines that were built as version-compatible, and builds none.
    Lean,
    /// TensorRT for RTX GPUs: builds without a GPU, and finishes its kernels where they run.
    Rtx,
}

impl fmt::Display for Flavour {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Enterprise => "TensorRT",
            Self::Lean => "TensorRT's lean runtime",
            Self::Rtx => "TensorRT-RTX",
        })
    }
}

/// A version of TensorRT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub struct Version {
    pub major: u32,
    pub minor: u32,
    pub patch: u32,
}

impl Version {
    /// From the number that a library tells: 110400 is 11.4.0. Before 10 it was 8601 for 8.6.1.
    #[cfg(feature = "tensorrt")]
    pub(crate) fn from_number(number: u32) -> Self {
        let unit = if number < 10_000 { 1_000 } else { 10_000 };
        Self { major: number / unit, minor: number % unit / 100, patch: number % 100 }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// May plans carry code for the host, such as the lean runtime inside of version-compatible plans, or plugins?
///
/// Such a plan runs its code in this process: allow it for plans alone whose maker is trusted as much as this program's is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HostCode {
    /// TensorRT refuses such plans.
    #[default]
    Refuse,
    /// Such plans are run.
    Allow,
}
