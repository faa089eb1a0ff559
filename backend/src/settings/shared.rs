//! The settings that `serve` and `gate` share.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use forebay_protocol::service;
use tokio::sync::Semaphore;

use super::restricted::{self, Restrictions};
use super::sizes::Share;
use super::units::{parse_bytes, parse_seconds};
use super::{Hidden, SettingsError, wrong};
use crate::body::Bodies;
use crate::body::budget::Budget;
use crate::body::pace::Least;

/// Is it a name of a service?
///
/// # Errors
/// It is not.
pub(super) fn check_service(name: &str) -> Result<(), SettingsError> {
    if service::is_name(name) {
        return Ok(());
    }
    Err(wrong("--service", format!("{name:?}: {} are expected", service::EXPECTED)))
}

/// Where to listen and how much one request may take.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Network")]
pub(crate) struct HttpSettings {
    /// Address of the metrics port
    #[arg(long, env = "FOREBAY_METRICS_ADDRESS", default_value = "0.0.0.0")]
    pub(crate) metrics_address: IpAddr,
    /// Largest request body, and largest message over gRPC, after decompression too; past it the answer is 413, or
    /// `OUT_OF_RANGE` [default: 64MiB, or --body-budget-bytes where that is less]
    #[arg(long, env = "FOREBAY_MAX_BODY_BYTES", value_parser = parse_bytes)]
    max_body_bytes: Option<usize>,
    /// Bytes that all requests may hold together, over HTTP and gRPC, from when they come until nothing is computed on them any
    /// more; past it the answer is 503 with Retry-After, or `RESOURCE_EXHAUSTED` [default: 1GiB, or a share of the memory that the
    /// container may take]
    #[arg(long, env = "FOREBAY_BODY_BUDGET_BYTES", value_parser = parse_bytes)]
    body_budget_bytes: Option<usize>,
    /// Bytes a second that a client must send at least while its body is waited for, over each 5 seconds; 0 for no bound
    #[arg(long, env = "FOREBAY_MIN_BODY_RATE", default_value = "1KiB", value_parser = parse_bytes)]
    pub(crate) min_body_rate: usize,
    /// Connections that each port takes at a time; others are closed at once
    #[arg(long, env = "FOREBAY_MAX_CONNECTIONS", default_value_t = 4096,
          value_parser = clap::value_parser!(u32).range(1..))]
    max_connections: u32,
    /// HTTP/2 streams that a connection may have at a time: a proxy opens few connections with many streams
    #[arg(long, env = "FOREBAY_HTTP2_MAX_STREAMS", default_value_t = 1024,
          value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) http2_max_streams: u32,
    /// HTTP/2 streams that a client may have reset and that nobody has looked at yet; past it the connection is ended, with all
    /// that share it [default: --http2-max-streams]
    #[arg(long, env = "FOREBAY_HTTP2_MAX_PENDING_RESETS")]
    http2_max_pending_resets: Option<u32>,
    /// HTTP/2 streams that a client may have brought to an end by errors of its own, over a connection's life; past it the
    /// connection is ended, with all that share it [default: 64 times --http2-max-streams]
    #[arg(long, env = "FOREBAY_HTTP2_MAX_ERROR_RESETS")]
    http2_max_error_resets: Option<u32>,
    /// Seconds a client may take to send a request's head; an idle connection is closed after as long. Keep it above
    /// the idle timeout of the proxy in front
    #[arg(long, env = "FOREBAY_HEADER_TIMEOUT_SECS", default_value = "90", value_parser = parse_seconds)]
    pub(crate) header_timeout_secs: Duration,
    /// Seconds a client may take to send a request's body; over gRPC, every message but those of a stream
    #[arg(long, env = "FOREBAY_BODY_TIMEOUT_SECS", default_value = "60", value_parser = parse_seconds)]
    pub(crate) body_timeout_secs: Duration,
    /// Seconds a client may take nothing of an answer that waits; its connection is closed then
    #[arg(long, env = "FOREBAY_WRITE_TIMEOUT_SECS", default_value = "60", value_parser = parse_seconds)]
    pub(crate) write_timeout_secs: Duration,
    /// Seconds after which a client is told to connect anew, so that replicas that were added get their share: with its next
    /// answer over HTTP/1.1, by GOAWAY over HTTP/2. A tenth more or less, so that not all come at once; 0 for never
    #[arg(long, env = "FOREBAY_MAX_CONNECTION_AGE_SECS", default_value = "300", value_parser = parse_seconds)]
    pub(crate) max_connection_age_secs: Duration,
    /// Seconds between SIGTERM, when readiness turns 503 and clients are told to connect elsewhere, and the end of accepting
    /// connections: time for load balancers to look away. Less than --exit-timeout-secs
    #[arg(long, env = "FOREBAY_DRAIN_SECS", default_value = "0", value_parser = parse_seconds)]
    pub(crate) drain_secs: Duration,
    /// Seconds from SIGTERM to the end of the program, --drain-secs included: what is not finished and written to the pool by
    /// then is cut. Keep it below what follows with SIGKILL, which is 30 in Kubernetes (terminationGracePeriodSeconds)
    #[arg(long, env = "FOREBAY_EXIT_TIMEOUT_SECS", default_value = "25", value_parser = parse_seconds)]
    pub(crate) exit_timeout_secs: Duration,
}

/// Where the filters find the gate: in `forebay gate`, and in `serve` with the pool in memory.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Network")]
pub(crate) struct GateAddress {
    /// Address of the gate's port: of the proxies that may ask it, and of nobody else
    #[arg(long, env = "FOREBAY_GATE_ADDRESS", default_value = "127.0.0.1")]
    pub(crate) gate_address: IpAddr,
    /// Port of lookups and polls, with --pool memory in `serve`; 0 picks a free one
    #[arg(long, env = "FOREBAY_GATE_PORT", default_value_t = 8010)]
    pub(crate) gate_port: u16,
}

/// Where memory is enough.
const MAX_BODY_BYTES: usize = 64 << 20;
const BODY_BUDGET_BYTES: usize = 1 << 30;
/// By default so many times the streams of a connection may end by a client's errors: a proxy keeps its connections for days, and
/// what it sends for a stream that ended a while ago counts.
const ERROR_RESETS_PER_STREAM: usize = 64;

impl HttpSettings {
    pub(super) fn check(&self) -> Result<(), SettingsError> {
        if self.body_budget_bytes() < self.max_body_bytes() {
            let least = format!("must be --max-body-bytes at least, which is {}", self.max_body_bytes());
            return Err(wrong("--body-budget-bytes", least));
        }
        if self.drain_secs >= self.exit_timeout_secs {
            let less = format!(
                "must be less than --exit-timeout-secs, which counts from the same signal and is {}",
                self.exit_timeout_secs.as_secs_f64()
            );
            return Err(wrong("--drain-secs", less));
        }
        Ok(())
    }

    /// Sizes that nobody said become shares.
    pub(super) fn fit(&mut self, share: Share) {
        // One body of the size that is allowed fits in any case.
        let budget = || share.at_most(BODY_BUDGET_BYTES).max(self.max_body_bytes.unwrap_or(0));
        let budget = self.body_budget_bytes.unwrap_or_else(budget);
        self.body_budget_bytes = Some(budget);
        self.max_body_bytes.get_or_insert(MAX_BODY_BYTES.min(budget));
    }

    pub(crate) fn max_body_bytes(&self) -> usize {
        self.max_body_bytes.unwrap_or(MAX_BODY_BYTES)
    }

    pub(crate) fn body_budget_bytes(&self) -> usize {
        self.body_budget_bytes.unwrap_or(BODY_BUDGET_BYTES)
    }

    pub(crate) fn max_connections(&self) -> usize {
        usize::try_from(self.max_connections).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS)
    }

    pub(crate) fn http2_max_pending_resets(&self) -> usize {
        self.http2_max_pending_resets.unwrap_or(self.http2_max_streams) as usize
    }

    pub(crate) fn http2_max_error_resets(&self) -> usize {
        let default = (self.http2_max_streams as usize).saturating_mul(ERROR_RESETS_PER_STREAM);
        self.http2_max_error_resets.map_or(default, |most| most as usize)
    }

    /// What bodies may take, one and all together.
    pub(crate) fn bodies(&self) -> Bodies {
        Bodies {
            bytes: self.max_body_bytes(),
            least: Least { time: self.body_timeout_secs, rate: self.min_body_rate },
            budget: Budget::new(self.body_budget_bytes()),
        }
    }
}

/// Encryption of the ports that take requests.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "TLS")]
pub(crate) struct TlsSettings {
    /// File with the certificate chain, PEM; the ports that take requests then speak nothing but TLS. Files that change
    /// are read again
    #[arg(long = "tls-cert-file", env = "FOREBAY_TLS_CERT_FILE", requires = "key")]
    pub(crate) certificate: Option<PathBuf>,
    /// File with the certificate's private key, PEM
    #[arg(long = "tls-key-file", env = "FOREBAY_TLS_KEY_FILE", requires = "certificate")]
    pub(crate) key: Option<PathBuf>,
    /// File with the certificates of the CAs that clients' certificates must come from, PEM: mutual TLS
    #[arg(long = "tls-client-ca-file", env = "FOREBAY_TLS_CLIENT_CA_FILE", requires = "certificate")]
    pub(crate) client_ca: Option<PathBuf>,
}

/// Parts of the protocol that not everybody may use.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Trust")]
pub(crate) struct RestrictedSettings {
    /// Parts of the protocol over HTTP that only requests with the header `<key>: <value>` may use: health, metadata, inference,
    /// shared-memory, model-config, model-repository, statistics, trace, logging. Repeat it for other keys (the variable, which
    /// others on the machine can't read, takes one a line)
    #[arg(
        long = "http-restricted-api",
        env = "FOREBAY_HTTP_RESTRICTED_API",
        hide_env_values = true,
        value_delimiter = '\n',
        value_name = "API,API:KEY=VALUE"
    )]
    http: Vec<Hidden>,
    /// The same over gRPC, with the metadata `triton-grpc-protocol-<key>`
    #[arg(
        long = "grpc-restricted-protocol",
        env = "FOREBAY_GRPC_RESTRICTED_PROTOCOL",
        hide_env_values = true,
        value_delimiter = '\n',
        value_name = "API,API:KEY=VALUE"
    )]
    grpc: Vec<Hidden>,
}

impl RestrictedSettings {
    /// Who may use what over HTTP.
    ///
    /// # Errors
    /// When it can't be used.
    pub(crate) fn http(&self) -> Result<Restrictions, SettingsError> {
        Restrictions::parse(restricted::HTTP, &self.http)
    }

    /// Who may use what over gRPC.
    ///
    /// # Errors
    /// When it can't be used.
    pub(crate) fn grpc(&self) -> Result<Restrictions, SettingsError> {
        Restrictions::parse(restricted::GRPC, &self.grpc)
    }
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// One JSON object a line
    Json,
    /// For people
    Text,
}

/// What is logged, to stderr.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Logs")]
pub(crate) struct LogSettings {
    /// How a log line looks
    #[arg(long, env = "FOREBAY_LOG_FORMAT", value_enum, default_value = "json")]
    pub(crate) log_format: LogFormat,
    /// What is logged: a level (error, warn, info, debug, trace) or tracing's filter directives
    #[arg(long, env = "FOREBAY_LOG", default_value = "info")]
    pub(crate) log: String,
}

impl LogSettings {
    /// The variables by which a process of this program logs the same.
    pub(crate) fn environment(&self) -> [(&'static str, String); 2] {
        let format =
            self.log_format.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned());
        [("FOREBAY_LOG", self.log.clone()), ("FOREBAY_LOG_FORMAT", format)]
    }
}
