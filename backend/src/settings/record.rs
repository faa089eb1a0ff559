//! Flags -> what `serve` records of requests: of which models, how many, where, and for how long. Next: the room `record` does it.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::sizes::Share;
use super::units::{parse_bytes, parse_days, parse_share};
use super::{SettingsError, wrong};

/// Of a hundred requests one.
const SHARE: f64 = 0.01;
const BYTES: usize = 1 << 30;
/// Less than that holds no picture.
const LEAST_BYTES: usize = 1 << 20;
const AGE: Duration = Duration::from_hours(7 * 24);
const LEAST_AGE: Duration = Duration::from_secs(1);
/// Where memory is enough.
const QUEUE_BYTES: usize = 16 << 20;
/// A model's name is that of a folder, whose names are no longer.
const LONGEST_NAME: usize = 255;

/// What is recorded of requests.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Records")]
pub(crate) struct RecordSettings {
    /// Model of which requests are recorded, their input tensors alone, encrypted in --record-dir; repeat it for more (the variable
    /// takes commas). `forebay optimize` takes records as data
    #[arg(long, env = "FOREBAY_RECORD", value_delimiter = ',', value_name = "MODEL")]
    record: Vec<String>,
    /// Folder of the records, made if it isn't there. Replicas may share it
    #[arg(long, env = "FOREBAY_RECORD_DIR")]
    record_dir: Option<PathBuf>,
    /// File with the key that records are encrypted with: 32 bytes, as they are, in hex or in base64. Read again when it changes; what
    /// was recorded before stays under the former key
    #[arg(long, env = "FOREBAY_RECORD_KEY_FILE")]
    record_key_file: Option<PathBuf>,
    /// Share of their requests that is recorded, by chance, from 0 to 1 [default: 0.01]
    #[arg(long, env = "FOREBAY_RECORD_SHARE", value_parser = parse_share)]
    record_share: Option<f64>,
    /// Bytes that all records in the folder may take together; past it the oldest go [default: 1GiB]
    #[arg(long, env = "FOREBAY_RECORD_BYTES", value_parser = parse_bytes)]
    record_bytes: Option<usize>,
    /// How long a record is kept: seconds, or a time such as 12h or 30d [default: 7d]
    #[arg(long, env = "FOREBAY_RECORD_AGE", value_parser = parse_days)]
    record_age: Option<Duration>,
    /// Bytes of records that may wait to be written; past it requests are not recorded, and counted [default: 16MiB, or a share of the
    /// memory that the container may take]
    #[arg(long, env = "FOREBAY_RECORD_QUEUE_BYTES", value_parser = parse_bytes)]
    record_queue_bytes: Option<usize>,
    /// What the queue may be where nobody says it.
    #[arg(skip = QUEUE_BYTES)]
    fitting_queue_bytes: usize,
}

/// A recorder, as it was asked for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RecordConfig {
    pub(crate) models: Vec<String>,
    pub(crate) folder: PathBuf,
    pub(crate) key_file: PathBuf,
    /// From 0 to 1.
    pub(crate) share: f64,
    /// On disk, together.
    pub(crate) bytes: u64,
    pub(crate) age: Duration,
    pub(crate) queue_bytes: usize,
}

impl RecordSettings {
    /// The size that nobody said becomes a share.
    pub(super) fn fit(&mut self, share: Share) {
        self.fitting_queue_bytes = share.at_most(QUEUE_BYTES);
    }

    /// Bytes that may wait; `None` where nothing is recorded.
    pub(super) fn queue_bytes(&self) -> Option<usize> {
        let bytes = self.record_queue_bytes.unwrap_or(self.fitting_queue_bytes);
        (!self.record.is_empty()).then_some(bytes)
    }

    /// What is recorded; `None` without `--record`.
    ///
    /// # Errors
    /// When a flag is missing or of no use, or has a value that can't be.
    pub(crate) fn config(&self) -> Result<Option<RecordConfig>, SettingsError> {
        let Some(queue_bytes) = self.queue_bytes() else { return self.nothing() };
        let mut models: Vec<String> = Vec::new();
        for model in &self.record {
            if model.is_empty() || model.len() > LONGEST_NAME {
                let reason =
                    format!("{model:?} is no model's name: from 1 to {LONGEST_NAME} bytes are expected");
                return Err(wrong("--record", reason));
            }
            if !models.contains(model) {
                models.push(model.clone());
            }
        }
        let missing = |flag, what| wrong(flag, format!("is missing: --record needs {what}"));
        let folder =
            self.record_dir.clone().ok_or_else(|| missing("--record-dir", "a folder for records"))?;
        let key_file = self.record_key_file.clone().ok_or_else(|| {
            missing("--record-key-file", "a key of 32 bytes: `openssl rand -hex 32` makes one")
        })?;
        let bytes = self.record_bytes.unwrap_or(BYTES);
        if bytes < LEAST_BYTES {
            return Err(wrong("--record-bytes", format!("{bytes} bytes: at least 1MiB is expected")));
        }
        let age = self.record_age.unwrap_or(AGE);
        if age < LEAST_AGE {
            return Err(wrong("--record-age", "at least a second is expected"));
        }
        let share = self.record_share.unwrap_or(SHARE);
        Ok(Some(RecordConfig { models, folder, key_file, share, bytes: bytes as u64, age, queue_bytes }))
    }

    /// Without a model nothing else may be said: who says it wants to record something.
    fn nothing(&self) -> Result<Option<RecordConfig>, SettingsError> {
        let said = [
            ("--record-dir", self.record_dir.is_some()),
            ("--record-key-file", self.record_key_file.is_some()),
            ("--record-share", self.record_share.is_some()),
            ("--record-bytes", self.record_bytes.is_some()),
            ("--record-age", self.record_age.is_some()),
            ("--record-queue-bytes", self.record_queue_bytes.is_some()),
        ];
        let reason = "records nothing: say of which model, by --record MODEL";
        said.into_iter().find(|(_, is_said)| *is_said).map_or(Ok(None), |(flag, _)| Err(wrong(flag, reason)))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Only {
        #[command(flatten)]
        record: RecordSettings,
    }

    fn config(flags: &str) -> Result<Option<RecordConfig>, String> {
        let parsed = Only::try_parse_from(std::iter::once("serve").chain(flags.split_whitespace()));
        parsed.map_err(|error| error.to_string())?.record.config().map_err(|error| error.to_string())
    }

    #[test]
    fn a_model_a_folder_and_a_key_are_enough() {
        assert_eq!(config(""), Ok(None));
        let expected = RecordConfig {
            models: vec!["a".into(), "b/c".into()],
            folder: "/r".into(),
            key_file: "/k".into(),
            share: SHARE,
            bytes: 1 << 30,
            age: AGE,
            queue_bytes: QUEUE_BYTES,
        };
        let flags = "--record a --record b/c --record a --record-dir /r --record-key-file /k";
        assert_eq!(config(flags), Ok(Some(expected.clone())));
        let all = "--record a,b/c --record-dir /r --record-key-file /k --record-share 1 --record-bytes 2MiB \
                   --record-age 30d --record-queue-bytes 5";
        let all = config(all).unwrap().unwrap();
        let age = Duration::from_hours(30 * 24);
        assert_eq!(all, RecordConfig { share: 1.0, bytes: 2 << 20, age, queue_bytes: 5, ..expected });
    }

    #[test]
    fn what_does_not_belong_together_is_refused_with_what_would_be_right() {
        let right = "--record a --record-dir /r --record-key-file /k";
        for (flags, expected) in [
            ("--record a --record-key-file /k".to_owned(), "--record-dir: is missing"),
            ("--record a --record-dir /r".to_owned(), "openssl rand -hex 32"),
            ("--record-dir /r".to_owned(), "--record-dir: records nothing: say of which model, by --record"),
            ("--record-share 1".to_owned(), "--record-share: records nothing"),
            ("--record-queue-bytes 1".to_owned(), "--record-queue-bytes: records nothing"),
            (format!("{right} --record-bytes 1000"), "--record-bytes: 1000 bytes: at least 1MiB"),
            (format!("{right} --record-age 0.5"), "--record-age: at least a second"),
            (format!("{right} --record-share 1.5"), "from 0 to 1"),
            (format!("{right} --record-share nan"), "from 0 to 1"),
            (format!("{right} --record {}", "x".repeat(256)), "is no model's name"),
        ] {
            let refused = config(&flags).unwrap_err();
            assert!(refused.contains(expected), "{flags}: {refused}");
        }
    }
}
