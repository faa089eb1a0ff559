//! Flags and environment -> settings, checked once, before anything starts. Every flag `--a-b` of a server is also
//! `FOREBAY_A_B`. Next: `serve` or `gate` takes its settings apart and hands each part what it needs.

mod client;
mod completion;
mod restricted;
mod secrets;
mod shared;
mod trust;
mod units;

use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use client::{
    Arrival, BenchSettings, Encoding, Header, InferSettings, InputSettings, Range, Repeats, ServerSettings,
    Shape,
};
pub(crate) use completion::{Completion, CompletionSettings};
pub(crate) use restricted::{Api, Restrictions};
#[cfg(feature = "tensorrt")]
pub(crate) use secrets::SECRETS;
pub(crate) use secrets::{Hidden, read_pool_secret};
pub(crate) use shared::{
    GateAddress, HttpSettings, LogFormat, LogSettings, PoolKind, PoolSettings, RestrictedSettings,
    TlsSettings,
};
pub(crate) use trust::{PrivacySettings, TrustSettings};
use units::{parse_bytes, parse_seconds};

#[derive(Debug, Parser)]
#[command(
    name = "forebay",
    version,
    about = "A cache of inference results, the server behind it, and a client for any V2 server"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// What to run.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve the models of a repository over the V2 inference protocol, and fill the cache
    Serve(Box<ServeSettings>),
    /// Answer the filters' lookups and say which generations are live, from the shared pool
    Gate(Box<GateSettings>),
    /// Check the filter's settings before they are deployed: says what is wrong with them, and ends with code 2 then
    CheckFilter(CheckFilterSettings),
    /// Ask a model of any V2 server once, and show the answer
    Infer(Box<InferSettings>),
    /// Load a model of any V2 server, and tell its latency and throughput
    Bench(Box<BenchSettings>),
    /// Build a plan as a job on stdin says: `serve` starts this for models that TensorRT compiles
    #[command(name = PLAN, hide = true)]
    Plan(LogSettings),
}

/// The command by which `serve` starts this program to build a plan.
pub(crate) const PLAN: &str = "plan";

/// Looking at the repository more often than this would cost more than it could gain.
const SHORTEST_POLL: std::time::Duration = std::time::Duration::from_millis(50);

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

/// Settings of `forebay serve`.
#[derive(Debug, Args)]
pub(crate) struct ServeSettings {
    #[command(flatten)]
    pub(crate) models: ModelSettings,
    #[command(flatten)]
    pub(crate) http: HttpSettings,
    /// Address of the HTTP port
    #[arg(long, env = "FOREBAY_HTTP_ADDRESS", default_value = "0.0.0.0", help_heading = "Network")]
    pub(crate) http_address: IpAddr,
    /// HTTP port of the inference protocol; 0 picks a free one
    #[arg(long, env = "FOREBAY_HTTP_PORT", default_value_t = 8000, help_heading = "Network")]
    pub(crate) http_port: u16,
    /// Address of the gRPC port
    #[arg(long, env = "FOREBAY_GRPC_ADDRESS", default_value = "0.0.0.0", help_heading = "Network")]
    pub(crate) grpc_address: IpAddr,
    /// gRPC port of the inference protocol; 0 picks a free one
    #[arg(long, env = "FOREBAY_GRPC_PORT", default_value_t = 8001, help_heading = "Network")]
    pub(crate) grpc_port: u16,
    /// Port of /metrics; 0 picks a free one
    #[arg(long, env = "FOREBAY_METRICS_PORT", default_value_t = 8002, help_heading = "Network")]
    pub(crate) metrics_port: u16,
    /// Threads that take requests and answer them; those that compute are the sessions' [default: cores]
    #[arg(long, env = "FOREBAY_WORKER_THREADS", help_heading = "Network",
          value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) worker_threads: Option<u16>,
    /// Microseconds for which a thread goes on looking for requests after each answer, instead of sleeping: less latency
    /// for a processor that is busy so long. Of use with --worker-threads 1: a thread of others that sleeps is woken first
    #[arg(long, env = "FOREBAY_BUSY_POLL_US", default_value_t = 0, help_heading = "Network",
          value_parser = clap::value_parser!(u32).range(..=1_000_000))]
    pub(crate) busy_poll_us: u32,
    #[command(flatten)]
    pub(crate) gate: GateAddress,
    #[command(flatten)]
    pub(crate) tls: TlsSettings,
    #[command(flatten)]
    pub(crate) pool: PoolSettings,
    /// Seconds that load and unload wait until every proxy that polls has heard of the change. By the end of the default no proxy
    /// believes what it heard before; a shorter wait doesn't promise that
    #[arg(long, env = "FOREBAY_GENERATIONS_TIMEOUT_SECS", default_value = "10", value_parser = parse_seconds,
          help_heading = "Pool")]
    pub(crate) generations_timeout_secs: std::time::Duration,
    /// Name of this service: two services may each have a model of the same name, and never share answers
    #[arg(long, env = "FOREBAY_SERVICE", default_value = "default", help_heading = "Trust")]
    pub(crate) service: String,
    #[command(flatten)]
    pub(crate) trust: TrustSettings,
    #[command(flatten)]
    pub(crate) privacy: PrivacySettings,
    #[command(flatten)]
    pub(crate) restricted: RestrictedSettings,
    #[command(flatten)]
    pub(crate) logs: LogSettings,
}

/// Which models, how they are run, and how much may wait for them.
#[derive(Debug, Args)]
#[command(next_help_heading = "Models")]
pub(crate) struct ModelSettings {
    /// Folder of models, laid out as <model>/<version>/model.onnx or model.plan with an optional <model>/config.pbtxt
    #[arg(long, env = "FOREBAY_MODEL_REPOSITORY")]
    pub(crate) model_repository: PathBuf,
    /// When the served models follow the repository
    #[arg(long, env = "FOREBAY_MODEL_CONTROL_MODE", value_enum, default_value = "none")]
    pub(crate) model_control_mode: ModelControlMode,
    /// Seconds between two looks at the repository, with --model-control-mode poll; fractions are allowed
    #[arg(long, env = "FOREBAY_REPOSITORY_POLL_SECS", default_value = "15", value_parser = parse_seconds)]
    pub(crate) repository_poll_secs: std::time::Duration,
    /// Model to load at start with --model-control-mode explicit, * for all; repeat it for more (the variable takes
    /// commas)
    #[arg(long, env = "FOREBAY_LOAD_MODEL", value_delimiter = ',')]
    pub(crate) load_model: Vec<String>,
    /// End when a model can't be loaded at start; if false, serve the others and stay not ready
    #[arg(long, env = "FOREBAY_EXIT_ON_ERROR", default_value_t = true, action = clap::ArgAction::Set,
          num_args = 0..=1, default_missing_value = "true")]
    pub(crate) exit_on_error: bool,
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
    pub(crate) compile_timeout_secs: Option<std::time::Duration>,
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
    /// Bytes of tensors that may wait for one model; past it the answer is 503 with Retry-After
    #[arg(long, env = "FOREBAY_MAX_QUEUE_BYTES", default_value = "256MiB", value_parser = parse_bytes)]
    pub(crate) max_queue_bytes: usize,
    #[command(flatten)]
    pub(crate) completion: CompletionSettings,
}

/// Settings of `forebay gate`.
#[derive(Debug, Args)]
pub(crate) struct GateSettings {
    #[command(flatten)]
    pub(crate) http: HttpSettings,
    #[command(flatten)]
    pub(crate) gate: GateAddress,
    /// Port of /metrics; 0 picks a free one
    #[arg(long, env = "FOREBAY_METRICS_PORT", default_value_t = 8012, help_heading = "Network")]
    pub(crate) metrics_port: u16,
    #[command(flatten)]
    pub(crate) tls: TlsSettings,
    #[command(flatten)]
    pub(crate) pool: PoolSettings,
    #[command(flatten)]
    pub(crate) trust: TrustSettings,
    #[command(flatten)]
    pub(crate) logs: LogSettings,
}

/// Settings of `forebay check-filter`.
#[derive(Debug, Args)]
pub(crate) struct CheckFilterSettings {
    /// File with the JSON that stands in the plugin's `configuration`; - reads it from the standard input
    pub(crate) file: PathBuf,
}

/// Settings that can't be used. Ends the program with exit code 2.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    /// A file that a flag names can't be read.
    #[error("{flag}: can't read {path}: {source}")]
    Unreadable { flag: &'static str, path: PathBuf, source: std::io::Error },
    /// A value that can't be used.
    #[error("{flag}: {reason}")]
    Wrong { flag: &'static str, reason: String },
}

/// Why there are no settings.
#[derive(Debug)]
pub(crate) enum Stop {
    /// `--help` or `--version`: the text to show.
    Shown(String),
    /// What is wrong, as one line.
    Wrong(String),
}

/// Reads the command from arguments and environment.
///
/// # Errors
/// `Stop::Shown` for `--help` and `--version`; `Stop::Wrong` with one line for anything that can't be used.
pub(crate) fn from_arguments(arguments: impl Iterator<Item = OsString>) -> Result<Command, Stop> {
    let command = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli.command,
        Err(error) if error.exit_code() == 0 => return Err(Stop::Shown(shown(&error))),
        Err(error) => return Err(Stop::Wrong(first_paragraph(&error.render().to_string()))),
    };
    check(&command).map_err(|error| Stop::Wrong(error.to_string()))?;
    Ok(command)
}

/// Help in colours for a terminal, plain for everything else.
fn shown(error: &clap::Error) -> String {
    let text = error.render();
    if std::io::stdout().is_terminal() { text.ansi().to_string() } else { text.to_string() }
}

/// What clap can't check: rules that span two settings.
fn check(command: &Command) -> Result<(), SettingsError> {
    match command {
        Command::Serve(settings) => {
            let models = &settings.models;
            let explicit = models.model_control_mode == ModelControlMode::Explicit;
            if !explicit && !models.load_model.is_empty() {
                return Err(wrong("--load-model", "needs --model-control-mode explicit"));
            }
            if models.repository_poll_secs < SHORTEST_POLL {
                return Err(wrong("--repository-poll-secs", "must be at least 0.05"));
            }
            if !models.model_repository.is_dir() {
                let reason = format!("{} is not a folder", models.model_repository.display());
                return Err(wrong("--model-repository", reason));
            }
            if settings.service.is_empty() || !settings.service.bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err(wrong("--service", "must be a name of visible ASCII characters"));
            }
            models.completion.completion()?;
            settings.trust.check()?;
            settings.privacy.check(&settings.trust)?;
            settings.http.check()?;
            settings.pool.check()
        }
        Command::Gate(settings) => {
            if !settings.pool.is_shared() {
                let reason = "a gate of its own needs --pool redis or memcached; with --pool memory its routes run in `serve`";
                return Err(wrong("--pool", reason));
            }
            settings.trust.check()?;
            settings.http.check()?;
            settings.pool.check()
        }
        Command::Infer(settings) => settings.server.check(),
        Command::Bench(settings) => settings.check(),
        Command::CheckFilter(_) | Command::Plan(_) => Ok(()),
    }
}

pub(crate) fn wrong(flag: &'static str, reason: impl Into<String>) -> SettingsError {
    SettingsError::Wrong { flag, reason: reason.into() }
}

/// clap's message up to its usage text, as one line.
fn first_paragraph(rendered: &str) -> String {
    let lines = rendered.lines().take_while(|line| !line.trim().is_empty()).map(str::trim);
    let line = lines.collect::<Vec<_>>().join(" ");
    let line = line.strip_prefix("error: ").unwrap_or(&line);
    if line.is_empty() {
        "a command is missing: serve, gate, check-filter, infer or bench (see --help)".to_owned()
    } else {
        line.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stop(arguments: &[&str]) -> String {
        let arguments = std::iter::once("forebay").chain(arguments.iter().copied()).map(OsString::from);
        match from_arguments(arguments) {
            Err(Stop::Wrong(line) | Stop::Shown(line)) => line,
            Ok(_) => panic!("accepted"),
        }
    }

    #[test]
    fn a_wrong_flag_is_one_line_that_names_it() {
        let line = stop(&["serve", "--no-such-flag"]);
        assert!(line.contains("--no-such-flag") && !line.contains('\n'), "{line}");
        let line = stop(&["serve", "--model-repository", "/", "--http-port", "99999"]);
        assert!(line.contains("--http-port") && line.contains("99999") && !line.contains('\n'), "{line}");
    }

    #[test]
    fn a_repository_that_is_not_there_is_named() {
        assert!(stop(&["serve", "--model-repository", "/no/such"]).contains("/no/such is not a folder"));
    }

    #[test]
    fn a_gate_without_a_shared_pool_is_refused() {
        assert!(stop(&["gate"]).contains("--pool redis"));
    }

    #[test]
    fn what_only_serve_starts_is_not_shown() {
        let help = stop(&["--help"]);
        assert!(help.contains("gate") && !help.contains(PLAN), "{help}");
    }

    #[test]
    fn help_groups_the_flags_and_names_their_variables() {
        let help = stop(&["serve", "--help"]);
        for expected in ["Models:", "Network:", "Pool:", "Trust:", "Logs:", "FOREBAY_MODEL_REPOSITORY"] {
            assert!(help.contains(expected), "{expected} is missing in {help}");
        }
    }
}
