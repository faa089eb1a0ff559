//! Paths of inference, and the configuration of the filter.

use forebay_filter_core::config::Config;
use forebay_protocol::path::InferPath;

/// A path that is inference names a model and a version that no other parser reads differently.
pub(crate) fn path(data: &[u8]) {
    let Some(path) = std::str::from_utf8(data).ok().and_then(InferPath::parse) else { return };
    let plain = |name: &str| !name.contains(['/', '?', '%', '#', ';', '\\', ' ']) && name != "..";
    assert!(!path.model.is_empty() && plain(path.model) && plain(path.version));
}

/// A configuration is read, or refused with the field that is wrong.
pub(crate) fn plugin_config(data: &[u8]) {
    if let Err(error) = Config::parse(data) {
        assert!(!error.to_string().is_empty());
    }
}
