//! In place of TensorRT, in a build without it: whoever asks for it is told so.

use std::process::ExitCode;
use std::sync::Arc;

use forebay_bindings::cuda::CudaError;
use tokio_util::sync::CancellationToken;

use super::choice::Choice;
use super::gpu::Gpu;
use super::{Engine, EngineError, ModelFiles, Session, SessionOptions};
use crate::config::{Device, ModelConfig, Platform};

/// Why.
pub(crate) const NONE: &str = "this build has no TensorRT";

/// There is none.
pub(crate) enum TensorRt {}

impl TensorRt {
    /// # Errors
    /// Always.
    pub(crate) fn load(_: Choice) -> Result<Self, String> {
        Err(NONE.to_owned())
    }

    pub(crate) fn gpus(&self) -> &[Arc<Gpu>] {
        match *self {}
    }

    /// # Errors
    /// None.
    pub(crate) fn reset(&self, _: &Gpu) -> Result<(), CudaError> {
        match *self {}
    }
}

impl Engine for TensorRt {
    fn platform(&self) -> Platform {
        match *self {}
    }

    fn identity(&self) -> &str {
        match *self {}
    }

    fn parameters(&self) -> &'static [&'static str] {
        match *self {}
    }

    fn open(
        &self,
        _: &ModelFiles,
        _: &ModelConfig,
        _: &[Device],
        _: SessionOptions,
        _: &CancellationToken,
    ) -> Result<Vec<Box<dyn Session>>, EngineError> {
        match *self {}
    }
}

/// Nobody starts this: plans are built by the process that loads them.
pub(crate) fn build_plan() -> ExitCode {
    eprintln!("forebay: {NONE}");
    ExitCode::from(2)
}
