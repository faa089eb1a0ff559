//! The settings of `gate`.

use clap::Args;

use super::memory::Memory;
use super::sizes::{Share, Sizes};
use super::{
    GateAddress, HoldSettings, HttpSettings, KeyTraceSettings, LogSettings, OperatorSettings, PoolSettings,
    SettingsError, TlsSettings, TraceSettings, TrustSettings, UiSettings, wrong,
};

/// Settings of `forebay gate`.
#[derive(Debug, Args)]
pub(crate) struct GateSettings {
    #[command(flatten)]
    pub(crate) http: HttpSettings,
    #[command(flatten)]
    pub(crate) gate: GateAddress,
    /// Port of /metrics and /ui; 0 picks a free one
    #[arg(long, env = "FOREBAY_METRICS_PORT", default_value_t = 8012, help_heading = "Network")]
    pub(crate) metrics_port: u16,
    #[command(flatten)]
    pub(crate) tls: TlsSettings,
    #[command(flatten)]
    pub(crate) pool: PoolSettings,
    #[command(flatten)]
    pub(crate) hold: HoldSettings,
    #[command(flatten)]
    pub(crate) ui: UiSettings,
    #[command(flatten)]
    pub(crate) trust: TrustSettings,
    #[command(flatten)]
    pub(crate) operators: OperatorSettings,
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

impl GateSettings {
    /// Sizes that nobody said become shares of that memory.
    pub(super) fn fit(&mut self, memory: Option<Memory>) {
        let share = Share::of(memory.as_ref());
        self.http.fit(share);
        self.pool.fit(share);
        self.sizes = Sizes::of(memory, &self.http, &self.pool);
    }

    /// What clap can't check.
    pub(super) fn check(&self) -> Result<(), SettingsError> {
        if !self.pool.tier.is_shared() {
            let reason = "a gate of its own needs --pool redis or memcached; with --pool memory its routes run in `serve`";
            return Err(wrong("--pool", reason));
        }
        self.trace.config()?;
        self.key_trace.config()?;
        self.hold.check()?;
        self.trust.check()?;
        self.http.check()?;
        self.pool.tier.check()
    }
}
