//! TensorRT behind a safe Rust API: to come.
//!
//! This crate is the one place in the workspace that may contain `unsafe` code, each block with its `SAFETY` line. A cxx
//! bridge to TensorRT's C++ API, found at run time, and CUDA through `cudarc` will live here; the backend's engine for
//! `tensorrt_plan` models will use it. Nothing depends on it yet.
