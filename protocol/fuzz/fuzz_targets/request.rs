//! Requests: never a panic; what is read is valid; what is accepted as JSON is JSON to serde_json too, and the other way round.
#![no_main]

use bytes::Bytes;
use forebay_protocol::digest::{Scope, digest};
use forebay_protocol::limits::Limits;
use forebay_protocol::path::InferPath;
use forebay_protocol::request::{decode, validate};
use forebay_protocol::wants::Wants;
use libfuzzer_sys::fuzz_target;
use serde::de::IgnoredAny;

const PATH: InferPath<'static> = InferPath { model: "m", version: "" };

fuzz_target!(|data: &[u8]| {
    let Some((selector, body)) = data.split_first_chunk::<2>() else { return };
    let limits = Limits { max_tensor_bytes: 1 << 20, ..Limits::default() };
    let length = usize::from(u16::from_le_bytes(*selector));
    let header_length = (length < 0x8000).then_some(length);
    let body = Bytes::copy_from_slice(body);
    if let Ok(request) = decode(&PATH, header_length, &body, &limits) {
        validate(&request, &limits).expect("what is read is valid");
        let _ = digest(&Scope { service: "s", tenant: "" }, &request);
        let _ = Wants::of(&request).fingerprint();
        let json = &body[..header_length.unwrap_or(body.len())];
        let tokens = json.iter().any(|byte| matches!(byte, b'N' | b'I'));
        assert!(tokens || serde_json::from_slice::<IgnoredAny>(json).is_ok(), "serde_json refuses it");
    }
    if let Ok(value) = serde_json::from_slice::<serde_json::Value>(&body) {
        let wrapped = Bytes::from([b"{\"inputs\":[],\"any\":", &body[..], b"}"].concat());
        let read = decode(&PATH, None, &wrapped, &Limits { max_json_depth: 200, ..limits });
        assert!(read.is_ok(), "refused {value}: {read:?}");
    }
});
