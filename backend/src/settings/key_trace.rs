//! Flags -> the traces of keys that a gate keeps of what the proxies' polls tell: where, how much, and how long each is. Next:
//! `gate::key_trace` writes them, and `forebay simulate` reads them.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::units::{parse_bytes, parse_seconds};
use super::{SettingsError, wrong};

const BYTES: usize = 256 << 20;
/// Less than that holds no day.
const LEAST_BYTES: usize = 1 << 20;
const LENGTH: Duration = Duration::from_hours(1);
/// What comes late must not come after several have ended.
const LEAST_LENGTH: Duration = Duration::from_mins(1);

/// What is kept of the keys that proxies tell of.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Key traces")]
#[allow(clippy::struct_field_names)] // they are the flags' names
pub(crate) struct KeyTraceSettings {
    /// Folder for traces of what is asked, as the proxies that poll this gate sample it: hashes of requests, compute time and sizes, no
    /// contents. `forebay simulate` reads them. Made if it isn't there; gates may share it
    #[arg(long, env = "FOREBAY_KEY_TRACE_DIR", value_name = "FOLDER")]
    key_trace_dir: Option<PathBuf>,
    /// Bytes that all of them in the folder may take together; past it the oldest go [default: 256MiB]
    #[arg(long, env = "FOREBAY_KEY_TRACE_BYTES", value_parser = parse_bytes)]
    key_trace_bytes: Option<usize>,
    /// How long each one is: seconds, or a time such as 10m, from a minute to a day [default: 1h]
    #[arg(long, env = "FOREBAY_KEY_TRACE_SECS", value_parser = parse_seconds)]
    key_trace_secs: Option<Duration>,
}

/// Traces of keys, as they were asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyTraceConfig {
    pub(crate) folder: PathBuf,
    /// On disk, together.
    pub(crate) bytes: u64,
    /// Of each, in whole seconds.
    pub(crate) length: Duration,
}

impl KeyTraceSettings {
    /// What is kept; `None` without `--key-trace-dir`.
    ///
    /// # Errors
    /// When a flag is of no use, or has a value that can't be.
    pub(crate) fn config(&self) -> Result<Option<KeyTraceConfig>, SettingsError> {
        let said = [
            ("--key-trace-bytes", self.key_trace_bytes.is_some()),
            ("--key-trace-secs", self.key_trace_secs.is_some()),
        ];
        let Some(folder) = self.key_trace_dir.clone() else {
            let reason = "traces nothing: say where to, by --key-trace-dir";
            let useless = said.into_iter().find(|(_, is_said)| *is_said);
            return useless.map_or(Ok(None), |(flag, _)| Err(wrong(flag, reason)));
        };
        let bytes = self.key_trace_bytes.unwrap_or(BYTES);
        if bytes < LEAST_BYTES {
            return Err(wrong("--key-trace-bytes", format!("{bytes} bytes: at least 1MiB is expected")));
        }
        let length = self.key_trace_secs.unwrap_or(LENGTH);
        if length < LEAST_LENGTH || length.subsec_nanos() > 0 {
            return Err(wrong("--key-trace-secs", "whole seconds are expected, 60 at least"));
        }
        Ok(Some(KeyTraceConfig { folder, bytes: bytes as u64, length }))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Only {
        #[command(flatten)]
        key_trace: KeyTraceSettings,
    }

    fn config(flags: &str) -> Result<Option<KeyTraceConfig>, String> {
        let parsed = Only::try_parse_from(std::iter::once("gate").chain(flags.split_whitespace()));
        parsed.map_err(|error| error.to_string())?.key_trace.config().map_err(|error| error.to_string())
    }

    #[test]
    fn a_folder_is_enough_and_nothing_else_is_anything_without_it() {
        assert_eq!(config(""), Ok(None));
        let expected = KeyTraceConfig { folder: "/t".into(), bytes: 256 << 20, length: LENGTH };
        assert_eq!(config("--key-trace-dir /t"), Ok(Some(expected.clone())));
        let more = KeyTraceConfig { bytes: 2 << 20, length: Duration::from_mins(10), ..expected };
        assert_eq!(config("--key-trace-dir /t --key-trace-bytes 2MiB --key-trace-secs 10m"), Ok(Some(more)));
        for (flags, words) in [
            ("--key-trace-secs 60", "--key-trace-secs: traces nothing"),
            ("--key-trace-bytes 1MiB", "--key-trace-bytes: traces nothing"),
            ("--key-trace-dir /t --key-trace-bytes 1000", "at least 1MiB"),
            ("--key-trace-dir /t --key-trace-secs 59", "60 at least"),
            ("--key-trace-dir /t --key-trace-secs 60.5", "whole seconds"),
            ("--key-trace-dir /t --key-trace-secs 2d", "86400"),
        ] {
            let refused = config(flags).unwrap_err();
            assert!(refused.contains(words), "{flags}: {refused}");
        }
    }
}
