//! The contract of an engine. What enters: the bytes of a model, then tensors. What leaves: the model's signature,
//! then tensors. Next: `schedule` runs sessions on threads of their own.

pub(crate) mod choice;
pub(crate) mod cpu;
pub(crate) mod entries;
pub(crate) mod fitted;
pub(crate) mod gpu;
pub(crate) mod kept;
pub(crate) mod numbers;
mod onnx;
pub(crate) mod ort;
mod parts;
pub(crate) mod signature;
#[cfg(feature = "tensorrt")]
pub(crate) mod tensorrt;
#[cfg(not(feature = "tensorrt"))]
#[path = "engine/no_tensorrt.rs"]
pub(crate) mod tensorrt;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use forebay_bindings::cuda::{Account, CudaError};
use forebay_protocol::datatype::DataType;
use tokio_util::sync::CancellationToken;

use crate::class::Class;
use crate::config::{Device, ModelConfig, Platform};
use crate::engine::signature::Signature;
use entries::Entries;
use gpu::Gpu;
use ort::loading::Loading;
pub(crate) use parts::Parts;
use tensorrt::TensorRt;

/// A version of a model as it was read: nothing is read again from its path.
#[derive(Debug, Clone)]
pub(crate) struct ModelFiles {
    pub(crate) platform: Platform,
    /// Which of `files` is the model.
    pub(crate) model_file: String,
    /// Every file of the version's folder by its path inside it, with `/` between parts.
    pub(crate) files: BTreeMap<String, Arc<[u8]>>,
    /// What one of them says that ONNX Runtime's session needs.
    pub(crate) entries: Entries,
}

impl ModelFiles {
    /// The model's bytes.
    ///
    /// # Errors
    /// `Load`: it is not there.
    fn model(&self) -> Result<&[u8], EngineError> {
        let model = self.files.get(&self.model_file);
        model.map(AsRef::as_ref).ok_or_else(|| self.failed(&"there is no such file"))
    }

    /// What the configuration calls the model: the folder, where it lies in one.
    pub(crate) fn named(&self) -> &str {
        self.model_file.split('/').next().unwrap_or_default()
    }

    /// The files beside the model, by their path from its folder.
    fn beside(&self) -> impl Iterator<Item = (&str, &Arc<[u8]>)> {
        let folder = &self.model_file[..self.model_file.rfind('/').map_or(0, |at| at + 1)];
        let others = self.files.iter().filter(|(name, _)| **name != self.model_file);
        others.filter_map(move |(name, bytes)| Some((name.strip_prefix(folder)?, bytes)))
    }

    /// Whether it is told to be an ONNX model.
    pub(crate) fn is_onnx(&self) -> bool {
        Path::new(&self.model_file).extension().is_some_and(|extension| extension == "onnx")
    }

    /// What an ONNX model promises to take and give, as far as it tells without being loaded.
    pub(crate) fn promised(&self) -> Option<Signature> {
        let mut promised = onnx::promised(self.model().ok().filter(|_| self.is_onnx())?)?;
        if self.platform == Platform::TensorRt {
            // To TensorRT what has a default is a weight.
            promised.inputs.retain(|spec| !spec.is_optional);
        }
        Some(promised)
    }

    /// Writes every file below a folder, which is made.
    fn write_to(&self, folder: &Path) -> std::io::Result<()> {
        for (name, bytes) in &self.files {
            let path = folder.join(name);
            path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
            std::fs::write(path, bytes)?;
        }
        Ok(())
    }

    fn failed(&self, reason: &impl ToString) -> EngineError {
        EngineError::Load { file: self.model_file.clone(), reason: reason.to_string().trim().to_owned() }
    }
}

/// How sessions are opened. Everything here may change results, so all of it is part of a generation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SessionOptions {
    /// Threads that sessions use inside one operator: one pool for all of them.
    pub(crate) intra_op_threads: usize,
}

/// An input, borrowed from its request, or from those of a batch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct InputTensor<'a> {
    pub(crate) name: &'a str,
    pub(crate) datatype: DataType,
    pub(crate) shape: &'a [i64],
    /// Little-endian elements; BYTES as a 4-byte length and the bytes, each.
    pub(crate) data: Parts<'a>,
}

/// A computed output.
#[derive(Debug, Clone)]
pub(crate) struct OutputTensor {
    /// Index into the signature's outputs.
    pub(crate) index: usize,
    pub(crate) shape: Vec<i64>,
    /// As in [`InputTensor`].
    pub(crate) data: Bytes,
}

/// What a session computed.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) outputs: Vec<OutputTensor>,
    /// How long it took to gather inputs in the session's memory; a part of the run's time.
    pub(crate) gathering: Duration,
}

/// What an engine says went wrong.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EngineError {
    /// The model can't be loaded.
    #[error("can't load {file}: {reason}")]
    Load { file: String, reason: String },
    /// The GPU has not as much memory as the model needs.
    #[error(
        "can't load {file}: GPU {gpu} has no room: it needs {needed} bytes at least, {free} of {total} are free"
    )]
    NoRoom { file: String, gpu: i32, needed: usize, free: usize, total: usize },
    /// With it, models would hold more of the GPU's memory than they may.
    #[error(
        "can't load {file}: GPU {gpu} has no room: models may hold {budget} bytes of it (--gpu-memory-bytes), \
         with this one they would hold {held} at least"
    )]
    OverBudget { file: String, gpu: i32, budget: usize, held: usize },
    /// This process has no engine for the model.
    #[error("{} models can't be run here: {reason}", platform.name())]
    Missing { platform: Platform, reason: String },
    /// The configuration asks for what can't be had.
    #[error("config.pbtxt: {key} {reason}")]
    Option { key: String, reason: String },
    /// The model has an input or output that V2 can't carry.
    #[error("{kind} '{name}' is {found}, which the V2 protocol can't carry")]
    Unsupported { kind: &'static str, name: String, found: String },
    /// The tensors can't be computed on: the client's fault.
    #[error("{0}")]
    BadInput(String),
    /// The computation failed.
    #[error("inference failed: {0}")]
    Failed(String),
    /// The computation failed, and with it what the GPU held for this process.
    #[error("inference failed, and GPU {gpu} was lost by it: {reason}")]
    Lost { gpu: i32, reason: String },
    /// It was not tried: what it would run on was lost before.
    #[error("{reason}; try again later")]
    Away { reason: String },
}

impl EngineError {
    pub(crate) fn class(&self) -> Class {
        match self {
            Self::BadInput(_) => Class::Wrong,
            Self::Away { .. } => Class::Away,
            _ => Class::Failed,
        }
    }

    /// Whether it may pass though nothing changes: others may give back what there was no room for.
    pub(crate) fn is_transient(&self) -> bool {
        matches!(self, Self::NoRoom { .. } | Self::OverBudget { .. } | Self::Lost { .. } | Self::Away { .. })
    }
}

/// Opens sessions.
pub(crate) trait Engine: Send + Sync {
    /// The models that it runs.
    fn platform(&self) -> Platform;
    /// Name and version of what computes: part of every generation.
    fn identity(&self) -> &str;
    /// The keys of `parameters` that it reads.
    fn parameters(&self) -> &'static [&'static str];
    /// Why it ignores one that it knows.
    fn why_ignored(&self, _parameter: &str) -> Option<&'static str> {
        None
    }
    /// Opens a session on each device, as the model's configuration says, else the options. What takes minutes ends early when
    /// `stop` is cancelled.
    ///
    /// # Errors
    /// `Load`, `NoRoom`, `OverBudget`, `Away`, `Option` and `Unsupported`.
    fn open(
        &self,
        files: &ModelFiles,
        config: &ModelConfig,
        devices: &[Device],
        options: SessionOptions,
        stop: &CancellationToken,
    ) -> Result<Vec<Box<dyn Session>>, EngineError>;
    /// Whether, now that the model's sessions on those devices are warm, models hold no more than they may.
    ///
    /// # Errors
    /// `OverBudget`.
    fn check_room(&self, _files: &ModelFiles, _devices: &[Device]) -> Result<(), EngineError> {
        Ok(())
    }
}

/// The engines of this process.
pub(crate) struct Engines {
    pub(crate) onnxruntime: Arc<Loading>,
    /// Or why there is none.
    pub(crate) tensorrt: Result<TensorRt, String>,
}

impl Engines {
    /// The GPUs that plans run on.
    pub(crate) fn gpus(&self) -> &[Arc<Gpu>] {
        self.tensorrt.as_ref().map_or(&[], TensorRt::gpus)
    }

    /// Makes the context of a GPU anew, on which nothing is left.
    ///
    /// # Errors
    /// Something is left, or the GPU doesn't work again.
    pub(crate) fn reset(&self, gpu: &Gpu) -> Result<(), CudaError> {
        self.tensorrt.as_ref().map_or(Ok(()), |tensorrt| tensorrt.reset(gpu))
    }

    /// The engine for models of that platform. ONNX Runtime is waited for, at the start.
    ///
    /// # Errors
    /// `Missing`.
    pub(crate) fn of(&self, platform: Platform) -> Result<&dyn Engine, EngineError> {
        match (platform, &self.tensorrt) {
            (Platform::OnnxRuntime, _) => match self.onnxruntime.engine() {
                Ok(engine) => Ok(engine),
                Err(reason) => Err(EngineError::Missing { platform, reason: reason.to_owned() }),
            },
            (Platform::TensorRt, Ok(tensorrt)) => Ok(tensorrt),
            (Platform::TensorRt, Err(reason)) => {
                Err(EngineError::Missing { platform, reason: reason.clone() })
            }
        }
    }
}

/// A loaded model that computes one request, or one batch, at a time.
pub(crate) trait Session: Send {
    /// What it takes and gives.
    fn signature(&self) -> &Signature;
    /// Computes the outputs with the given indices, in that order. The inputs fit the signature.
    ///
    /// # Errors
    /// `BadInput`, `Failed`, `Lost` and `Away`.
    fn run(&mut self, inputs: &[InputTensor<'_>], outputs: &[usize]) -> Result<Run, EngineError>;

    /// The GPU that it ran on, if that was lost since it was opened: it can't run any more.
    fn lost(&self) -> Option<&Arc<Gpu>> {
        None
    }

    /// The number of its GPU, and where the memory is counted that it and others of its model have there.
    fn memory(&self) -> Option<(i32, Account)> {
        None
    }
}
