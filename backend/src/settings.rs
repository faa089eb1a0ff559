//! Flags and environment -> settings, checked once, before anything starts. Every flag `--a-b` of a server is also
//! `FOREBAY_A_B`. Next: `serve` or `gate` takes its settings apart and hands each part what it needs.

mod cache;
mod client;
mod completion;
mod environment;
mod external;
mod front;
mod gate;
mod hold;
mod key_trace;
mod memory;
mod models;
mod optimize;
mod pool;
mod reach;
mod record;
mod replay;
mod restricted;
mod secrets;
mod serve;
mod serving;
mod shadow;
mod shared;
mod simulate;
mod sizes;
mod trace;
mod trust;
mod ui;
mod units;
mod wake;

use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::path::PathBuf;

use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum as _};

pub(crate) use cache::{AskedGate, CacheSettings, GetSettings, PurgeSettings, StatsSettings, TopSettings};
pub(crate) use client::{
    Arrival, BenchSettings, Encoding, Header, InferSettings, InputSettings, Range, Repeats, ServerSettings,
    Shape,
};
pub(crate) use completion::Completion;
pub(crate) use external::{ExternalBy, ExternalSettings};
pub(crate) use front::{FrontSettings, KeptSettings, Place, UpstreamSettings};
pub(crate) use gate::GateSettings;
pub(crate) use hold::{HeldFor, HoldSettings};
pub(crate) use key_trace::{KeyTraceConfig, KeyTraceSettings};
use memory::Memory;
pub(crate) use models::{Elsewhere, ModelControlMode, ModelSettings, TensorRtFlavour};
pub(crate) use optimize::{
    FleetSettings, LossSettings, Metric, OptimizeSettings, Prefer, SampleSettings, ToolSettings,
};
pub(crate) use pool::{PoolKind, PoolSettings, TierSettings};
pub(crate) use reach::{READ_FROM, Reach, ReadFrom};
pub(crate) use record::{RecordConfig, RecordSettings};
pub(crate) use replay::{ReplayConfig, ReplaySettings};
pub(crate) use restricted::{Api, Restrictions};
#[cfg(feature = "tensorrt")]
pub(crate) use secrets::SECRETS;
pub(crate) use secrets::{Hidden, Password, PasswordFile, read_key, read_pool_secret};
pub(crate) use serve::ServeSettings;
pub(crate) use serving::ServingSettings;
pub(crate) use shadow::{Broken, ShadowSettings};
pub(crate) use shared::{GateAddress, HttpSettings, LogFormat, LogSettings, RestrictedSettings, TlsSettings};
pub(crate) use simulate::SimulateSettings;
pub(crate) use trace::{Export, Sampling, TraceConfig, TraceSettings, level as trace_level};
pub(crate) use trust::{OperatorSettings, PrivacySettings, TrustSettings};
pub(crate) use ui::UiSettings;
pub(crate) use wake::{Account, WakeBy};

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
    /// Stand in front of another V2 server, such as Triton: keep its answers and join equal requests, and pass on all else
    Front(Box<FrontSettings>),
    /// Answer the filters' lookups and say which generations are live, from the shared pool
    Gate(Box<GateSettings>),
    /// Check the filter's settings before they are deployed: says what is wrong with them, and ends with code 2 then
    CheckFilter(CheckFilterSettings),
    /// Check a server's flags, and the variables beside them, before they are deployed: says what is wrong with them, and ends with
    /// code 2 then
    CheckSettings(CheckSettings),
    /// Say of each model in a repository which generation `serve` would give it with the same settings: results are kept by it
    Generation(Box<GenerationSettings>),
    /// Ask a model of any V2 server once, and show the answer
    Infer(Box<InferSettings>),
    /// Load a model of any V2 server, and tell its latency and throughput
    Bench(Box<BenchSettings>),
    /// Purge what is kept, or say what is, by way of a gate
    #[command(subcommand)]
    Cache(Box<CacheSettings>),
    /// Make a model smaller and faster, and install it as its next version if it is no slower and loses no more than it may
    Optimize(Box<OptimizeSettings>),
    /// What a day of requests would cost, with and without the cache and replicas that go to zero: a table, JSON, a picture
    Simulate(Box<SimulateSettings>),
    /// Run models as a job on stdin says: `optimize` starts this
    #[command(name = JUDGE, hide = true)]
    Judge,
    /// Build a plan as a job on stdin says: `serve` starts this for models that TensorRT compiles
    #[command(name = PLAN, hide = true)]
    Plan(LogSettings),
}

/// The command by which `serve` starts this program to build a plan.
pub(crate) const PLAN: &str = "plan";
/// The command by which `optimize` starts this program to run models.
pub(crate) const JUDGE: &str = "judge";

/// Settings of `forebay check-filter`.
#[derive(Debug, Args)]
pub(crate) struct CheckFilterSettings {
    /// File with the JSON that stands in the plugin's `configuration`; - reads it from the standard input
    pub(crate) file: PathBuf,
}

/// Settings of `forebay check-settings`.
#[derive(Debug, Args)]
pub(crate) struct CheckSettings {
    /// The command with its flags, as in `serve --pool redis`
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    pub(crate) arguments: Vec<OsString>,
}

/// Settings of `forebay generation`: those of `serve` that say how models are loaded.
#[derive(Debug, Args)]
#[command(mut_arg("model_repository", |arg| arg.long(None::<&str>).index(1).value_name("FOLDER")))]
pub(crate) struct GenerationSettings {
    #[command(flatten)]
    pub(crate) models: ModelSettings,
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
    /// What a command said that was only asked.
    #[error("{0}")]
    Refused(String),
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
    let command = environment::without_strangers(Cli::command());
    let parsed = command.try_get_matches_from(arguments).and_then(|found| Cli::from_arg_matches(&found));
    let command = match parsed {
        Ok(cli) => cli.command.fitted(Memory::here),
        Err(error) if error.exit_code() == 0 => return Err(Stop::Shown(shown(&error))),
        Err(error) => return Err(Stop::Wrong(first_paragraph(&error.render().to_string()))),
    };
    check(&command).map_err(|error| Stop::Wrong(error.to_string()))?;
    Ok(command)
}

impl Command {
    /// Its sizes that nobody said, by what memory there is; nobody looks where nothing is served.
    fn fitted(mut self, memory: impl FnOnce() -> Option<Memory>) -> Self {
        match &mut self {
            Self::Serve(settings) => settings.fit(memory()),
            Self::Front(settings) => settings.fit(memory()),
            Self::Gate(settings) => settings.fit(memory()),
            Self::CheckFilter(_)
            | Self::CheckSettings(_)
            | Self::Generation(_)
            | Self::Infer(_)
            | Self::Bench(_)
            | Self::Cache(_)
            | Self::Optimize(_)
            | Self::Simulate(_)
            | Self::Judge
            | Self::Plan(_) => {}
        }
        self
    }

    /// How its log lines look; those of commands for people are text.
    pub(crate) fn log_format(&self) -> LogFormat {
        match self {
            Self::Serve(settings) => settings.serving.logs.log_format,
            Self::Front(settings) => settings.serving.logs.log_format,
            Self::Gate(settings) => settings.logs.log_format,
            Self::Plan(settings) => settings.log_format,
            Self::CheckFilter(_)
            | Self::CheckSettings(_)
            | Self::Generation(_)
            | Self::Infer(_)
            | Self::Bench(_)
            | Self::Cache(_)
            | Self::Optimize(_)
            | Self::Simulate(_)
            | Self::Judge => LogFormat::Text,
        }
    }
}

/// The same of arguments that are no command. Read by hand: clap reads nothing behind what is wrong.
pub(crate) fn log_format(arguments: impl Iterator<Item = OsString>) -> LogFormat {
    let arguments: Vec<String> = arguments.skip(1).map(|it| it.to_string_lossy().into_owned()).collect();
    if !arguments.first().is_some_and(|command| ["serve", "front", "gate"].contains(&command.as_str())) {
        return LogFormat::Text;
    }
    let flag = arguments.windows(2).find(|pair| pair[0] == "--log-format").map(|pair| pair[1].clone());
    let flag =
        flag.or_else(|| arguments.iter().find_map(|it| it.strip_prefix("--log-format=").map(str::to_owned)));
    let said = flag.or_else(|| std::env::var("FOREBAY_LOG_FORMAT").ok());
    said.and_then(|said| LogFormat::from_str(&said, true).ok()).unwrap_or(LogFormat::Json)
}

/// Help in colours for a terminal, plain for everything else.
fn shown(error: &clap::Error) -> String {
    let text = error.render();
    if std::io::stdout().is_terminal() { text.ansi().to_string() } else { text.to_string() }
}

/// What clap can't check.
fn check(command: &Command) -> Result<(), SettingsError> {
    match command {
        Command::Cache(settings) => settings.check(),
        Command::Serve(settings) => settings.check(),
        Command::Front(settings) => settings.check(),
        Command::Gate(settings) => settings.check(),
        Command::Generation(settings) => settings.models.check(),
        Command::Infer(settings) => settings.server.check(),
        Command::Bench(settings) => settings.check(),
        Command::CheckSettings(settings) => settings.check(),
        Command::Optimize(settings) => optimize::check(settings),
        Command::Simulate(settings) => simulate::check(settings),
        Command::CheckFilter(_) | Command::Plan(_) | Command::Judge => Ok(()),
    }
}

impl CheckSettings {
    /// What the command itself would say.
    fn check(&self) -> Result<(), SettingsError> {
        let arguments = std::iter::once("forebay".into()).chain(self.arguments.iter().cloned());
        match from_arguments(arguments) {
            Ok(_) | Err(Stop::Shown(_)) => Ok(()),
            Err(Stop::Wrong(line)) => Err(SettingsError::Refused(line)),
        }
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
        "a command is missing: serve, front, gate, check-filter, generation, optimize, infer or bench (see --help)"
            .to_owned()
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
    fn settings_are_checked_without_a_server() {
        assert!(stop(&["check-settings", "gate"]).contains("--pool redis"));
        assert!(stop(&["check-settings", "serve", "--no-such-flag"]).contains("--no-such-flag"));
    }

    #[test]
    fn a_gate_without_a_shared_pool_is_refused() {
        assert!(stop(&["gate"]).contains("--pool redis"));
    }

    #[test]
    fn traces_of_keys_are_kept_where_a_gate_is() {
        let shared = ["--pool", "redis", "--redis-url", "redis://cache", "--key-trace-dir", "/t"];
        let line = stop(&[&["serve", "--model-repository", "/"], &shared[..]].concat());
        assert!(line.contains("--key-trace-dir: no gate is in this server without --pool memory"), "{line}");
        let line =
            stop(&["gate", "--pool", "redis", "--redis-url", "redis://cache", "--key-trace-secs", "60"]);
        assert!(line.contains("--key-trace-secs: traces nothing"), "{line}");
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
