//! `KServe`'s V1 protocol: rows or columns of plain JSON in, predictions out.

use rig::http::Answer;
use serde_json::{Value, json};

use crate::client::send;
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
        (
            "identity_bytes",
            json!({ "instances": [["ä", { "b64": "/wA=" }, { "b64": "YQ==" }]] }),
            json!([["ä", { "b64": "/wA=" }, "a"]]),
        ),
        ("add_fp32", json!({ "inputs": { "a": [[1], [2]], "b": [[10], [20]] } }), json!([[11.0], [22.0]])),
        ("two_outputs", json!({ "instances": [[4]] }), json!([{ "double": [8.0], "half": [2.0] }])),
        ("identity_int64", json!({ "inputs": [[7, 8]] }), json!([[7, 8]])),
        ("scalar_fp32", json!({ "inputs": [2.5] }), json!([2.5])),
    ] {
        let answer = predict(&forebay, model, &body);
        assert_eq!((answer.status, &answer.json()["predictions"]), (200, &expected), "{body}");
    }
    let again = predict(&forebay, "identity_fp32", &json!({ "instances": [[1, 2], [3, 4]] }));
    assert!(again.is_hit(), "{again:?}");
}

/// What stands between two brackets of a text.
fn list<'a>(text: &'a str, begin: &str, end: &str) -> &'a str {
    text.split_once(begin).and_then(|(_, rest)| rest.split_once(end)).unwrap_or_else(|| panic!("{text}")).0
}

#[test]
fn numbers_are_v2s_to_the_last_bit_so_that_both_share_results() {
    let forebay = Forebay::serve(&["--instances", "1"]);
    for (model, datatype, numbers, written) in [
        ("identity_fp64", "FP64", "0.9999999999999999,5e-324,1.7976931348623157e308,NaN", None),
        (
            "identity_fp64",
            "FP64",
            "0.1,-Infinity,123456789012345678901234567890",
            Some("0.1,-Infinity,1.2345678901234568e29"),
        ),
        ("identity_fp32", "FP32", "0.1,16777217,-0.0,Infinity", Some("0.1,16777216.0,-0.0,Infinity")),
        ("identity_int64", "INT64", "-9223372036854775808,9223372036854775807", None),
        ("identity_uint64", "UINT64", "0,18446744073709551615", None),
    ] {
        let path = format!("/v1/models/{model}:predict");
        let body = format!("{{\"instances\":[[{numbers}]]}}");
        let in_v1 = send(forebay.http_port, "POST", &path, &[], body.as_bytes());
        assert_eq!((in_v1.status, in_v1.header("content-type")), (200, "application/json"), "{in_v1:?}");
        let count = numbers.split(',').count();
        let body = format!(
            "{{\"inputs\":[{{\"name\":\"x\",\"datatype\":\"{datatype}\",\"shape\":[1,{count}],\"data\":[{numbers}]}}]}}"
        );
        let in_v2 =
            send(forebay.http_port, "POST", &format!("/v2/models/{model}/infer"), &[], body.as_bytes());
        assert!(in_v2.is_hit(), "one digest: {in_v2:?}");
        let text = |answer: &Answer| String::from_utf8(answer.body.clone()).unwrap();
        let (one, two) = (text(&in_v1), text(&in_v2));
        let (one, two) = (list(&one, "[[", "]]"), list(&two, "\"data\":[", "]"));
        assert_eq!((one, one), (two, written.unwrap_or(numbers)));
    }
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
        ("identity_fp32", json!({ "instances": [[{ "b64": "AA==" }]] }), 400, "is not a number"),
        ("identity_fp32", json!({ "instances": [[1]], "inputs": [[1]] }), 400, "either 'instances'"),
        ("identity_fp32", json!({}), 400, "either 'instances'"),
        ("identity_fp32", json!([1]), 400, "must be an object"),
        ("scalar_fp32", json!({ "inputs": { "x": 1 } }), 400, "Expected [1], got []"),
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
