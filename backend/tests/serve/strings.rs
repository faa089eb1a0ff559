//! BYTES are bytes: whatever they hold goes through ONNX Runtime's strings and comes back.

use rig::http::Answer;
use serde_json::json;

use crate::client::send;
use crate::process::{Forebay, repository_with};

/// Elements in V2's binary form.
fn elements(elements: &[&[u8]]) -> Vec<u8> {
    let length = |element: &[u8]| u32::try_from(element.len()).unwrap().to_le_bytes();
    elements.iter().flat_map(|element| [&length(element), *element].concat()).collect()
}

fn echoes(forebay: &Forebay, shape: &[i64], data: &[u8]) -> Answer {
    let answer = forebay.infer_binary("identity_bytes", "BYTES", shape, data);
    assert_eq!(answer.status, 200, "{answer:?}");
    let head: usize = answer.header("inference-header-content-length").parse().unwrap();
    assert_eq!(answer.body[head..], *data, "{shape:?}");
    let output: serde_json::Value = serde_json::from_slice(&answer.body[..head]).unwrap();
    assert_eq!(output["outputs"][0]["shape"], json!(shape));
    answer
}

#[test]
fn elements_of_any_bytes_and_of_none_come_back_as_they_were_sent() {
    let long = [b'\0', 0xff].repeat(3000);
    for bound in [0, 1] {
        let config = format!(r#"parameters {{ key: "io_binding" value {{ string_value: "{bound}" }} }}"#);
        let root = repository_with("identity_bytes", &config);
        let forebay = Forebay::serve_from(root.path(), &["--instances", "1"]);
        echoes(&forebay, &[1, 4], &elements(&[b"a\0b", b"\0", b"", b"\xff\xfe\0\x80"]));
        echoes(&forebay, &[2, 1], &elements(&[b"", b""]));
        echoes(&forebay, &[1, 2], &elements(&[&long, "ä".as_bytes()]));
        echoes(&forebay, &[0, 3], b"");
        echoes(&forebay, &[2, 0], b"");
    }
}

#[test]
fn equal_elements_hit_and_what_differs_behind_a_zero_byte_does_not() {
    let forebay = Forebay::serve(&["--instances", "1"]);
    let (one, two) = (elements(&[b"a\0b"]), elements(&[b"a\0c"]));
    assert!(!echoes(&forebay, &[1, 1], &one).is_hit());
    assert!(echoes(&forebay, &[1, 1], &one).is_hit());
    assert!(!echoes(&forebay, &[1, 1], &two).is_hit());
}

#[test]
fn json_carries_zero_bytes_and_says_what_it_cannot_carry() {
    let forebay = Forebay::serve(&["--instances", "1"]);
    let body = json!({ "inputs": [
        { "name": "x", "datatype": "BYTES", "shape": [1, 2], "data": ["a\0b", ""] }
    ] });
    let answer = forebay.infer("identity_bytes", &[], &body);
    assert_eq!(answer.json()["outputs"][0]["data"], json!(["a\0b", ""]), "{answer:?}");

    let data = elements(&[b"\xff"]);
    let head = json!({ "inputs": [{
        "name": "x", "datatype": "BYTES", "shape": [1, 1], "parameters": { "binary_data_size": data.len() },
    }] });
    let head = head.to_string();
    let length = head.len().to_string();
    let headers = [("inference-header-content-length", &*length)];
    let body = [head.as_bytes(), &data].concat();
    let answer = send(forebay.http_port, "POST", "/v2/models/identity_bytes/infer", &headers, &body);
    assert!(answer.status == 400 && answer.error().contains("UTF-8"), "{answer:?}");
}
