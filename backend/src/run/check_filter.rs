//! `forebay check-filter FILE`: the filter's settings enter, as they are to stand in Envoy's configuration; whether the filter would
//! use them leaves. A filter never refuses settings, and passes every request with wrong ones, so they are to be read before.
//!
//! The parser is the filter's own: this is the one thing for which the backend depends on the filter's core.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use forebay_filter_core::config::{Config, Mode, Tenancy};

use crate::settings::{CheckFilterSettings, SettingsError, wrong};

/// What errors begin with.
const COMMAND: &str = "check-filter";
/// Larger files are no settings.
const MAX_BYTES: u64 = 16 << 20;

/// Reads them, and says in one line what they are.
///
/// # Errors
/// [`SettingsError`]: the file can't be read, or the filter could not use it.
pub(crate) fn run(settings: &CheckFilterSettings) -> anyhow::Result<()> {
    println!("{}", check(&read(&settings.file)?)?);
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>, SettingsError> {
    let mut json = Vec::new();
    let read = if path == Path::new("-") {
        io::stdin().lock().take(MAX_BYTES).read_to_end(&mut json)
    } else {
        File::open(path).and_then(|file| file.take(MAX_BYTES).read_to_end(&mut json))
    };
    match read {
        Ok(_) => Ok(json),
        Err(source) => Err(SettingsError::Unreadable { flag: COMMAND, path: path.to_owned(), source }),
    }
}

fn check(json: &[u8]) -> Result<String, SettingsError> {
    let config = Config::parse(json).map_err(|error| wrong(COMMAND, error.to_string()))?;
    let mode = match config.mode {
        Mode::On => "on",
        Mode::Shadow => "shadow",
        Mode::Off => "off",
    };
    let tenancy = match config.tenancy {
        Tenancy::None => "none",
        Tenancy::Required => "required",
    };
    let gate = config.gate.as_ref().map_or_else(|| "none".to_owned(), |gate| gate.authority().to_owned());
    Ok(format!("right: service {}, mode {mode}, tenancy {tenancy}, gate {gate}", config.service))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn right_settings_are_a_line_that_says_what_they_are() {
        let json = br#"{"service": "demo", "tenancy": "required", "tenant": "a", "gate": {"cluster": "outbound|1||gate.ns"}}"#;
        assert_eq!(check(json).unwrap(), "right: service demo, mode on, tenancy required, gate gate.ns");
    }

    #[test]
    fn wrong_ones_are_a_line_that_names_the_field_and_what_would_be_right() {
        let line =
            check(br#"{"service": "demo", "gate": {"cluster": "g", "poll_ms": 1}}"#).unwrap_err().to_string();
        assert_eq!(
            line,
            "check-filter: plugin configuration, field `gate.poll_ms`: 1 is not between 50 and 30000"
        );
        for json in
            [&b""[..], b"\xff", b"{}", b"{\"service\":\"demo\",\"gate\":{\"cluster\":\"g\",\"token\":\"t\"}}"]
        {
            let line = check(json).unwrap_err().to_string();
            assert!(line.starts_with("check-filter: ") && !line.contains('\n'), "{line}");
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = read(Path::new("/no/such")).unwrap_err().to_string();
        assert!(error.contains("check-filter: can't read /no/such"), "{error}");
    }
}
