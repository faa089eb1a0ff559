//! Fuzz targets: one function for each parser of bytes from outside. Any bytes enter; a panic is a finding. `cargo xtask
//! fuzz` runs them under libFuzzer; `cargo xtask test` replays what `corpus/` holds.

mod answer;
mod cache;
mod plugin_config;
mod request;
mod trace;

use forebay::fuzzing;

/// A target.
pub type Target = fn(&[u8]);

/// All targets by their names, which are those of their folders in `corpus/`.
pub const TARGETS: [(&str, Target); 25] = [
    ("request", request::request),
    ("contents", request::contents),
    ("upstream_answer", answer::of_upstream),
    ("response", answer::response),
    ("entry", cache::entry),
    ("cache_control", cache::cache_control),
    ("generations", cache::generations),
    ("poll", cache::poll),
    ("lookups", cache::lookups),
    ("path", request::path),
    ("call", request::call),
    ("message", request::message),
    ("plugin_config", plugin_config::plugin_config),
    ("model_config", fuzzing::model_config),
    ("variant", fuzzing::variant),
    ("grpc_timeout", fuzzing::grpc_timeout),
    ("predict", request::predict),
    ("encoded_body", fuzzing::encoded_body),
    ("live_record", fuzzing::live_record),
    ("live_board", fuzzing::live_board),
    ("purge", fuzzing::purge),
    ("memcached_replies", fuzzing::memcached_replies),
    ("onnx_model", fuzzing::onnx_model),
    ("record_segment", fuzzing::record_segment),
    ("trace", trace::trace),
];

/// The target of that name.
pub fn target(name: &str) -> Option<Target> {
    TARGETS.iter().find(|(known, _)| *known == name).map(|(_, target)| *target)
}
