//! Raw binary requests, as Triton takes them: a body that is one tensor's bytes, and nothing else.

use rig::http::{Answer, Headers};
use serde_json::json;

use crate::client::{fp32, send};
use crate::process::{Forebay, repository_with};

const RAW: (&str, &str) = ("inference-header-content-length", "0");

fn raw(forebay: &Forebay, model: &str, more: Headers<'_>, body: &[u8]) -> Answer {
    let path = format!("/v2/models/{model}/infer");
    send(forebay.http_port, "POST", &path, &[&[RAW], more].concat(), body)
}

/// A model that declares its input so, of the FP32 or the BYTES identity.
fn declaring(model: &str, datatype: &str, dims: &str) -> (tempfile::TempDir, Forebay) {
    let config = format!(
        "name: \"{model}\" max_batch_size: 4 response_cache {{ enable: true }} input {{ name: \"x\" data_type: {datatype} dims: {dims} }}"
    );
    let repository = repository_with(model, &config);
    let forebay = Forebay::serve_from(repository.path(), &["--instances", "1"]);
    (repository, forebay)
}

/// The JSON of an answer, and the bytes behind it.
fn parts(answer: &Answer) -> (serde_json::Value, &[u8]) {
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, "application/octet-stream"),
        "{answer:?}"
    );
    let length = answer.header(RAW.0).parse().unwrap();
    (serde_json::from_slice(&answer.body[..length]).unwrap(), &answer.body[length..])
}

#[test]
fn the_bytes_are_a_batch_of_one_and_come_back_in_binary() {
    let (_repository, forebay) = declaring("identity_fp32", "TYPE_FP32", "[ -1 ]");
    for values in [&[1.0_f32, 2.0][..], &[3.0], &[]] {
        let body: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let answer = raw(&forebay, "identity_fp32", &[], &body);
        let (json, bytes) = parts(&answer);
        assert_eq!(bytes, body);
        let output = json!({
            "name": "y", "datatype": "FP32", "shape": [1, values.len()],
            "parameters": { "binary_data_size": body.len() },
        });
        assert_eq!(json["outputs"], json!([output]));
        assert_eq!((&json["model_name"], &json["id"]), (&json!("identity_fp32"), &json!(null)));
    }
    // It is the request that says the same in JSON, and shares its result.
    let body = [1.0_f32, 2.0].map(f32::to_le_bytes).concat();
    assert!(forebay.infer("identity_fp32", &[], &fp32(&[1.0, 2.0])).is_hit());
    assert!(raw(&forebay, "identity_fp32", &[("content-type", "application/json")], &body).is_hit());
    let chunked = [&b"5\r\n"[..], &body[..5], b"\r\n3\r\n", &body[5..], b"\r\n0\r\n\r\n"].concat();
    assert!(raw(&forebay, "identity_fp32", &[("transfer-encoding", "chunked")], &chunked).is_hit());
    let zstd = zstd::encode_all(&*body, 3).unwrap();
    assert!(raw(&forebay, "identity_fp32", &[("content-encoding", "zstd")], &zstd).is_hit());
    assert_eq!(raw(&forebay, "identity_fp32/versions/1", &[], &body).status, 200);
}

#[test]
fn bytes_of_text_are_one_element() {
    let (_repository, forebay) = declaring("identity_bytes", "TYPE_STRING", "[ 1 ]");
    for body in [&b"427"[..], b""] {
        let answer = raw(&forebay, "identity_bytes", &[], body);
        let (json, bytes) = parts(&answer);
        assert_eq!(json["outputs"][0]["shape"], json!([1, 1]));
        let length = u32::try_from(body.len()).unwrap().to_le_bytes();
        assert_eq!(bytes, [&length, body].concat());
    }
}

#[test]
fn what_bytes_alone_dont_say_is_refused_in_tritons_words() {
    let forebay = Forebay::serve(&["--instances", "1", "--max-body-bytes", "1000"]);
    for (model, status, error) in [
        ("nope", 404, "unknown model: 'nope'"),
        ("identity_bytes", 400, "For BYTE datatype raw input 'x', the model must have input shape [1]"),
        ("add_fp32", 400, "must only have 1 input (found 1) to be deduced but got 2 inputs in 'add_fp32'"),
    ] {
        let answer = raw(&forebay, model, &[], &[0; 4]);
        assert_eq!((answer.status, answer.error().contains(error)), (status, true), "{answer:?}");
    }
    assert_eq!(raw(&forebay, "identity_fp32", &[], &[0; 1001]).status, 413);
    let twice = raw(&forebay, "identity_fp32", &[RAW], &[0; 4]);
    assert_eq!(twice.status, 400, "{twice:?}");
    let whole = "input { name: \"x\" data_type: TYPE_FP32 dims: [ -1, -1 ] } \
                 output { name: \"y\" data_type: TYPE_FP32 dims: [ -1, -1 ] }";
    let repository = repository_with("identity_fp32", whole);
    let free = Forebay::serve_from(repository.path(), &["--instances", "1"]);
    let free = raw(&free, "identity_fp32", &[], &[0; 4]);
    assert_eq!(
        (free.status, free.error().contains("more than one variable-sized dimension")),
        (400, true),
        "{free:?}"
    );
    let (_repository, forebay) = declaring("identity_fp32", "TYPE_FP32", "[ -1 ]");
    let odd = raw(&forebay, "identity_fp32", &[], &[0; 5]);
    assert_eq!((odd.status, odd.error().contains("4 bytes, 5 are given")), (400, true), "{odd:?}");
}
