//! The configuration of the filter.

use forebay_filter_core::config::Config;

/// A configuration is read, or refused with the field that is wrong.
pub(crate) fn plugin_config(data: &[u8]) {
    if let Err(error) = Config::parse(data) {
        assert!(!error.to_string().is_empty());
    }
}
