//! What can go wrong with TensorRT, each with its own message of that very call.

use std::path::PathBuf;

use crate::cuda::CudaError;
use crate::flavour::{Flavour, Version};

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The library is not there, or the system can't load it.
    #[error("{flavour} can't be loaded from {path}: {reason}", path = path.display())]
    NotLoaded {
        /// The flavour that was asked for.
        flavour: Flavour,
        /// Where it was looked for: a file, or a name that the system's loader searches for.
        path: PathBuf,
        /// What the loader says.
        reason: String,
    },
    /// The library is not one of TensorRT's.
    #[error("{path} is not a library of {flavour}: it has no {symbol}", path = path.display())]
    NotTensorRt {
        /// The flavour that was asked for.
        flavour: Flavour,
        /// The library.
        path: PathBuf,
        /// The function that it lacks.
        symbol: &'static str,
    },
    /// The library has a version that these bindings can't be used with.
    #[error("{path} has version {found}, but {flavour} {} from {needed} on is needed", needed.major, path = path.display())]
    Version {
        /// The flavour that was asked for.
        flavour: Flavour,
        /// The library.
        path: PathBuf,
        /// Its version.
        found: Version,
        /// The version of the headers that these bindings are built with.
        needed: Version,
    },
    /// The library is there, its ONNX parser's is not, or can't be loaded.
    #[error("{flavour}'s ONNX parser can't be loaded from {path}: {reason}", path = path.display())]
    Parser {
        /// The flavour.
        flavour: Flavour,
        /// Where the parser was looked for: a file, or a name that the system's loader searches for.
        path: PathBuf,
        /// What the loader says.
        reason: String,
    },
    /// TensorRT refuses; its own words.
    #[error("TensorRT {0}")]
    Said(String),
    /// The request makes no sense for this engine or context.
    #[error("{0}")]
    Wrong(String),
    /// A process of its own, which builds a plan, failed; its own words if it had any.
    #[error("{0}")]
    Apart(String),
    /// CUDA refuses.
    #[error(transparent)]
    Cuda(#[from] CudaError),
}

impl Error {
    /// Is the GPU's context lost, as [`CudaError::is_sticky`] says?
    ///
    /// TensorRT tells of CUDA's errors in words alone; ask [`crate::cuda::Device::check`] after any error of a run.
    pub fn is_sticky(&self) -> bool {
        matches!(self, Self::Cuda(error) if error.is_sticky())
    }
}

/// What the system's loader says.
#[cfg(feature = "tensorrt")]
pub(crate) fn said(error: &libloading::Error) -> String {
    std::error::Error::source(error).map_or(error.to_string(), ToString::to_string)
}

#[cfg(feature = "tensorrt")]
impl From<cxx::Exception> for Error {
    fn from(exception: cxx::Exception) -> Self {
        Self::Said(exception.what().to_owned())
    }
}
