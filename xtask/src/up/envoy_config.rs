//! The filter's settings in a file for Envoy: the file enters, a verdict leaves.

use anyhow::{Context, Result};
use forebay_filter_core::config::Config;

/// Reads the filter's settings as the filter will: with wrong ones it would start, and pass every request.
///
/// # Errors
/// There are none, or the filter could not use them.
pub(super) fn check_filter(filled: &str) -> Result<()> {
    let settings = filter_settings(filled)
        .context("envoy/forebay.yaml has no `configuration` of the filter with a `value: |`")?;
    Config::parse(settings.as_bytes()).context("envoy/forebay.yaml, the filter's settings")?;
    Ok(())
}

/// The lines of the block under the first `value: |` after `configuration:`.
fn filter_settings(filled: &str) -> Option<String> {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let mut lines = filled.lines().skip_while(|line| line.trim() != "configuration:");
    let value = lines.find(|line| line.trim() == "value: |")?;
    let block = lines.take_while(|line| line.trim().is_empty() || indent(line) > indent(value));
    Some(block.collect::<Vec<_>>().join("\n"))
}

#[cfg(test)]
mod tests {
    use super::{check_filter, filter_settings};

    const FILE: &str = include_str!("../../../envoy/forebay.yaml");

    #[test]
    fn the_filters_settings_in_the_file_are_right_and_read_whole() {
        check_filter(FILE).unwrap();
        let settings = filter_settings(FILE).unwrap();
        assert!(settings.trim().starts_with('{') && settings.trim().ends_with('}'), "{settings}");
    }

    #[test]
    fn settings_that_the_filter_could_not_use_are_refused_by_field() {
        let wrong = FILE.replace("\"service\": \"demo\"", "\"service\": \"no spaces\"");
        assert!(format!("{:#}", check_filter(&wrong).unwrap_err()).contains("`service`"));
        assert!(check_filter("configuration:\n").is_err());
    }
}
