//! Garbage and malice: the backend's error in V2's form, or Envoy's own refusal, and never a trap.

use super::{HIT, STORED, is};
use e2e::stack::Stack;
use rig::http::{Connection, head, post, send};
use rig::v2::{JSON, binary, fp32, fp32_binary, request};
use serde_json::json;

const MODEL: &str = "identity_fp32";
const PATH: &str = "/v2/models/identity_fp32/infer";
const LENGTH: &str = "inference-header-content-length";

fn bodies() -> Vec<(&'static str, Vec<u8>)> {
    let tensor = |shape: &str, data: &str| {
        format!(r#"{{"inputs":[{{"name":"x","shape":{shape},"datatype":"FP32","data":{data}}}]}}"#)
            .into_bytes()
    };
    let duplicate = [&fp32(&[1.0])[..fp32(&[1.0]).len() - 1], br#","inputs":[]}"#].concat();
    vec![
        ("nothing", Vec::new()),
        ("truncated", fp32(&[1.0])[..30].to_vec()),
        ("another type", b"[1,2,3]".to_vec()),
        ("shape overflow", tensor("[9223372036854775807,9223372036854775807]", "[1]")),
        ("a negative shape", tensor("[-1,1]", "[1]")),
        ("more data than shape", tensor("[1,1]", "[1,2]")),
        ("less data than shape", tensor("[1,1000000000]", "[1]")),
        ("a huge number", tensor("[1,1]", "[1e999999999]")),
        ("digits without end", tensor("[1,1]", &format!("[{}]", "9".repeat(100_000)))),
        ("a million brackets", [vec![b'['; 1_000_000], vec![b']'; 1_000_000]].concat()),
        ("brackets in data", tensor("[1,1]", &"[".repeat(100_000))),
        ("invalid UTF-8", b"{\"inputs\":\"\xff\xfe\"}".to_vec()),
        (
            "a lone surrogate",
            br#"{"inputs":[{"name":"\ud800","shape":[1,1],"datatype":"FP32","data":[1]}]}"#.to_vec(),
        ),
        ("duplicate keys", duplicate),
        ("zeros", vec![0; 5000]),
    ]
}

#[test]
fn garbage_gets_the_backends_error_and_the_filter_lives_on() {
    let stack = Stack::new().start();
    for (name, body) in bodies() {
        for _ in 0..2 {
            let answer = stack.infer(MODEL, &JSON, &body);
            assert!((400..500).contains(&answer.status), "{name}: {} {}", answer.status, answer.error());
            assert!(!answer.error().is_empty(), "{name}: {:?}", String::from_utf8_lossy(&answer.body));
            assert!(!answer.is_filters_hit(), "{name}");
        }
    }
    is(&stack.infer(MODEL, &JSON, &fp32(&[1.0])), STORED);
    is(&stack.infer(MODEL, &JSON, &fp32(&[1.0])), HIT);
    stack.sound();
}

#[test]
fn wrong_and_repeated_header_lengths_get_the_backends_error() {
    let stack = Stack::new().start();
    let (length, body) = fp32_binary(&[1.0]);
    let right: usize = length.parse().expect("a number");
    let cases: Vec<Vec<String>> = vec![
        vec![(right - 1).to_string()],
        vec![(right + 1).to_string()],
        vec![(body.len() + 1).to_string()],
        vec!["99999999999999999999".into()],
        vec!["-1".into()],
        vec![format!("+{right}")],
        vec![format!("0x{right:x}")],
        vec![String::new()],
        vec!["1e2".into()],
        vec![length.clone(), length.clone()],
        vec![length.clone(), "1".into()],
        vec![format!("{length}, {length}")],
    ];
    for values in cases {
        let headers: Vec<_> = values.iter().map(|value| (LENGTH, value.as_str())).collect();
        let answer = stack.infer(MODEL, &headers, &body);
        assert!((400..500).contains(&answer.status), "{values:?}: {}", answer.status);
        assert!(!answer.error().is_empty() && !answer.is_filters_hit(), "{values:?}");
    }
    is(&stack.infer(MODEL, &binary(&length), &body), STORED);
    stack.sound();
}

/// A binary request whose one tensor of that datatype says `size`, and has `bytes`.
fn binary_tensor(datatype: &str, size: &str, bytes: &[u8]) -> (String, Vec<u8>) {
    let head = format!(
        r#"{{"inputs":[{{"name":"x","shape":[1,1],"datatype":"{datatype}","parameters":{{"binary_data_size":{size}}}}}]}}"#
    );
    (head.len().to_string(), [head.as_bytes(), bytes].concat())
}

#[test]
fn binary_sizes_that_do_not_add_up_get_the_backends_error() {
    let stack = Stack::new().models(&["identity_fp32", "identity_bytes"]).start();
    for (datatype, size, bytes) in [
        ("FP32", "3", &[0; 3][..]),
        ("FP32", "3", &[0; 4]),
        ("FP32", "5", &[0; 4]),
        ("FP32", "4", &[0; 3]),
        ("FP32", "4", &[0; 5]),
        ("FP32", "0", &[]),
        ("FP32", "-4", &[0; 4]),
        ("FP32", "18446744073709551620", &[0; 4]),
        ("FP32", "4.0", &[0; 4]),
        ("FP32", "\"4\"", &[0; 4]),
        ("FP32", "null", &[0; 4]),
        ("FP64", "8", &[0; 8]),
        ("BYTES", "4", &[1, 0, 0, 0]),
        ("BYTES", "4", &[255, 255, 255, 255]),
        ("BYTES", "3", &[0, 0, 0]),
        ("BYTES", "8", &[0; 8]),
    ] {
        let model = if datatype == "BYTES" { "identity_bytes" } else { MODEL };
        let (length, body) = binary_tensor(datatype, size, bytes);
        for _ in 0..2 {
            let answer = stack.infer(model, &binary(&length), &body);
            let what = format!("{datatype}, {size}, {bytes:?}: {} {}", answer.status, answer.error());
            assert!((400..500).contains(&answer.status), "{what}");
            assert!(!answer.error().is_empty() && !answer.is_filters_hit(), "{what}");
        }
    }
    let (length, body) = binary_tensor("FP32", "4", &[0; 4]);
    is(&stack.infer(MODEL, &binary(&length), &body), STORED);
    is(&stack.infer(MODEL, &binary(&length), &body), HIT);
    stack.sound();
}

#[test]
fn what_has_no_json_form_is_refused_though_its_binary_form_is_cached() {
    let stack = Stack::new().models(&["identity_fp16"]).start();
    let wanting = |binary: bool| {
        let head = format!(
            r#"{{"inputs":[{{"name":"x","shape":[1,1],"datatype":"FP16","parameters":{{"binary_data_size":2}}}}],"outputs":[{{"name":"y","parameters":{{"binary_data":{binary}}}}}]}}"#
        );
        (head.len().to_string(), [head.as_bytes(), &[0, 60]].concat())
    };
    let (length, body) = wanting(true);
    is(&stack.infer("identity_fp16", &binary(&length), &body), STORED);
    let (length, body) = wanting(false);
    for _ in 0..2 {
        let answer = stack.infer("identity_fp16", &binary(&length), &body);
        assert_eq!(answer.status, 400, "{}", String::from_utf8_lossy(&answer.body));
        assert!(answer.error().contains("FP16"), "{}", answer.error());
    }
    let json = br#"{"inputs":[{"name":"x","shape":[1,1],"datatype":"FP16","data":[1.0]}]}"#;
    assert_eq!(stack.infer("identity_fp16", &JSON, json).status, 400);
    stack.sound();
}

#[test]
fn encoded_bodies_are_not_looked_into() {
    let stack = Stack::new().start();
    is(&stack.infer(MODEL, &JSON, &fp32(&[1.0])), STORED);
    let headers = [("content-type", "application/json"), ("content-encoding", "gzip")];
    let answer = stack.infer(MODEL, &headers, b"\x1f\x8b\x08\x00garbage");
    assert!((400..500).contains(&answer.status) && !answer.error().is_empty(), "{answer:?}");
    let lying = stack.infer(MODEL, &headers, &fp32(&[1.0]));
    assert!(!lying.is_filters_hit(), "a body that says it is encoded was answered as if it were not");
    stack.sound();
}

#[test]
fn hostile_heads_are_refused_or_passed_and_never_trap() {
    let stack = Stack::new().start();
    is(&stack.infer(MODEL, &JSON, &fp32(&[1.0])), STORED);
    let body = fp32(&[1.0]);
    let length = body.len().to_string();
    let with = |line: &[u8]| {
        let base = head("POST", PATH, &[("content-length", &length)]);
        [&base[..base.len() - 2], line, b"\r\n\r\n", &body].concat()
    };
    for line in [
        b"x-odd: \xff\xfe\x80".as_slice(),
        b"cache-control: \xff",
        b"cache-control: max-age=\xff, no-store\xff",
        b"content-type: \xff",
        b"accept: \xff\xff",
        b"inference-header-content-length: \xff",
        b"x-forebay-tenant: \xff",
        b"x-forebay-\xff: 1",
        b"x-long: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    ] {
        // Envoy may refuse bytes that no header may hold; what it lets through must be answered.
        let answer = stack.send(&with(line));
        assert!(answer.status == 200 || (400..500).contains(&answer.status), "{line:?}: {}", answer.status);
    }
    for path in
        ["/v2/models/identity_fp32/infer?x=1", "/v2/models/%2569dentity_fp32/infer", "/v2/models//infer"]
    {
        let answer = stack.send(&post(path, &JSON, &body));
        assert!(!answer.is_filters_hit(), "{path}");
    }
    is(&stack.infer(MODEL, &JSON, &fp32(&[1.0])), HIT);
    stack.sound();
}

#[test]
fn clients_that_go_away_in_the_middle_leave_nothing_behind() {
    let stack = Stack::new().start();
    let whole = post(PATH, &JSON, &fp32(&[1.0]));
    for cut in (1..whole.len()).step_by(7) {
        let mut connection = Connection::open(stack.port).expect("Envoy accepts");
        connection.write(&whole[..cut]).expect("sent");
    }
    is(&stack.infer(MODEL, &JSON, &fp32(&[1.0])), "forebay; ");
    stack.sound();
}

#[test]
fn a_clients_headers_of_ours_have_no_effect() {
    let stack = Stack::new().start();
    is(&stack.infer(MODEL, &JSON, &fp32(&[1.0])), STORED);
    let spoofed = [
        ("x-forebay-tenant", "victim"),
        ("x-forebay-service", "other"),
        ("x-forebay-token", "guess"),
        ("x-forebay-digest", "0000000000000000000000000000000000000000000000000000000000000000"),
        ("x-forebay-generation", "0000000000000000000000000000000000000000000000000000000000000000"),
    ];
    let answer = stack.infer(MODEL, &spoofed, &fp32(&[1.0]));
    assert_eq!(answer.status, 200);
    is(&stack.infer(MODEL, &spoofed, &fp32(&[2.0])), STORED);
    let plain = stack.infer(MODEL, &spoofed[..0], &fp32(&[2.0]));
    is(&plain, HIT);
    assert_eq!(plain.json()["outputs"][0]["data"], json!([2.0]));
    // Straight at the gate's endpoints, through Envoy: they are not for clients.
    for path in [
        "/forebay/v2/poll",
        "/forebay/v2/lookup",
        "//forebay/v2/poll",
        "/x/../forebay/v2/poll",
        "/%66orebay/v2/poll",
        "/Forebay/v2/poll",
        "http://test/forebay/v2/poll",
    ] {
        let answer = send(stack.port, &head("GET", path, &spoofed)).expect("an answer");
        assert!((400..500).contains(&answer.status), "{path}: {} {}", answer.status, answer.error());
    }
    stack.sound();
}

#[test]
fn unknown_models_and_versions_get_the_backends_error_every_time() {
    let stack = Stack::new().start();
    for path in ["/v2/models/nope/infer", "/v2/models/identity_fp32/versions/9/infer"] {
        for _ in 0..2 {
            let answer = stack.send(&post(path, &JSON, &fp32(&[1.0])));
            assert_eq!(answer.status, 404, "{path}");
            assert!(!answer.error().is_empty() && !answer.is_filters_hit());
        }
    }
    let mut sequence = request(&[1.0]);
    sequence["parameters"] = json!({"sequence_id": 1});
    let answer = stack.infer(MODEL, &JSON, sequence.to_string().as_bytes());
    assert!(answer.cache_status().contains("fwd=bypass; detail=sequence"), "{}", answer.cache_status());
}
