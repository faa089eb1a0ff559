//! What is wrong is refused in V2's error form, in a sentence that says what and where.

use std::fs::File;

use rig::http::Headers;
use rig::repository::put;
use serde_json::json;

use crate::client::{fp32, send};
use crate::process::{Forebay, command, refused, serve_command, test_repository};

const PATH: &str = "/v2/models/identity_fp32/infer";
const LENGTH_1: (&str, &str) = ("inference-header-content-length", "1");

#[test]
fn wrong_requests_are_named() {
    let forebay = Forebay::serve(&["--instances", "1"]);
    let tensor = |name: &str, datatype: &str, shape: &[i64]| {
        let count = usize::try_from(shape.iter().product::<i64>()).unwrap();
        json!({ "inputs": [{ "name": name, "datatype": datatype, "shape": shape, "data": vec![1; count] }] })
    };
    let mut unknown_output = fp32(&[1.0]);
    unknown_output["outputs"] = json!([{ "name": "z" }]);
    for (model, body, status, expected) in [
        ("nope", fp32(&[1.0]), 404, "unknown model: 'nope'"),
        ("identity_fp32/versions/9", fp32(&[1.0]), 404, "'identity_fp32' version 9"),
        ("identity_fp32", tensor("q", "FP32", &[1, 1]), 400, "unexpected inference input 'q'"),
        ("identity_fp32", tensor("x", "INT32", &[1, 1]), 400, "data-type is 'INT32'"),
        ("identity_fp32", tensor("x", "FP32", &[1]), 400, "Expected [-1,-1], got [1]"),
        ("add_fp32", json!({ "inputs": [] }), 400, ""),
        ("identity_fp32", unknown_output, 400, "unexpected inference output 'z'"),
        ("identity_fp32", json!([]), 400, ""),
    ] {
        let answer = forebay.infer(model, &[], &body);
        assert_eq!(answer.status, status, "{model} {body}: {answer:?}");
        assert!(answer.error().contains(expected), "{expected}: {answer:?}");
        assert_eq!(answer.header("cache-control"), "no-store");
    }
}

#[test]
fn hostile_bodies_are_refused() {
    let forebay = Forebay::serve(&["--instances", "1", "--max-body-bytes", "100000"]);
    let deep = [b"{\"inputs\":".to_vec(), vec![b'['; 90_000]].concat();
    let twice = [LENGTH_1, ("inference-header-content-length", "2")];
    let cases: [(Headers<'_>, &[u8], u16); 8] = [
        (&[], b"", 400),
        (&[], b"\xff\xfe", 400),
        (&[], &deep, 400),
        (&[], &vec![b' '; 100_001], 413),
        (&[("content-encoding", "gzip")], b"\x1f\x8b", 400),
        (&[("content-encoding", "br")], b"{}", 415),
        (&twice, b"{}", 400),
        (&[("inference-header-content-length", "99")], b"{}", 400),
    ];
    for (headers, body, status) in cases {
        let answer = send(forebay.http_port, "POST", PATH, headers, body);
        assert_eq!(answer.status, status, "{headers:?} {answer:?}");
        assert!(!answer.error().is_empty());
    }
    assert_eq!(forebay.infer("identity_fp32", &[], &fp32(&[1.0])).status, 200);
}

#[test]
fn a_chunked_body_that_grows_too_large_is_refused() {
    let forebay = Forebay::serve(&["--instances", "1", "--max-body-bytes", "1000"]);
    let chunk = [b"3e9\r\n".to_vec(), vec![b' '; 1001], b"\r\n0\r\n\r\n".to_vec()].concat();
    let answer = send(forebay.http_port, "POST", PATH, &[("transfer-encoding", "chunked")], &chunk);
    assert_eq!((answer.status, answer.error().contains("1000 bytes")), (413, true));
}

#[test]
fn bad_booleans_and_strings_that_end_early_are_the_clients_fault() {
    let forebay = Forebay::serve(&["--instances", "1"]);
    let answer = forebay.infer_binary("identity_bytes", "BYTES", &[1, 1], b"\x03\0\0\0ab");
    assert_eq!(answer.status, 400, "{answer:?}");
    let answer = forebay.infer_binary("identity_bool", "BOOL", &[1, 1], &[7]);
    assert_eq!(answer.status, 400, "{answer:?}");
}

#[test]
fn what_is_not_supported_says_so() {
    let forebay = Forebay::serve(&["--instances", "1"]);
    let shared = json!({ "inputs": [{ "name": "x", "datatype": "FP32", "shape": [1, 1],
        "parameters": { "shared_memory_region": "r", "shared_memory_byte_size": 4 } }] });
    let answer = forebay.infer("identity_fp32", &[], &shared);
    assert!([400, 501].contains(&answer.status) && answer.error().contains("shared memory"), "{answer:?}");
    for (method, path, allowed) in
        [("GET", PATH, "POST"), ("PUT", "/v2/logging", "GET,HEAD,POST"), ("POST", "/v2", "GET,HEAD")]
    {
        let answer = send(forebay.http_port, method, path, &[], b"");
        assert_eq!((answer.status, answer.header("allow")), (405, allowed), "{answer:?}");
        assert!(answer.error().contains(method));
    }
    assert_eq!(forebay.get("/v2/nothing").status, 404);
}

#[test]
fn a_full_queue_is_503_with_retry_after() {
    let forebay = Forebay::serve(&["--instances", "1", "--max-queue-requests", "1", "--pool", "none"]);
    let answers: Vec<_> = std::thread::scope(|scope| {
        let asks: Vec<_> =
            (0..12).map(|_| scope.spawn(|| forebay.infer("products", &[], &fp32(&[20_000.0])))).collect();
        asks.into_iter().map(|ask| ask.join().unwrap()).collect()
    });
    let refused: Vec<_> = answers.iter().filter(|answer| answer.status == 503).collect();
    assert!(!refused.is_empty() && answers.iter().any(|answer| answer.status == 200));
    assert!(
        refused.iter().all(|answer| answer.header("retry-after") == "1" && answer.error().contains("full"))
    );
    assert_eq!(forebay.metric("nv_inference_pending_request_count", "products"), 0);
    assert_eq!(forebay.infer("products", &[], &fp32(&[1.0])).status, 200, "it is over at once");
}

#[test]
fn wrong_settings_end_with_2_and_one_line() {
    let config = tempfile::tempdir().unwrap();
    let missing = config.path().join("missing");
    for (arguments, expected) in [
        (&["--nope"][..], "--nope"),
        (&["--max-body-bytes", "many"], "--max-body-bytes"),
        (&["--pool", "redis"], "--redis-url"),
        (&["--pool", "redis", "--redis-url", "http://x"], "--redis-url"),
        (&["--credentials-file", missing.to_str().unwrap()], "--credentials-file"),
        (&["--tenancy", "required"], "--credentials-file"),
        (&["--authorization", "names-tenant"], "--tenancy required"),
        (&["--trusted-proxies", "here"], "--trusted-proxies"),
        (&["--load-model", "x"], "--model-control-mode explicit"),
    ] {
        let (code, line) = refused(&mut serve_command(&test_repository(), arguments));
        assert_eq!(code, Some(2), "{line}");
        assert!(line.contains(expected) && line.trim_end().lines().count() == 1, "{line}");
    }
}

#[test]
fn a_filters_settings_are_checked_by_the_filters_own_parser() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("filter.json");
    let checked = |json: &str, from_stdin: bool| {
        std::fs::write(&file, json).unwrap();
        let mut command = command(&["check-filter", if from_stdin { "-" } else { file.to_str().unwrap() }]);
        let output = command.stdin(File::open(&file).unwrap()).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    for from_stdin in [false, true] {
        let (code, said, errors) = checked(r#"{"service": "demo", "gate": {"cluster": "g"}}"#, from_stdin);
        assert_eq!((code, said.lines().count(), errors.as_str()), (Some(0), 1, ""), "{said}");
        let (code, said, errors) = checked(r#"{"service": "demo", "tenant": "a"}"#, from_stdin);
        assert_eq!((code, said.as_str(), errors.lines().count()), (Some(2), "", 1), "{errors}");
        assert!(errors.contains("check-filter") && errors.contains("`tenant`"), "{errors}");
    }
}

#[test]
fn a_model_that_cant_be_loaded_ends_the_start_or_leaves_it_not_ready() {
    let root = tempfile::tempdir().unwrap();
    put(root.path(), "broken/1/model.onnx", "no model");
    let (code, said) = refused(&mut serve_command(root.path(), &[]));
    assert!(code != Some(0) && said.contains("model \"broken\": version 1"), "{said}");
    let forebay = Forebay::serve_from(root.path(), &["--exit-on-error=false"]);
    assert_eq!(forebay.get("/v2/health/live").status, 200);
    assert_eq!(forebay.get("/v2/health/ready").status, 503);
}
