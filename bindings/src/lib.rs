//! TensorRT behind a safe Rust API: a library found at run time enters; plans, engines and runs on the GPU leave.
//!
//! The way of a model: [`Library::open`] finds a flavour of TensorRT and checks its version. [`Builder::parse`] reads an ONNX
//! model, [`Network::build`] makes a [`Plan`] of it, once. [`Library::runtime`] and [`Runtime::deserialize`] make an [`Engine`]
//! of the plan, [`Engine::context`] a [`Context`] that runs: its tensors are bound to [`cuda::DeviceBuffer`]s, and
//! [`Context::enqueue`] puts a run on a [`cuda::Stream`].
//!
//! This crate is the one place in the workspace that contains `unsafe` code, each block with its `SAFETY` line. No function that
//! is public is unsafe. The README draws who owns what.

mod apart;
mod bridge;
mod builder;
mod context;
pub mod cuda;
mod engine;
mod enums;
mod error;
mod library;
mod log;
mod output;
mod refit;
mod runtime;
mod scratch;

pub use apart::Job;
pub use bridge::ffi::Dims;
pub use builder::{BuildOptions, Builder, Network, Plan, Profile, Range, Refit};
pub use context::Context;
pub use engine::{Engine, ProfileRange, Tensor};
pub use enums::{DataType, HardwareCompatibilityLevel, OptProfileSelector, TensorIOMode, TensorLocation};
pub use error::Error;
pub use library::{Flavour, Library, Version};
pub use refit::Refitter;
pub use runtime::{HostCode, Runtime};
pub use scratch::{Scratch, SharedScratch};
