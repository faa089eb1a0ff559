//! TensorRT behind a safe Rust API: a library found at run time enters; plans, engines and runs on the GPU leave.
//!
//! The way of a model: [`Library::open`] finds a flavour of TensorRT and checks its version. [`Builder::parse`] reads an ONNX
//! model, [`Network::build`] makes a [`Plan`] of it, once. [`Library::runtime`] and [`Runtime::deserialize`] make an [`Engine`]
//! of the plan, [`Engine::context`] a [`Context`] that runs: its tensors are bound to [`cuda::DeviceBuffer`]s, and
//! [`Context::enqueue`] puts a run on a [`cuda::Stream`].
//!
//! All that needs NVIDIA's headers is behind the feature `tensorrt`. Without it the crate has [`Error`], [`cuda::CudaError`],
//! [`cuda::Account`] and what names a library: what a program says of TensorRT whether it has it or not.
//!
//! [`strings`] and [`telemetry`] are of ONNX Runtime: tensors of strings that hold any bytes, which `ort` alone doesn't make, and what
//! keeps it from calling its maker. [`exit`] ends a process in which native threads still compute.
//!
//! This folder is the one place in the workspace that contains `unsafe` code, each block with its `SAFETY` line. No function that
//! is public is unsafe. The README draws who owns what.

pub mod cuda;
mod error;
pub mod exit;
mod flavour;
pub mod strings;
pub mod telemetry;

#[cfg(feature = "tensorrt")]
mod apart;
#[cfg(feature = "tensorrt")]
mod bridge;
#[cfg(feature = "tensorrt")]
mod builder;
#[cfg(feature = "tensorrt")]
mod context;
#[cfg(feature = "tensorrt")]
mod engine;
#[cfg(feature = "tensorrt")]
mod enums;
#[cfg(feature = "tensorrt")]
mod library;
#[cfg(feature = "tensorrt")]
mod log;
#[cfg(feature = "tensorrt")]
mod output;
#[cfg(feature = "tensorrt")]
mod refit;
#[cfg(feature = "tensorrt")]
mod runtime;
#[cfg(feature = "tensorrt")]
mod scratch;

pub use error::Error;
pub use flavour::{Flavour, HostCode, Version};

#[cfg(feature = "tensorrt")]
pub use apart::Job;
#[cfg(feature = "tensorrt")]
pub use bridge::ffi::Dims;
#[cfg(feature = "tensorrt")]
pub use builder::{BuildOptions, Builder, Network, Plan, Profile, Range, Refit};
#[cfg(feature = "tensorrt")]
pub use context::Context;
#[cfg(feature = "tensorrt")]
pub use engine::{Engine, ProfileRange, Tensor};
#[cfg(feature = "tensorrt")]
pub use enums::{DataType, HardwareCompatibilityLevel, OptProfileSelector, TensorIOMode, TensorLocation};
#[cfg(feature = "tensorrt")]
pub use library::Library;
#[cfg(feature = "tensorrt")]
pub use refit::Refitter;
#[cfg(feature = "tensorrt")]
pub use runtime::Runtime;
#[cfg(feature = "tensorrt")]
pub use scratch::{Scratch, SharedScratch};
