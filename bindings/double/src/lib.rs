//! A test double of CUDA's driver (`libcuda.so.1`), of TensorRT (`libnvinfer.so.11`) and of its ONNX parser
//! (`libnvonnxparser.so.11`): paths to load them by enter a test, and [`Double`] steers what they do.
//!
//! The double keeps the contracts of the real interfaces and catches what breaks them; README.md says what that proves and
//! what it doesn't. A test's process loads it with [`Double::load`] before anything asks for CUDA: from then on the loader finds it
//! by name. A process that the test starts gets `LD_LIBRARY_PATH` set to [`FOLDER`].
//!
//! All but [`onnx`] needs the feature `tensorrt`, and TensorRT's headers: the names end with the headers' major version.

pub mod onnx;

#[cfg(feature = "tensorrt")]
mod double;

#[cfg(feature = "tensorrt")]
pub use double::*;
