//! Which models `serve` serves and how they are run.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::completion::CompletionSettings;
use super::sizes::Share;
use super::units::{parse_bytes, parse_seconds};
use super::{SettingsError, wrong};

/// Looking at the repository more often than this would cost more than it could gain.
const SHORTEST_POLL: Duration = Duration::from_millis(50);

/// When the served models follow the repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ModelControlMode {
    /// Load every model at start; later changes go unseen
    None,
    /// Load every model at start and follow changes in the repository
    Poll,
    /// Load only the models named by --load-model, others by call
    Explicit,
}

/// What is served in place of a variant that was judged on another class of processor than this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Elsewhere {
    /// Nothing: its model is not loaded
    Refuse,
    /// The version that it was made of
    Original,
    /// The variant all the same
    Serve,
}

/// A kind of TensorRT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TensorRtFlavour {
    /// TensorRT: builds plans and runs them
    Enterprise,
    /// Its lean runtime: runs plans
    Lean,
    /// TensorRT-RTX
    Rtx,
}

/// Which models, how they are run, and how much may wait for them.
#[derive(Debug, Args)]
#[command(next_help_heading = "Models")]
pub(crate) struct ModelSettings {
    /// Folder of models, laid out as <model>/<version>/model.onnx or model.plan with an optional <model>/config.pbtxt
    #[arg(long, env = "FOREBAY_MODEL_REPOSITORY")]
    pub(crate) model_repository: PathBuf,
    /// What the model is called where the repository is itself a model's folder (<version>/model.onnx with an optional config.pbtxt), as
    /// KServe hands one over; a repository of models is served by the names of their folders
    #[arg(long, env = "FOREBAY_MODEL_NAME")]
    pub(crate) model_name: Option<String>,
    /// When the served models follow the repository
    #[arg(long, env = "FOREBAY_MODEL_CONTROL_MODE", value_enum, default_value = "none")]
    pub(crate) model_control_mode: ModelControlMode,
    /// Seconds between two looks at the repository, with --model-control-mode poll; fractions are allowed
    #[arg(long, env = "FOREBAY_REPOSITORY_POLL_SECS", default_value = "15", value_parser = parse_seconds)]
    pub(crate) repository_poll_secs: Duration,
    /// Model to load at start with --model-control-mode explicit, * for all; repeat it for more (the variable takes
    /// commas)
    #[arg(long, env = "FOREBAY_LOAD_MODEL", value_delimiter = ',')]
    pub(crate) load_model: Vec<String>,
    /// End when a model can't be loaded at start; if false, serve the others and stay not ready
    #[arg(long, env = "FOREBAY_EXIT_ON_ERROR", default_value_t = true, action = clap::ArgAction::Set,
          num_args = 0..=1, default_missing_value = "true")]
    pub(crate) exit_on_error: bool,
    /// Models that are loaded side by side at start, and as the repository changes; with a GPU it is one after another [default: cores, at
    /// most 4]
    #[arg(long, env = "FOREBAY_MODEL_LOAD_THREAD_COUNT", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) model_load_thread_count: Option<u16>,
    /// Path of ONNX Runtime's shared library (`libonnxruntime.so`), 1.18 or newer
    #[arg(long, env = "FOREBAY_ONNXRUNTIME")]
    pub(crate) onnxruntime: Option<PathBuf>,
    /// Folder where optimised models, and plans compiled of ONNX models, are kept by digest: what was loaded once is not
    /// optimised or compiled again. Replicas may share it
    #[arg(long, env = "FOREBAY_OPTIMIZED_MODEL_DIR")]
    pub(crate) optimized_model_dir: Option<PathBuf>,
    /// Bytes that optimised models and compiled plans may take together; those not used for longest go
    #[arg(long, env = "FOREBAY_OPTIMIZED_MODEL_BYTES", default_value = "10GiB", value_parser = parse_bytes)]
    pub(crate) optimized_model_bytes: usize,
    /// Path of TensorRT's library (`libnvinfer.so.11`), which runs plans [default: what the system's loader finds, if any]
    #[arg(long, env = "FOREBAY_TENSORRT")]
    pub(crate) tensorrt: Option<PathBuf>,
    /// What kind of library it is [default: enterprise]
    #[arg(long, env = "FOREBAY_TENSORRT_FLAVOUR", value_enum)]
    pub(crate) tensorrt_flavour: Option<TensorRtFlavour>,
    /// Run plans that carry code for the host, such as version-compatible ones: for plans alone whose maker is trusted as
    /// much as this program's is
    #[arg(long, env = "FOREBAY_TENSORRT_HOST_CODE")]
    pub(crate) tensorrt_host_code: bool,
    /// Bytes of each GPU that TensorRT's models may hold together; a model that goes past it when it is loaded is refused
    /// [default: what the GPU has]
    #[arg(long, env = "FOREBAY_GPU_MEMORY_BYTES", value_parser = parse_bytes)]
    pub(crate) gpu_memory_bytes: Option<usize>,
    /// Seconds that TensorRT may take to compile an ONNX model; past it the model is refused. Small ones take seconds, large
    /// ones many minutes, and one that never ends must not keep others from their turn [default: 3600]
    #[arg(long, env = "FOREBAY_COMPILE_TIMEOUT_SECS", value_parser = parse_seconds)]
    pub(crate) compile_timeout_secs: Option<Duration>,
    /// Sessions of each model, each on a thread of its own, unless its config.pbtxt says [default: cores]
    #[arg(long, env = "FOREBAY_INSTANCES", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) instances: Option<u16>,
    /// Threads that all sessions share inside operators; a model's own are its parameter
    /// `intra_op_thread_count`
    #[arg(long, env = "FOREBAY_INTRA_OP_THREADS", default_value_t = 1,
          value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) intra_op_threads: u16,
    /// Requests that may wait for one model; past it the answer is 503 with Retry-After
    #[arg(long, env = "FOREBAY_MAX_QUEUE_REQUESTS", default_value_t = 1024,
          value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_queue_requests: u32,
    /// Bytes of tensors that may wait for one model; past it the answer is 503 with Retry-After [default: 256MiB, or a share of the
    /// memory that the container may take]
    #[arg(long, env = "FOREBAY_MAX_QUEUE_BYTES", value_parser = parse_bytes)]
    max_queue_bytes: Option<usize>,
    /// What to do with a variant (a version with a variant.json) that was judged on another class of processor than this one: the
    /// same 8-bit model loses more where bytes are multiplied in another way. Of instances on GPUs alone it is not asked
    #[arg(long, env = "FOREBAY_VARIANT_ELSEWHERE", value_enum, default_value = "refuse")]
    pub(crate) variant_elsewhere: Elsewhere,
    #[command(flatten)]
    pub(crate) completion: CompletionSettings,
}

/// Where memory is enough.
const MAX_QUEUE_BYTES: usize = 256 << 20;

impl ModelSettings {
    /// The size that nobody said becomes a share.
    pub(super) fn fit(&mut self, share: Share) {
        self.max_queue_bytes.get_or_insert(share.at_most(MAX_QUEUE_BYTES));
    }

    /// Bytes of tensors that may wait for one model.
    pub(crate) fn max_queue_bytes(&self) -> usize {
        self.max_queue_bytes.unwrap_or(MAX_QUEUE_BYTES)
    }

    /// What clap can't check.
    pub(super) fn check(&self) -> Result<(), SettingsError> {
        let explicit = self.model_control_mode == ModelControlMode::Explicit;
        if !explicit && !self.load_model.is_empty() {
            return Err(wrong("--load-model", "needs --model-control-mode explicit"));
        }
        if self.repository_poll_secs < SHORTEST_POLL {
            return Err(wrong("--repository-poll-secs", "must be at least 0.05"));
        }
        if !self.model_repository.is_dir() {
            let reason = format!("{} is not a folder", self.model_repository.display());
            return Err(wrong("--model-repository", reason));
        }
        let is_unfit = |name: &&String| {
            name.is_empty()
                || name.starts_with('.')
                || name.contains(['/', '\\', '\0'])
                || name.parse::<u64>().is_ok()
        };
        if let Some(name) = self.model_name.as_ref().filter(is_unfit) {
            let reason = format!(
                "{name:?} can't be a model's folder, or is a version's: expected a name, such as vad"
            );
            return Err(wrong("--model-name", reason));
        }
        self.completion.completion().map(|_| ())
    }
}
