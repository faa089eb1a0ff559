//! The same over HTTP/2 without TLS.

use super::{HIT, STORED, is};
use e2e::http2::Connection;
use e2e::stack::Stack;
use rig::v2::{JSON, binary, fp32, fp32_binary, request};
use serde_json::json;

const PATH: &str = "/v2/models/identity_fp32/infer";

#[test]
fn both_encodings_miss_and_hit_and_share_with_http1() {
    let stack = Stack::new().start();
    let connection = Connection::open(stack.port).expect("Envoy speaks HTTP/2");
    let ask =
        |headers: &[(&str, &str)], body: &[u8]| connection.post(PATH, headers, vec![body.to_vec()]).remove(0);
    let miss = ask(&JSON, &fp32(&[1.0]));
    is(&miss, STORED);
    let hit = ask(&JSON, &fp32(&[1.0]));
    is(&hit, HIT);
    assert_eq!(hit.body, miss.body);
    let (length, body) = fp32_binary(&[1.0]);
    is(&ask(&binary(&length), &body), HIT);
    is(&stack.infer("identity_fp32", &JSON, &fp32(&[1.0])), HIT);
    assert_eq!(ask(&JSON, b"{").status, 400);
    assert_eq!(stack.inferences("identity_fp32"), 1);
    stack.sound();
}

#[test]
fn equal_requests_on_one_connection_are_one_inference() {
    let stack = Stack::new().models(&["slow"]).start();
    let connection = Connection::open(stack.port).expect("Envoy speaks HTTP/2");
    let bodies = (0..200).map(|number| {
        let mut body = request(&[3.0]);
        body["id"] = json!(number.to_string());
        body.to_string().into_bytes()
    });
    let answers = connection.post("/v2/models/slow/infer", &JSON, bodies.collect());
    for (number, answer) in answers.iter().enumerate() {
        assert_eq!((answer.status, &answer.json()["id"]), (200, &json!(number.to_string())));
    }
    assert_eq!(stack.inferences("slow"), 1);
    stack.sound();
}

#[test]
fn bodies_under_the_cap_are_cached_and_over_it_pass_whole() {
    let stack = Stack::new().start();
    let connection = Connection::open(stack.port).expect("Envoy speaks HTTP/2");
    // Both are larger than HTTP/2's first window of 64 KiB; the second one than the filter's cap of 4 MiB.
    for (count, first, second) in [
        (200_000_u32, STORED, HIT),
        (
            2_000_000,
            "forebay; fwd=bypass; detail=body-too-large",
            "forebay; fwd=bypass; detail=body-too-large",
        ),
    ] {
        let values: Vec<f32> = (0..count).map(|value| value as f32).collect();
        let (length, body) = fp32_binary(&values);
        let sent = &body[length.parse::<usize>().expect("a number")..];
        for status in [first, second] {
            let answer = connection.post(PATH, &binary(&length), vec![body.clone()]).remove(0);
            is(&answer, status);
            assert!(answer.body.ends_with(sent), "other bytes came back");
        }
        // At once, more than the connection's window holds.
        for answer in connection.post(PATH, &binary(&length), vec![body.clone(); 8]) {
            is(&answer, second);
            assert!(answer.body.ends_with(sent), "other bytes came back");
        }
    }
    stack.sound();
}
