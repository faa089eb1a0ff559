//! The settings of `serve`.

use clap::Args;

use super::memory::Memory;
use super::models::ModelSettings;
use super::shadow::ShadowSettings;
use super::sizes::Share;
use super::{RecordSettings, ReplayConfig, ReplaySettings, ServingSettings, SettingsError};

/// Settings of `forebay serve`.
#[derive(Debug, Args)]
pub(crate) struct ServeSettings {
    #[command(flatten)]
    pub(crate) models: ModelSettings,
    #[command(flatten)]
    pub(crate) shadow: ShadowSettings,
    #[command(flatten)]
    pub(crate) serving: ServingSettings,
    /// Microseconds for which a thread goes on looking for requests after each answer, instead of sleeping: less latency
    /// for a processor that is busy so long. Of use with --worker-threads 1: a thread of others that sleeps is woken first
    #[arg(long, env = "FOREBAY_BUSY_POLL_US", default_value_t = 0, help_heading = "Network",
          value_parser = clap::value_parser!(u32).range(..=1_000_000))]
    pub(crate) busy_poll_us: u32,
    #[command(flatten)]
    pub(crate) record: RecordSettings,
    #[command(flatten)]
    replay: ReplaySettings,
}

impl ServeSettings {
    /// Sizes that nobody said become shares of that memory.
    pub(super) fn fit(&mut self, memory: Option<Memory>) {
        let share = Share::of(memory.as_ref());
        self.models.fit(share);
        self.shadow.fit(share);
        self.record.fit(share);
        self.serving.fit(memory);
        self.serving.sizes.max_queue_bytes = Some(self.models.max_queue_bytes());
        self.serving.sizes.record_queue_bytes = self.record.queue_bytes();
        self.serving.sizes.replay_bytes = self.record.queue_bytes().filter(|_| self.replay.is_on());
    }

    /// What a new version replays of what is recorded.
    ///
    /// # Errors
    /// As the recorder's settings, and when they don't go with it.
    pub(crate) fn replay(&self) -> Result<Option<ReplayConfig>, SettingsError> {
        self.replay.config(self.record.config()?.as_ref(), self.serving.trust.tenancy)
    }

    /// What clap can't check: rules that span two settings.
    pub(super) fn check(&self) -> Result<(), SettingsError> {
        self.models.check()?;
        self.shadow.check()?;
        self.replay()?;
        self.serving.check()
    }
}
