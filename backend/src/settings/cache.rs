//! Flags of `forebay cache`: which gate, and what of what is kept.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use forebay_protocol::digest::Digest;

use super::SettingsError;
use super::units::parse_seconds;

/// Settings of `forebay cache`.
#[derive(Debug, Subcommand)]
pub(crate) enum CacheSettings {
    /// Have everything computed anew that is kept of a service, of one model or tenant in it, or of one request; ends when nothing of it
    /// can be hit any more
    Purge(PurgeSettings),
    /// Say what a gate knows: what is live, who polls it, which servers there are
    Stats(StatsSettings),
    /// Say of which models proxies have reported most compute time saved to this gate, since it was started
    Top(TopSettings),
    /// Say what is kept of one request
    Get(GetSettings),
}

impl CacheSettings {
    /// What clap can't check.
    pub(super) fn check(&self) -> Result<(), SettingsError> {
        let gate = match self {
            Self::Purge(settings) => &settings.gate,
            Self::Stats(settings) => &settings.gate,
            Self::Top(settings) => &settings.gate,
            Self::Get(settings) => &settings.gate,
        };
        gate.token().map(drop)
    }
}

/// Which gate, and who asks.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Gate")]
pub(crate) struct AskedGate {
    /// Where the gate listens for lookups and polls: `http://` or `https://`, host and port
    #[arg(long, env = "FOREBAY_GATE_URL", default_value = "http://127.0.0.1:8010")]
    pub(crate) gate: String,
    /// File whose first line is a token of the gate's --operators-file; for `get` of its --credentials-file, where it has one
    #[arg(long, env = "FOREBAY_TOKEN_FILE")]
    token_file: Option<PathBuf>,
    /// File with the CA's certificates that TLS believes, in PEM form [default: the system's]
    #[arg(long, env = "FOREBAY_CA_FILE")]
    pub(crate) ca_file: Option<PathBuf>,
    /// Seconds that the gate may take to answer
    #[arg(long, env = "FOREBAY_TIMEOUT_SECS", default_value = "10", value_parser = parse_seconds)]
    pub(crate) timeout_secs: Duration,
}

impl AskedGate {
    /// The token to show, if there is one.
    ///
    /// # Errors
    /// The file can't be read.
    pub(crate) fn token(&self) -> Result<Option<String>, SettingsError> {
        let Some(path) = &self.token_file else { return Ok(None) };
        let text = std::fs::read_to_string(path).map_err(|source| SettingsError::Unreadable {
            flag: "--token-file",
            path: path.clone(),
            source,
        })?;
        Ok(text.lines().next().map(|line| line.trim_end().to_owned()))
    }
}

/// Settings of `forebay cache purge`.
#[derive(Debug, Args)]
pub(crate) struct PurgeSettings {
    #[command(flatten)]
    pub(crate) gate: AskedGate,
    /// Whose results: the service of filters and servers
    #[arg(long, env = "FOREBAY_SERVICE")]
    pub(crate) service: String,
    /// Of this model only
    #[arg(long)]
    pub(crate) model: Option<String>,
    /// Of this tenant only
    #[arg(long)]
    pub(crate) tenant: Option<String>,
    /// The result of this request only: its digest, 64 hexadecimal digits, as `get` says it
    #[arg(long, conflicts_with_all = ["model", "tenant"])]
    pub(crate) digest: Option<Digest>,
    /// Don't wait until everybody knows it; says who doesn't yet
    #[arg(long)]
    pub(crate) no_wait: bool,
}

/// Settings of `forebay cache stats`.
#[derive(Debug, Args)]
pub(crate) struct StatsSettings {
    #[command(flatten)]
    pub(crate) gate: AskedGate,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Settings of `forebay cache top`.
#[derive(Debug, Args)]
pub(crate) struct TopSettings {
    #[command(flatten)]
    pub(crate) gate: AskedGate,
    /// So many models
    #[arg(short = 'n', long, default_value_t = 20)]
    pub(crate) most: usize,
}

/// Settings of `forebay cache get`.
#[derive(Debug, Args)]
pub(crate) struct GetSettings {
    /// The model that was asked
    pub(crate) model: String,
    #[command(flatten)]
    pub(crate) gate: AskedGate,
    /// The service of filters and servers
    #[arg(long, env = "FOREBAY_SERVICE")]
    pub(crate) service: String,
    /// The version that was asked for [default: none]
    #[arg(long = "model-version", default_value = "")]
    pub(crate) version: String,
    /// Whose result, where results are parted by tenant
    #[arg(long)]
    pub(crate) tenant: Option<String>,
    /// The request, as V2's JSON
    #[arg(long, required_unless_present = "digest", conflicts_with = "digest")]
    pub(crate) data: Option<PathBuf>,
    /// The request's digest, 64 hexadecimal digits
    #[arg(long)]
    pub(crate) digest: Option<Digest>,
}
