//! ONNX Runtime, loaded from its shared library at run time. Files -> session; borrowed bytes -> tensors (`tensors`)
//! -> outputs as little-endian bytes.

mod binding;
mod gpus;
mod joined;
pub(crate) mod loading;
mod optimized;
mod session_options;
mod tensors;

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use ort::environment::{Environment, GlobalThreadPoolOptions};
use ort::logging::LogLevel;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::session::{OutputSelector, RunOptions, SessionInputValue};
use ort::value::{Outlet, ValueType};
use tempfile::NamedTempFile;
use tokio_util::sync::CancellationToken;

use super::kept::{Kept, Shelf};
use super::signature::{Signature, TensorSpec};
use super::{Engine, EngineError, InputTensor, ModelFiles, OutputTensor, Run, Session, SessionOptions, onnx};
use crate::config::{Device, ModelConfig, Platform};
use crate::observe::logs::engines::ONNXRUNTIME;
use binding::Binding;
use gpus::Gpus;
use joined::Joined;
use optimized::Optimized;

/// ONNX Runtime in this process.
pub(crate) struct OrtEngine {
    environment: Environment,
    identity: String,
    optimized: Option<Optimized>,
    gpus: Gpus,
}

impl OrtEngine {
    /// Loads the library at `path`; sessions share one pool of that many threads, and optimised models are kept in `kept`.
    /// Once a process.
    ///
    /// # Errors
    /// When it isn't there, isn't ONNX Runtime, or is too old.
    pub(crate) fn load(path: &Path, intra_op_threads: usize, kept: Option<Kept>) -> Result<Self, String> {
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
        let identity = format!("onnxruntime cpu {}", ort::info());
        Ok(Self { environment, identity, optimized: kept.map(Optimized::new), gpus: Gpus::default() })
    }
}

fn log(level: LogLevel, location: &str, message: &str) {
    match level {
        LogLevel::Fatal | LogLevel::Error => tracing::error!(target: ONNXRUNTIME, location, "{message}"),
        LogLevel::Warning => tracing::warn!(target: ONNXRUNTIME, location, "{message}"),
        _ => tracing::debug!(target: ONNXRUNTIME, location, "{message}"),
    }
}

impl Engine for OrtEngine {
    fn platform(&self) -> Platform {
        Platform::OnnxRuntime
    }

    fn identity(&self) -> &str {
        &self.identity
    }

    fn parameters(&self) -> &'static [&'static str] {
        &session_options::PARAMETERS
    }

    fn why_ignored(&self, parameter: &str) -> Option<&'static str> {
        session_options::why_ignored(parameter)
    }

    fn open(
        &self,
        files: &ModelFiles,
        config: &ModelConfig,
        devices: &[Device],
        options: SessionOptions,
        _stop: &CancellationToken,
    ) -> Result<Vec<Box<dyn Session>>, EngineError> {
        let model = Model { files, config, is_fixed: onnx::is_fixed(files.model()?), options };
        let gpus: Vec<i32> = devices.iter().filter_map(|device| device.gpu()).collect();
        let open = || devices.iter().map(|device| self.open_one(&model, *device)).collect();
        self.gpus.note(&gpus, open)
    }
}

impl OrtEngine {
    fn open_one(&self, model: &Model<'_>, device: Device) -> Result<Box<dyn Session>, EngineError> {
        let Model { files, config, .. } = *model;
        let opening = Opening { engine: self, model, device };
        let session = match self.optimized.as_ref().filter(|_| session_options::is_for_cpu(config, device)) {
            None => opening.open_files(None)?,
            Some(optimized) => opening.through(&optimized.place(files, config, &self.identity))?,
        };
        let signature = Signature { inputs: inputs(&session)?, outputs: specs("output", session.outputs())? };
        let binding =
            session_options::binds(config, device)?.then(|| Binding::to(&session, device)).transpose()?;
        Ok(Box::new(OrtSession { session, binding, joined: Joined::default(), signature }))
    }
}

/// What sessions are opened of.
struct Model<'a> {
    files: &'a ModelFiles,
    config: &'a ModelConfig,
    /// Every run has inputs of the same shapes.
    is_fixed: bool,
    options: SessionOptions,
}

/// A session on its way.
#[derive(Clone, Copy)]
struct Opening<'a> {
    engine: &'a OrtEngine,
    model: &'a Model<'a>,
    device: Device,
}

impl Opening<'_> {
    /// From the optimised model, which is made first if it isn't there.
    fn through(self, place: &Shelf<'_>) -> Result<ort::session::Session, EngineError> {
        if let Some(model) = place.read() {
            match self.open_optimized(&model) {
                Ok(session) => return Ok(session),
                Err(error) => tracing::warn!("an optimised model is made again: {error}"),
            }
        }
        // One that can't be written (past 2 GiB, for one) may well be loaded.
        let Ok((session, draft)) = self.with_draft(place) else { return self.open_files(None) };
        if let Err(error) = std::fs::read(draft.path()).and_then(|optimized| place.keep(&optimized)) {
            tracing::warn!("an optimised model is not kept: {error}");
        }
        Ok(session)
    }

    fn with_draft(self, place: &Shelf<'_>) -> Result<(ort::session::Session, NamedTempFile), EngineError> {
        let draft = place.draft().map_err(|error| self.model.files.failed(&error))?;
        Ok((self.open_files(Some(draft.path()))?, draft))
    }

    /// From the model as it is; the optimised one is written to `draft`.
    fn open_files(self, draft: Option<&Path>) -> Result<ort::session::Session, EngineError> {
        let model = self.model.files.model()?;
        let mut builder = self.builder()?;
        // External data is found among the files that were read and hashed, not on disk.
        for (name, bytes) in self.model.files.beside() {
            builder = builder
                .with_external_initializer_file_in_memory(name, bytes.clone())
                .map_err(|error| self.model.files.failed(&error))?;
        }
        if let Some(draft) = draft {
            builder =
                builder.with_optimized_model_path(draft).map_err(|error| self.model.files.failed(&error))?;
        }
        builder.commit_from_memory(model).map_err(|error| self.model.files.failed(&error))
    }

    fn open_optimized(self, model: &[u8]) -> Result<ort::session::Session, EngineError> {
        let builder = self.builder()?.with_optimization_level(GraphOptimizationLevel::Disable);
        let mut builder = builder.map_err(|error| self.model.files.failed(&error))?;
        builder.commit_from_memory(model).map_err(|error| self.model.files.failed(&error))
    }

    fn builder(self) -> Result<SessionBuilder, EngineError> {
        let builder = ort::session::Session::builder(&self.engine.environment);
        let builder = builder.map_err(|error| self.model.files.failed(&error))?;
        session_options::apply(builder, self.model, self.device)
    }
}

/// What a run needs, and what it may be given in place of an initializer.
fn inputs(session: &ort::session::Session) -> Result<Vec<TensorSpec>, EngineError> {
    let mut inputs = specs("input", session.inputs())?;
    let overridable = session.overridable_initializers();
    // One that V2 can't carry is what it is by default.
    let defaults = overridable.iter().filter_map(|initializer| {
        let spec = spec("input", initializer.name(), initializer.dtype()).ok()?;
        Some(TensorSpec { is_optional: true, ..spec })
    });
    inputs.extend(defaults);
    Ok(inputs)
}

fn specs(kind: &'static str, outlets: &[Outlet]) -> Result<Vec<TensorSpec>, EngineError> {
    outlets.iter().map(|outlet| spec(kind, outlet.name(), outlet.dtype())).collect()
}

fn spec(kind: &'static str, name: &str, value: &ValueType) -> Result<TensorSpec, EngineError> {
    let unsupported = |found: String| EngineError::Unsupported { kind, name: name.to_owned(), found };
    match value {
        ValueType::Tensor { ty, shape, .. } => {
            let datatype = tensors::datatype(*ty).ok_or_else(|| unsupported(format!("a tensor of {ty}")))?;
            Ok(TensorSpec { name: name.to_owned(), datatype, shape: shape.to_vec(), is_optional: false })
        }
        other => Err(unsupported(format!("{other}"))),
    }
}

struct OrtSession {
    session: ort::session::Session,
    /// Of a session on a GPU.
    binding: Option<Binding>,
    joined: Joined,
    signature: Signature,
}

impl Session for OrtSession {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn run(&mut self, inputs: &[InputTensor<'_>], outputs: &[usize]) -> Result<Run, EngineError> {
        let specs = &self.signature.outputs;
        let inner = self.session.inner();
        let wanted = outputs.iter().map(|&index| &specs[index]);
        let options;
        let gathering;
        let computed = if let Some(binding) = &mut self.binding {
            let began = Instant::now();
            binding.bind(inputs, wanted)?;
            gathering = began.elapsed();
            self.session.run_binding(&binding.io)
        } else {
            gathering = self.joined.join(inputs);
            let values = (0..)
                .zip(inputs)
                .map(|(place, input)| Ok((input.name, tensors::view(input, self.joined.of(place, input))?)))
                .collect::<Result<Vec<(&str, SessionInputValue<'_>)>, EngineError>>()?;
            if outputs.len() == specs.len() {
                self.session.run(values)
            } else {
                options = selecting(wanted)?;
                self.session.run_with_options(values, &options)
            }
        };
        let mut computed = computed.map_err(|error| failure(&error))?;
        let outputs = outputs
            .iter()
            .map(|&index| {
                let spec = &specs[index];
                let value = computed
                    .remove(&spec.name)
                    .ok_or_else(|| EngineError::Failed(format!("output '{}' was not computed", spec.name)))?;
                let (shape, data) = tensors::bytes(&inner, value, spec.datatype)?;
                Ok(OutputTensor { index, shape, data })
            })
            .collect::<Result<_, EngineError>>()?;
        Ok(Run { outputs, gathering })
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
