//! Flags of `forebay optimize`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::shared::check_service;
use super::units::parse_seconds;
use super::{SettingsError, TierSettings, wrong};

/// By what answers of the original and of a variant are compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Metric {
    /// The class with the largest value, against labels, or against the original where there are none.
    Top1,
    /// 1 - cosine of the values of each channel.
    Cosine,
    /// Mean difference of each channel, as a share of the range of its values.
    Error,
    /// Area under the ROC curve of the last value, against labels of 0 and 1.
    Auc,
    /// What a command says of each item.
    Command(String),
}

impl std::str::FromStr for Metric {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim() {
            "top1" => Ok(Self::Top1),
            "cosine" => Ok(Self::Cosine),
            "error" => Ok(Self::Error),
            "auc" => Ok(Self::Auc),
            "" => Err("expected top1, cosine, error, auc or a command".to_owned()),
            command => Ok(Self::Command(command.to_owned())),
        }
    }
}

impl std::fmt::Display for Metric {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Top1 => "top1",
            Self::Cosine => "cosine",
            Self::Error => "error",
            Self::Auc => "auc",
            Self::Command(command) => command,
        })
    }
}

/// Which of the variants that may be installed is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Prefer {
    /// The fastest with one item
    Latency,
    /// The smallest file
    Size,
    /// The fastest with the largest batch
    Throughput,
}

/// Settings of `forebay optimize`.
#[derive(Debug, Args)]
#[allow(clippy::struct_excessive_bools)] // each is a flag
pub(crate) struct OptimizeSettings {
    /// The model's folder in its repository
    #[arg(required_unless_present = "setup")]
    pub(crate) model: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) samples: SampleSettings,
    #[command(flatten)]
    pub(crate) loss: LossSettings,
    /// Which of the variants that may be installed is
    #[arg(long, value_enum, default_value = "latency")]
    pub(crate) prefer: Prefer,
    /// How long to look for variants; what was tried by then is judged
    #[arg(long, default_value = "10m", value_parser = parse_seconds)]
    pub(crate) time: Duration,
    /// Batch sizes at which no variant may be slower, beside 1, 8 and the configured ones
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub(crate) batch: Vec<u16>,
    /// Judge and report only: nothing is installed
    #[arg(long, conflicts_with_all = ["undo", "force"])]
    pub(crate) dry_run: bool,
    /// Install also where the report split has fewer than 100 items, or the inputs are made up
    #[arg(long)]
    pub(crate) force: bool,
    /// Take the newest variant away, so that the original is the newest version again
    #[arg(long, conflicts_with_all = ["data", "metric", "guarantee", "force"])]
    pub(crate) undo: bool,
    /// Judge the newest variant on this machine, as it is, with this data: ends with 0 where it may be served here, with 3 where not
    #[arg(long, conflicts_with_all = ["undo", "dry_run"])]
    pub(crate) check: bool,
    /// Install and judge nothing: write the model for TensorRT into this folder, as INT8 with Q/DQ, FP16 and BF16, with samples and what the
    /// original answers
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["dry_run", "force", "undo", "check", "guarantee"])]
    pub(crate) for_tensorrt: Option<PathBuf>,
    /// Make the tools' environment, and nothing else: for images, and machines that will have no network
    #[arg(long, conflicts_with = "model")]
    pub(crate) setup: bool,
    #[command(flatten)]
    pub(crate) tools: ToolSettings,
    #[command(flatten)]
    pub(crate) fleet: FleetSettings,
}

/// For which servers.
#[derive(Debug, Args)]
#[command(next_help_heading = "Fleet")]
pub(crate) struct FleetSettings {
    /// Install only what holds for all servers of --service that are alive: each says in the --pool that they share what its
    /// processor can do
    #[arg(long, conflicts_with = "undo")]
    pub(crate) fleet: bool,
    /// Name of the service, as `serve` has it
    #[arg(long, env = "FOREBAY_SERVICE", default_value = "default")]
    pub(crate) service: String,
    #[command(flatten)]
    pub(crate) tier: TierSettings,
}

/// What the model is asked.
#[derive(Debug, Args)]
#[command(next_help_heading = "Data")]
pub(crate) struct SampleSettings {
    /// `.npz` file with an array for each input, items along the first dimension; or a folder of V2 requests as JSON, one item each; or,
    /// with --data-key-file, the folder of `serve --record-dir`. Without it inputs are made up, and the loss is unknown
    #[arg(long)]
    pub(crate) data: Option<PathBuf>,
    /// File with the key of recorded requests, that of `serve --record-key-file`
    #[arg(long, requires = "data", conflicts_with_all = ["labels", "groups"])]
    pub(crate) data_key_file: Option<PathBuf>,
    /// Array of the `.npz` file, or parameter of the requests, that is each item's label
    #[arg(long, requires = "data")]
    pub(crate) labels: Option<String>,
    /// Array or parameter that says which items belong together, such as frames of one recording: they are never parted, and drawn
    /// together
    #[arg(long, requires = "data")]
    pub(crate) groups: Option<String>,
    /// Decides which item is in which split, and what is made up
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
}

/// What may be lost.
#[derive(Debug, Args)]
#[command(next_help_heading = "Loss")]
pub(crate) struct LossSettings {
    /// top1, cosine, error, auc, or a command that the shell runs: it finds outputs in the folder `$FOREBAY_OUTPUTS` (000000.npz, ...),
    /// inputs in `$FOREBAY_INPUTS`, labels in the file `$FOREBAY_LABELS`, and prints a JSON array with a number for each item, more is
    /// better, or a pair of numbers whose sums are divided [default: top1 with labels, else error]
    #[arg(long)]
    pub(crate) metric: Option<Metric>,
    /// The output that top1 and auc read [default: the first of floating point]
    #[arg(long)]
    pub(crate) output: Option<String>,
    /// Points of the metric, of a hundred, that a variant may lose
    #[arg(long, default_value_t = 0.5)]
    pub(crate) max_loss: f64,
    /// Hold --max-loss against the one-sided 95 % bound of the loss, not against its estimate
    #[arg(long)]
    pub(crate) guarantee: bool,
    /// How long a command that is the metric may take for one variant
    #[arg(long, default_value = "60", value_parser = parse_seconds)]
    pub(crate) metric_timeout_secs: Duration,
}

/// What works.
#[derive(Debug, Args)]
#[command(next_help_heading = "Tools")]
pub(crate) struct ToolSettings {
    /// Python 3.11 or newer, with venv and pip, that makes the tools' environment
    #[arg(long, env = "FOREBAY_PYTHON", default_value = "python3")]
    pub(crate) python: PathBuf,
    /// Folder for the tools' environment, some 330 MB, made once [default: ~/.cache/forebay/optimize]
    #[arg(long, env = "FOREBAY_TOOLS_DIR")]
    pub(crate) tools_dir: Option<PathBuf>,
    /// Folder for what was tried, by which a second run goes on [default: ~/.cache/forebay/optimize]
    #[arg(long, env = "FOREBAY_WORK_DIR")]
    pub(crate) work_dir: Option<PathBuf>,
    /// Path of ONNX Runtime's shared library, the one that `serve` runs [default: that of the tools]
    #[arg(long, env = "FOREBAY_ONNXRUNTIME")]
    pub(crate) onnxruntime: Option<PathBuf>,
    /// Threads inside operators, as `serve` has them
    #[arg(long, env = "FOREBAY_INTRA_OP_THREADS", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) intra_op_threads: u16,
}

/// Checks what clap can't.
///
/// # Errors
/// Names the flag.
pub(super) fn check(settings: &OptimizeSettings) -> Result<(), SettingsError> {
    let loss = &settings.loss;
    if !(loss.max_loss >= 0.0 && loss.max_loss <= 100.0) {
        return Err(wrong("--max-loss", "expected points from 0 to 100, such as 0.5"));
    }
    let labelled = settings.samples.labels.is_some();
    if loss.metric == Some(Metric::Auc) && !labelled {
        return Err(wrong("--metric", "auc wants --labels of 0 and 1"));
    }
    settings.fleet.check()
}

impl FleetSettings {
    fn check(&self) -> Result<(), SettingsError> {
        if !self.fleet {
            return Ok(());
        }
        check_service(&self.service)?;
        if !self.tier.is_shared() {
            return Err(wrong("--fleet", "needs the pool that the servers share: --pool redis or memcached"));
        }
        self.tier.check()
    }
}
