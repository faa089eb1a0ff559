//! ONNX Runtime, loaded from its shared library at run time. Files -> session; borrowed bytes -> tensors (`tensors`)
//! -> outputs as little-endian bytes.

mod options;
mod tensors;

use std::path::Path;
use std::sync::Arc;

use ort::environment::{Environment, GlobalThreadPoolOptions};
use ort::logging::LogLevel;
use ort::session::{OutputSelector, RunOptions, SessionInputValue};
use ort::value::{Outlet, ValueType};

use super::{Engine, EngineError, InputTensor, ModelFiles, OutputTensor, Session, SessionOptions};
use crate::model_config::ModelConfig;
use crate::signature::{Signature, TensorSpec};

/// ONNX Runtime in this process.
pub(crate) struct OrtEngine {
    environment: Environment,
    identity: String,
}

impl OrtEngine {
    /// Loads the library at `path`; sessions share one pool of that many threads. Once a process.
    ///
    /// # Errors
    /// When it isn't there, isn't ONNX Runtime, or is too old.
    pub(crate) fn load(path: &Path, intra_op_threads: usize) -> Result<Self, String> {
        let builder = ort::init_from(path).map_err(|error| error.to_string())?;
        // Threads that spin while they wait take the cores from other sessions.
        let pool = GlobalThreadPoolOptions::default()
            .with_intra_threads(intra_op_threads)
            .and_then(|pool| pool.with_inter_threads(1))
            .and_then(|pool| pool.with_spin_control(false))
            .map_err(|error| error.to_string())?;
        let environment = builder
            .with_name("forebay")
            .with_telemetry(false)
            .with_global_thread_pool(pool)
            .with_logger(Arc::new(|level, _category, _id, location, message| log(level, location, message)))
            .build()
            .map_err(|error| error.to_string())?;
        environment.set_log_level(LogLevel::Warning);
        Ok(Self { environment, identity: format!("onnxruntime cpu {}", ort::info()) })
    }
}

fn log(level: LogLevel, location: &str, message: &str) {
    match level {
        LogLevel::Fatal | LogLevel::Error => tracing::error!(location, "onnxruntime: {message}"),
        LogLevel::Warning => tracing::warn!(location, "onnxruntime: {message}"),
        _ => tracing::debug!(location, "onnxruntime: {message}"),
    }
}

impl Engine for OrtEngine {
    fn platform(&self) -> &'static str {
        "onnxruntime_onnx"
    }

    fn identity(&self) -> &str {
        &self.identity
    }

    fn open(
        &self,
        files: &ModelFiles,
        config: &ModelConfig,
        options: SessionOptions,
    ) -> Result<Box<dyn Session>, EngineError> {
        let failed = |reason: String| EngineError::Load { file: files.model_file.clone(), reason };
        let model =
            files.files.get(&files.model_file).ok_or_else(|| failed("there is no such file".into()))?;
        let builder =
            ort::session::Session::builder(&self.environment).map_err(|error| failed(error.to_string()))?;
        let mut builder = options::apply(builder, config, options)?;
        // External data is found among the files that were read and hashed, not on disk.
        for (name, bytes) in files.files.iter().filter(|(name, _)| **name != files.model_file) {
            builder = builder
                .with_external_initializer_file_in_memory(name, bytes.clone())
                .map_err(|error| failed(error.to_string()))?;
        }
        let session = builder.commit_from_memory(model).map_err(|error| failed(error.to_string()))?;
        let signature = Signature {
            inputs: specs("input", session.inputs())?,
            outputs: specs("output", session.outputs())?,
        };
        Ok(Box::new(OrtSession { session, signature }))
    }
}

fn specs(kind: &'static str, outlets: &[Outlet]) -> Result<Vec<TensorSpec>, EngineError> {
    outlets
        .iter()
        .map(|outlet| {
            let name = outlet.name().to_owned();
            let unsupported =
                |found: String| EngineError::Unsupported { kind, name: outlet.name().to_owned(), found };
            match outlet.dtype() {
                ValueType::Tensor { ty, shape, .. } => {
                    let datatype =
                        tensors::datatype(*ty).ok_or_else(|| unsupported(format!("a tensor of {ty}")))?;
                    Ok(TensorSpec { name, datatype, shape: shape.to_vec() })
                }
                other => Err(unsupported(format!("{other}"))),
            }
        })
        .collect()
}

struct OrtSession {
    session: ort::session::Session,
    signature: Signature,
}

impl Session for OrtSession {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn run(
        &mut self,
        inputs: &[InputTensor<'_>],
        outputs: &[usize],
    ) -> Result<Vec<OutputTensor>, EngineError> {
        let values = inputs
            .iter()
            .map(|input| Ok((input.name, tensors::view(input)?)))
            .collect::<Result<Vec<(&str, SessionInputValue<'_>)>, EngineError>>()?;
        let specs = &self.signature.outputs;
        let inner = self.session.inner();
        let all = outputs.len() == specs.len();
        let options = if all { None } else { Some(selecting(outputs.iter().map(|index| &specs[*index]))?) };
        let mut computed = match &options {
            None => self.session.run(values),
            Some(options) => self.session.run_with_options(values, options),
        }
        .map_err(|error| failure(&error))?;
        outputs
            .iter()
            .map(|&index| {
                let spec = &specs[index];
                let value = computed
                    .remove(&spec.name)
                    .ok_or_else(|| EngineError::Failed(format!("output '{}' was not computed", spec.name)))?;
                let (shape, data) = tensors::bytes(&inner, value, spec.datatype)?;
                Ok(OutputTensor { index, shape, data })
            })
            .collect()
    }
}

/// Options of a run that computes only some outputs.
fn selecting<'a>(
    specs: impl Iterator<Item = &'a TensorSpec>,
) -> Result<RunOptions<ort::session::HasSelectedOutputs>, EngineError> {
    let chosen = specs.fold(OutputSelector::no_default(), |chosen, spec| chosen.with(&spec.name));
    Ok(RunOptions::new().map_err(|error| failure(&error))?.with_outputs(chosen))
}

/// ONNX Runtime tells a wrong argument from its own failure by code.
fn failure(error: &ort::Error) -> EngineError {
    let message = error.message().trim().to_owned();
    match error.code() {
        ort::ErrorCode::InvalidArgument => EngineError::BadInput(message),
        _ => EngineError::Failed(message),
    }
}
