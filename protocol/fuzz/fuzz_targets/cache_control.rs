//! Cache directives and header lengths: never a panic; what is read can be written and read again.
#![no_main]

use forebay_protocol::cache_control::{RequestDirectives, ResponseDirectives};
use forebay_protocol::path::InferPath;
use forebay_protocol::request::header_length;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let values: Vec<&[u8]> = data.split(|byte| *byte == b'\n').collect();
    let _ = RequestDirectives::parse(values.iter().copied());
    let _ = header_length(values.iter().copied());
    if let Some(freshness) = ResponseDirectives::parse(values.iter().copied()) {
        assert_eq!(ResponseDirectives::parse([freshness.to_string().as_bytes()]), Some(freshness));
    }
    if let Some(path) = std::str::from_utf8(data).ok().and_then(InferPath::parse) {
        assert!(!path.model.contains('/') && !path.version.contains('/'));
    }
});
