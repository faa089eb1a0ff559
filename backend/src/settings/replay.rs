//! Flags -> what a new version computes again before it takes requests. Next: the room `replay` does it.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::units::{parse_days, parse_share};
use super::{RecordConfig, SettingsError, wrong};
use crate::trust::Tenancy;

/// Of a session's time: what is served beside it, on the same device, has as much.
const SHARE: f64 = 0.5;

/// How a rollout is made warm.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Records")]
pub(crate) struct ReplaySettings {
    /// For how long at most a model's new version computes again what the models of --record were asked lately, before it takes
    /// requests: seconds, or a time such as 2m; 0 is not at all
    #[arg(long, env = "FOREBAY_REPLAY_WITHIN", value_parser = parse_days, default_value = "0")]
    replay_within: Duration,
    /// Share of a session's time that it may take, up to 1 [default: 0.5]
    #[arg(long, env = "FOREBAY_REPLAY_SHARE", value_parser = parse_share)]
    replay_share: Option<f64>,
}

/// A replay, as it was asked for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ReplayConfig {
    pub(crate) models: Vec<String>,
    pub(crate) folder: PathBuf,
    pub(crate) key_file: PathBuf,
    /// Part of what was asked that is in the records.
    pub(crate) recorded_share: f64,
    pub(crate) within: Duration,
    pub(crate) share: f64,
    /// That the requests may take together: what the recorder's queue may.
    pub(crate) bytes: usize,
}

impl ReplaySettings {
    /// Was it asked for?
    pub(super) fn is_on(&self) -> bool {
        !self.replay_within.is_zero()
    }

    /// What is replayed of what is recorded; `None` without `--replay-within`.
    ///
    /// # Errors
    /// When it can't be with the others' settings.
    pub(crate) fn config(
        &self,
        record: Option<&RecordConfig>,
        tenancy: Tenancy,
    ) -> Result<Option<ReplayConfig>, SettingsError> {
        if !self.is_on() {
            return match self.replay_share {
                None => Ok(None),
                Some(_) => {
                    Err(wrong("--replay-share", "replays nothing: say for how long, by --replay-within"))
                }
            };
        }
        let nothing = "replays what is recorded, and nothing is: say of which model, by --record MODEL";
        let record = record.ok_or_else(|| wrong("--replay-within", nothing))?;
        if tenancy == Tenancy::Required {
            let reason = "can't be with --tenancy required: records don't say whose requests they are";
            return Err(wrong("--replay-within", reason));
        }
        let share = self.replay_share.unwrap_or(SHARE);
        if share <= 0.0 || record.share <= 0.0 {
            let flag = if share <= 0.0 { "--replay-share" } else { "--record-share" };
            return Err(wrong(flag, "is 0, so that nothing is replayed: more is expected, up to 1"));
        }
        Ok(Some(ReplayConfig {
            models: record.models.clone(),
            folder: record.folder.clone(),
            key_file: record.key_file.clone(),
            recorded_share: record.share,
            within: self.replay_within,
            share,
            bytes: record.queue_bytes,
        }))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::settings::RecordSettings;

    #[derive(clap::Parser)]
    struct Both {
        #[command(flatten)]
        record: RecordSettings,
        #[command(flatten)]
        replay: ReplaySettings,
    }

    fn config(flags: &str, tenancy: Tenancy) -> Result<Option<ReplayConfig>, String> {
        let parsed = Both::try_parse_from(std::iter::once("serve").chain(flags.split_whitespace()));
        let Both { record, replay } = parsed.map_err(|error| error.to_string())?;
        let record = record.config().map_err(|error| error.to_string())?;
        replay.config(record.as_ref(), tenancy).map_err(|error| error.to_string())
    }

    const RECORDS: &str = "--record a --record-dir /r --record-key-file /k";

    #[test]
    fn what_is_recorded_is_replayed_for_as_long_as_is_said() {
        assert_eq!(config(RECORDS, Tenancy::None), Ok(None));
        let flags = format!("{RECORDS} --record-share 0.5 --record-queue-bytes 9 --replay-within 2m");
        let expected = ReplayConfig {
            models: vec!["a".into()],
            folder: "/r".into(),
            key_file: "/k".into(),
            recorded_share: 0.5,
            within: Duration::from_mins(2),
            share: SHARE,
            bytes: 9,
        };
        assert_eq!(config(&flags, Tenancy::None), Ok(Some(expected)));
    }

    #[test]
    fn what_can_replay_nothing_is_refused() {
        for (flags, tenancy, expected) in [
            ("--replay-within 9".to_owned(), Tenancy::None, "--replay-within: replays what is recorded"),
            ("--replay-share 1".to_owned(), Tenancy::None, "--replay-share: replays nothing"),
            (format!("{RECORDS} --replay-within 9"), Tenancy::Required, "records don't say whose"),
            (format!("{RECORDS} --replay-within 9 --replay-share 0"), Tenancy::None, "--replay-share: is 0"),
            (format!("{RECORDS} --replay-within 9 --record-share 0"), Tenancy::None, "--record-share: is 0"),
            (format!("{RECORDS} --replay-within soon"), Tenancy::None, "expected seconds"),
        ] {
            let refused = config(&flags, tenancy).unwrap_err();
            assert!(refused.contains(expected), "{flags}: {refused}");
        }
    }
}
