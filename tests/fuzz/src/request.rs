//! Requests, as HTTP and as gRPC carry them, and their paths.

use bytes::Bytes;
use forebay_filter_core::encoding::grpc;
use forebay_protocol::call::{self, Named, message};
use forebay_protocol::contents::canonicalize;
use forebay_protocol::datatype::DataType;
use forebay_protocol::digest::{Scope, digest};
use forebay_protocol::limits::Limits;
use forebay_protocol::messages::{ModelInferRequest, ModelInferResponse};
use forebay_protocol::path::{self, InferPath, InferTarget};
use forebay_protocol::predict::{self, Input};
use forebay_protocol::request::{decode, validate};
use forebay_protocol::wants::Wants;
use prost::Message as _;
use serde::de::IgnoredAny;

/// For an inflated message, in bytes.
const ROOM: usize = 1 << 16;

const PATH: InferPath<'static> = InferPath { model: "m", version: "" };

/// What is read is valid; what is accepted as JSON is JSON to `serde_json` too, and the other way round.
pub(crate) fn request(data: &[u8]) {
    let Some((selector, body)) = data.split_first_chunk::<2>() else { return };
    let limits = Limits { max_tensor_bytes: 1 << 20, ..Limits::default() };
    let length = usize::from(u16::from_le_bytes(*selector));
    let header_length = (length < 0x8000).then_some(length);
    let body = Bytes::copy_from_slice(body);
    if let Ok(request) = decode(&PATH, header_length, &body, &limits) {
        validate(&request, &limits).expect("what is read is valid");
        let _ = digest(&Scope { service: "s", tenant: None }, &request);
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
}

/// What the beginning of a call says of its model, more of it does not take back.
pub(crate) fn call(data: &[u8]) {
    let all = call::model(data);
    for cut in [data.len() / 2, data.len().saturating_sub(1)] {
        let part = call::model(&data[..cut]);
        assert!(part == Named::NotYet || part == all, "{part:?} of {cut} bytes, {all:?} of all");
    }
}

/// Ids go out of messages and nothing else does; what is compressed is inflated within its room.
pub(crate) fn message(data: &[u8]) {
    if let (Ok(request), Some(asked)) = (ModelInferRequest::decode(data), message::asked(data)) {
        let (before, behind) = (&data[..asked.id_at.start], &data[asked.id_at.end..]);
        let rest = [before, behind].concat();
        let rest = ModelInferRequest::decode(&rest[..]).expect("an id is a field of its own");
        let is_last = message::without_id(behind.to_vec()).is_some_and(|none| none.len() == behind.len());
        // One that comes later counts.
        assert!(!is_last || request.id == asked.id);
        let bare = |request| ModelInferRequest { id: String::new(), ..request }.encode_to_vec();
        assert_eq!(bare(rest), bare(request));
    }
    if let Ok(answer) = ModelInferResponse::decode(data) {
        let none = message::without_id(data.to_vec()).expect("what is decoded has fields");
        let none = ModelInferResponse::decode(&none[..]).expect("the rest of it too");
        let bare = ModelInferResponse { id: String::new(), ..answer };
        assert_eq!(none.encode_to_vec(), bare.encode_to_vec());
    }
    let length = u32::try_from(data.len()).expect("few bytes").to_be_bytes();
    for flag in [0, 1] {
        let body = [&[flag][..], &length, data].concat();
        if let Ok(opened) = grpc::open(body, ROOM) {
            assert!(flag == 0 || opened.len() <= ROOM);
        }
    }
}

/// A V1 prediction that is read is valid, and has a digest.
pub(crate) fn predict(data: &[u8]) {
    let limits = Limits { max_tensor_bytes: 1 << 20, ..Limits::default() };
    let input = |name, datatype| Input { name, datatype, is_optional: false };
    let one = [input("x", DataType::Fp32)];
    let two = [input("a", DataType::Int64), input("b", DataType::Bytes)];
    let inputs = if data.len().is_multiple_of(2) { &one[..] } else { &two };
    if let Ok(request) = predict::decode("m", inputs, &Bytes::copy_from_slice(data), &limits) {
        validate(&request, &limits).expect("what is read is valid");
        digest(&Scope { service: "s", tenant: None }, &request).expect("it holds all that it asks");
    }
}

/// What becomes canonical and valid stays as it is, and has one digest.
pub(crate) fn contents(data: &[u8]) {
    let limits = Limits { max_tensor_bytes: 1 << 20, ..Limits::default() };
    let Ok(mut request) = ModelInferRequest::decode(data) else { return };
    if canonicalize(&mut request, &limits).is_err() || validate(&request, &limits).is_err() {
        return;
    }
    assert!(request.inputs.iter().all(|input| input.contents.is_none()));
    let mut again =
        ModelInferRequest::decode(&*request.encode_to_vec()).expect("what was encoded is decoded");
    canonicalize(&mut again, &limits).expect("what is canonical stays so");
    assert_eq!(again, request);
    let scope = Scope { service: "s", tenant: None };
    assert_eq!(digest(&scope, &again).ok(), digest(&scope, &request).ok());
}

/// A path that is inference can be read, and the names that it gives are those of two of its segments.
pub(crate) fn path(data: &[u8]) {
    let Ok(target) = std::str::from_utf8(data) else { return };
    let Some(read) = InferTarget::parse(target) else { return };
    let path = target.split(['?', '#']).next().unwrap_or_default();
    path::check(path).expect("what is inference can be read");
    let segments: Vec<_> =
        path.split('/').map(|segment| path::decoded(segment).expect("it can be read")).collect();
    match &segments[..] {
        [begin, v2, models, model, versions, version, infer] => {
            assert_eq!([begin, v2, models, versions, infer], ["", "v2", "models", "versions", "infer"]);
            assert_eq!((model, version), (&read.model, &read.version));
        }
        [begin, v2, models, model, infer] => {
            assert_eq!([begin, v2, models, infer], ["", "v2", "models", "infer"]);
            assert_eq!((model.as_ref(), ""), (read.model.as_ref(), read.version.as_ref()));
        }
        _ => panic!("{target:?} is no infer path"),
    }
}
