//! What a V2 server with a cache is told, whatever computes its answers: its ports, its pool, whom it trusts, what it tells.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use clap::Args;

use super::memory::Memory;
use super::shared::check_service;
use super::sizes::{Share, Sizes};
use super::units::parse_seconds;
use super::{
    GateAddress, HttpSettings, KeyTraceSettings, LogSettings, OperatorSettings, PoolKind, PoolSettings,
    PrivacySettings, RestrictedSettings, SettingsError, TlsSettings, TraceSettings, TrustSettings, wrong,
};

/// What `serve` and `front` share.
#[derive(Debug, Args)]
pub(crate) struct ServingSettings {
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
    pub(crate) generations_timeout_secs: Duration,
    /// Name of this service: two services may each have a model of the same name, and never share answers
    #[arg(long, env = "FOREBAY_SERVICE", default_value = "default", help_heading = "Trust")]
    pub(crate) service: String,
    #[command(flatten)]
    pub(crate) trust: TrustSettings,
    #[command(flatten)]
    pub(crate) operators: OperatorSettings,
    #[command(flatten)]
    pub(crate) privacy: PrivacySettings,
    /// Requests a second that may say no-cache or no-store of models whose answers are kept, for each tenant, or for all together where
    /// there are none; past it the answer is 429, or `RESOURCE_EXHAUSTED` [default: no bound]
    #[arg(long, env = "FOREBAY_BYPASS_QUOTA", help_heading = "Trust")]
    pub(crate) bypass_quota: Option<NonZeroU32>,
    #[command(flatten)]
    pub(crate) restricted: RestrictedSettings,
    #[command(flatten)]
    pub(crate) logs: LogSettings,
    #[command(flatten)]
    pub(crate) trace: TraceSettings,
    #[command(flatten)]
    pub(crate) key_trace: KeyTraceSettings,
    /// The sizes of all that, by what memory there is.
    #[arg(skip)]
    pub(crate) sizes: Sizes,
}

impl ServingSettings {
    /// Sizes that nobody said become shares of that memory.
    pub(super) fn fit(&mut self, memory: Option<Memory>) {
        let share = Share::of(memory.as_ref());
        self.http.fit(share);
        self.pool.fit(share);
        self.sizes = Sizes::of(memory, &self.http, &self.pool);
        self.sizes.pool_bytes = (self.pool.tier.pool != PoolKind::None).then(|| self.pool.pool_bytes());
    }

    /// Whether there is a gate in this process.
    fn has_gate(&self) -> bool {
        self.pool.tier.pool == PoolKind::Memory
    }

    /// What clap can't check: rules that span two settings.
    pub(super) fn check(&self) -> Result<(), SettingsError> {
        self.trace.config()?;
        let gates = [
            ("--key-trace-dir", self.key_trace.config()?.is_some(), "which proxies poll"),
            ("--operators-file", self.operators.operators_file.is_some(), "where operators purge"),
        ];
        let lost = gates.into_iter().find(|(_, is_said, _)| *is_said && !self.has_gate());
        if let Some((flag, _, what)) = lost {
            let reason = "no gate is in this server without --pool memory: say it to `forebay gate`";
            return Err(wrong(flag, format!("{reason}, {what}")));
        }
        check_service(&self.service)?;
        self.trust.check()?;
        self.privacy.check(&self.trust)?;
        self.http.check()?;
        self.pool.tier.check()
    }
}
