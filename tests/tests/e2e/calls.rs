//! gRPC's calls answered by the filter, as the public clients see them.

use super::clients::MODELS;
use e2e::grpc::{SERVICE, call, infer_request};
use e2e::http2::Connection;
use e2e::stack::{Pool, Running, Stack};
use rig::installed::{checkout, installed};
use rig::process::{Process, until};
use rig::v2::{JSON, request};
use std::process::Command;

/// What a proxy's own settings let a client send ahead (HTTP/2's initial window).
const OWN_WINDOW: &str = "initial_stream_window_size: 65536";

/// Runs a part of the public clients' script to its end.
fn clients(stack: &Running, part: &str) {
    let mut command = Command::new(installed("venv/bin/python"));
    command.arg(checkout().join("tests/clients/grpc_hits.py")).arg(part);
    command.arg(format!("127.0.0.1:{}", stack.port));
    let mut client = Process::start("grpc_hits.py", command);
    client.until_line(|line| line.starts_with("all as it should be").then_some(()));
}

pub(super) fn infer(stack: &Running, model: &str, value: f32) -> (String, String, Vec<u8>) {
    let connection = Connection::open(stack.port).expect("Envoy speaks HTTP/2");
    let answer = call(&connection, &format!("{SERVICE}/ModelInfer"), &infer_request(model, value));
    (answer.header("grpc-status").to_owned(), answer.nearest_cache(), answer.body)
}

#[test]
fn public_clients_get_hits_and_misses_alike() {
    let stack = Stack::new().pool(Pool::Redis).models(&MODELS).start();
    clients(&stack, "all");
    stack.sound();
}

#[test]
fn public_clients_get_hits_where_windows_are_the_proxys_own() {
    let stack = Stack::new()
        .models(&MODELS)
        .with("initial_stream_window_size: 8388608", OWN_WINDOW)
        .with("initial_connection_window_size: 33554432", "initial_connection_window_size: 65536")
        .start();
    clients(&stack, "all");
    stack.sound();
}

#[test]
fn a_thousand_equal_calls_are_at_most_one_inference_a_worker_though_some_are_cancelled() {
    let workers = 2;
    let stack = Stack::new().models(&["slow"]).workers(workers).start();
    clients(&stack, "crowd");
    let inferences = stack.inferences("slow");
    assert!((1..=workers as u64).contains(&inferences), "{inferences} inferences");
    stack.sound();
}

#[test]
fn a_call_waits_no_longer_than_it_has_time() {
    let stack = Stack::new().models(&["slow"]).start();
    clients(&stack, "hurry");
    stack.sound();
}

#[test]
fn an_answer_computed_for_one_encoding_serves_the_others() {
    let stack = Stack::new().pool(Pool::Redis).start();
    let json = |value: f32| {
        let answer = stack.infer("identity_fp32", &JSON, request(&[value]).to_string().as_bytes());
        (answer.status, answer.nearest_cache(), answer.json()["outputs"][0]["data"][0].as_f64())
    };
    assert_eq!(json(1.0).0, 200);
    until("the pool has it, and gives it to a call", || {
        let (status, cache, body) = infer(&stack, "identity_fp32", 1.0);
        assert!(status == "0" && body.ends_with(&1.0_f32.to_le_bytes()), "{status} {cache}");
        cache.contains("forebay; hit").then_some(())
    });
    assert_eq!(infer(&stack, "identity_fp32", 2.0).0, "0");
    until("and what a call has brought there, to JSON", || {
        let (status, cache, value) = json(2.0);
        assert_eq!((status, value), (200, Some(2.0)));
        cache.contains("forebay; hit").then_some(())
    });
    stack.sound();
}

#[test]
fn without_a_route_for_hits_calls_are_the_backends() {
    let stack = Stack::new().with("key: wasm.forebay.hit", "key: wasm.forebay.another").start();
    for _ in 0..2 {
        assert_eq!(infer(&stack, "identity_fp32", 3.0).0, "0");
    }
    let (status, cache, body) = infer(&stack, "identity_fp32", 3.0);
    assert_eq!((status.as_str(), cache.as_str()), ("0", "forebay; fwd=miss; detail=no-hit-route"));
    assert!(body.ends_with(&3.0_f32.to_le_bytes()));
    stack.sound();
}

#[test]
fn without_what_puts_the_status_behind_hits_no_call_is_ok_and_empty() {
    let stack =
        Stack::new().with("value_match: { exact: \"yes\" }", "value_match: { exact: \"never\" }").start();
    let answers: Vec<_> = (0..4).map(|_| infer(&stack, "identity_fp32", 3.0)).collect();
    let is_whole = |body: &[u8]| body.ends_with(&3.0_f32.to_le_bytes());
    assert!(answers.iter().all(|(status, _, body)| (status == "0") == is_whole(body)), "{answers:?}");
    let statuses: Vec<&str> = answers.iter().map(|(status, ..)| status.as_str()).collect();
    assert_eq!(statuses, ["0", "14", "0", "0"]);
    stack.sound();
}

#[test]
fn who_forges_the_mark_of_a_hit_gets_an_answer_of_the_backends() {
    let stack = Stack::new().start();
    let connection = Connection::open(stack.port).expect("Envoy speaks HTTP/2");
    let headers =
        [rig::frames::CALL.as_slice(), &[("wasm.forebay.hit", "yes"), ("x-forebay-hit", "yes")]].concat();
    let message = rig::frames::framed(&infer_request("identity_fp32", 4.0));
    let answer = connection.post(&format!("/{SERVICE}/ModelInfer"), &headers, vec![message]).remove(0);
    assert_eq!(answer.header("grpc-status"), "0");
    assert!(answer.body.ends_with(&4.0_f32.to_le_bytes()));
    stack.sound();
}
