//! Requests as gRPC carries them: never a panic; what becomes canonical and valid stays as it is, and has one digest.
#![no_main]

use forebay_protocol::contents::canonicalize;
use forebay_protocol::digest::{Scope, digest};
use forebay_protocol::limits::Limits;
use forebay_protocol::messages::ModelInferRequest;
use forebay_protocol::request::validate;
use libfuzzer_sys::fuzz_target;
use prost::Message as _;

fuzz_target!(|data: &[u8]| {
    let limits = Limits { max_tensor_bytes: 1 << 20, ..Limits::default() };
    let Ok(mut request) = ModelInferRequest::decode(data) else { return };
    if canonicalize(&mut request, &limits).is_err() || validate(&request, &limits).is_err() {
        return;
    }
    assert!(request.inputs.iter().all(|input| input.contents.is_none()));
    let mut again = ModelInferRequest::decode(&*request.encode_to_vec()).expect("what was encoded is decoded");
    canonicalize(&mut again, &limits).expect("what is canonical stays so");
    assert_eq!(again, request);
    let scope = Scope { service: "s", tenant: "" };
    assert_eq!(digest(&scope, &again).ok(), digest(&scope, &request).ok());
});
