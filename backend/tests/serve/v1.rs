//! `KServe`'s V1 protocol: rows or columns of plain JSON in, predictions out.

use serde_json::{Value, json};

use crate::client::{Answer, send};
use crate::process::Forebay;

fn predict(forebay: &Forebay, model: &str, body: &Value) -> Answer {
    let path = format!("/v1/models/{model}:predict");
    send(forebay.http_port, "POST", &path, &[], body.to_string().as_bytes())
}

#[test]
fn rows_and_columns_give_one_prediction_a_row() {
    let forebay = Forebay::serve(&["--instances", "1"]);
    for (model, body, expected) in [
        ("identity_fp32", json!({ "instances": [[1, 2], [3, 4]] }), json!([[1.0, 2.0], [3.0, 4.0]])),
        ("identity_fp32", json!({ "instances": [{ "x": [1.5] }] }), json!([[1.5]])),
        ("identity_bytes", json!({ "instances": [["a", "b"]] }), json!([["a", "b"]])),
        ("add_fp32", json!({ "inputs": { "a": [[1], [2]], "b": [[10], [20]] } }), json!([[11.0], [22.0]])),
        ("two_outputs", json!({ "instances": [[4]] }), json!([{ "double": [8.0], "half": [2.0] }])),
        ("identity_int64", json!({ "inputs": [[7, 8]] }), json!([[7, 8]])),
    ] {
        let answer = predict(&forebay, model, &body);
        assert_eq!((answer.status, &answer.json()["predictions"]), (200, &expected), "{body}");
    }
    let again = predict(&forebay, "identity_fp32", &json!({ "instances": [[1, 2], [3, 4]] }));
    assert!(again.is_hit(), "{again:?}");
}

#[test]
fn models_are_listed_and_ready() {
    let forebay = Forebay::serve(&["--instances", "1"]);
    assert!(forebay.get("/v1/models").json()["models"].as_array().unwrap().contains(&json!("add_fp32")));
    assert_eq!(forebay.get("/v1/models/add_fp32").json(), json!({ "name": "add_fp32", "ready": true }));
    assert_eq!(forebay.get("/v1/models/nope").status, 404);
}

#[test]
fn what_v1_cannot_carry_is_named() {
    let forebay = Forebay::serve(&["--instances", "1"]);
    for (model, body, status, expected) in [
        ("nope", json!({ "instances": [] }), 404, "unknown model"),
        ("add_fp32", json!({ "instances": [[1]] }), 400, "several inputs, name each: a, b"),
        ("add_fp32", json!({ "instances": [{ "a": [1], "b": [1] }, { "a": [1] }] }), 400, "instance 1"),
        ("identity_fp32", json!({ "instances": [[1], [1, 2]] }), 400, "'x'"),
        ("identity_fp32", json!({ "instances": [[{ "b64": "AA==" }]] }), 400, "holds an object"),
        ("identity_fp32", json!({ "instances": [[1]], "inputs": [[1]] }), 400, "either instances"),
        ("identity_fp32", json!({}), 400, "either instances"),
        ("identity_fp32", json!([1]), 400, "body"),
        ("scalar_fp32", json!({ "inputs": { "x": 1 } }), 400, "scalar"),
    ] {
        let answer = predict(&forebay, model, &body);
        assert_eq!((answer.status, answer.error().contains(expected)), (status, true), "{body} {answer:?}");
    }
    let not_predict = send(forebay.http_port, "POST", "/v1/models/add_fp32:explain", &[], b"{}");
    assert_eq!(not_predict.status, 404);
    for (method, path, allowed) in [
        ("POST", "/v1/models/add_fp32", "GET,HEAD"),
        ("GET", "/v1/models/add_fp32:predict", "POST"),
        ("OPTIONS", "/v1/models/add_fp32:predict", "POST"),
    ] {
        let answer = send(forebay.http_port, method, path, &[], b"");
        assert_eq!((answer.status, answer.header("allow")), (405, allowed), "{answer:?}");
    }
}
