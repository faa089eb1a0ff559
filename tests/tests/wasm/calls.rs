//! gRPC's calls: hits, waiters by the hundred, and bytes that are no messages.

use super::{forwarded, host, sound};
use e2e::wasm_host::{Request, StreamId, Worker};
use proptest::prelude::*;
use serde_json::json;

const PATH: &str = "/inference.GRPCInferenceService/ModelInfer";
const FRESH: [(&str, &str); 2] = [("content-type", "application/grpc"), ("cache-control", "max-age=60")];
const OK: [(&str, &str); 1] = [("grpc-status", "0")];
/// More than a callback's batch.
const MANY: usize = 300;

fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).expect("a short message");
    [&[0][..], &length.to_be_bytes(), message].concat()
}

/// A field with a length.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let length = u8::try_from(bytes.len()).ok().filter(|length| *length < 128).expect("a short field");
    [&[(number << 3) | 2, length][..], bytes].concat()
}

/// `x` of shape `[1, 1]` and INT32, with that id.
fn asking(id: &str, value: i32) -> Vec<u8> {
    let tensor = [field(1, b"x"), field(2, b"INT32"), field(3, &[1, 1])].concat();
    let id = if id.is_empty() { Vec::new() } else { field(3, id.as_bytes()) };
    framed(&[field(1, b"m"), id, field(5, &tensor), field(7, &value.to_le_bytes())].concat())
}

fn answering(id: &str, value: i32) -> Vec<u8> {
    let raw = field(6, &value.to_le_bytes());
    let id = if id.is_empty() { Vec::new() } else { field(3, id.as_bytes()) };
    framed(&[field(1, b"m"), raw, id].concat())
}

fn call(body: Vec<u8>) -> Request {
    Request::post(PATH)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(body)
        .chunked()
}

fn answer(worker: &mut Worker, id: StreamId, value: i32) {
    worker.respond_head(id, 200, &FRESH, false);
    worker.respond_piece(id, &answering("", value), false);
    worker.respond_trailers(id, &OK);
}

#[track_caller]
fn is_answered(worker: &Worker, id: StreamId, (status, body): (&str, &[u8])) {
    assert!(worker.forwarded(id).is_none(), "it went upstream");
    let response = worker.response(id);
    assert_eq!((response.cache_status().as_str(), response.body.as_slice()), (status, body));
    assert_eq!((response.header("grpc-status"), response.header("content-length")), (None, None));
    assert_eq!(response.trailers, [("grpc-status".to_owned(), b"0".to_vec())]);
}

#[test]
fn a_call_is_a_miss_and_then_a_hit_with_headers_message_and_status_each_once() {
    let mut host = host(&json!({"grpc": "answer"}));
    let worker = host.worker(0);
    let first = forwarded(worker, call(asking("a", 1)));
    answer(worker, first, 1);
    for id in ["", "b"] {
        let again = worker.send(call(asking(id, 1)));
        is_answered(worker, again, ("forebay; hit; ttl=60; detail=raw", &answering(id, 1)));
    }
    forwarded(worker, call(asking("", 2)));
    sound(worker);
}

#[test]
fn hundreds_who_wait_are_answered_each_with_its_own_id() {
    let mut host = host(&json!({"grpc": "answer"}));
    let leader = forwarded(host.worker(0), call(asking("", 1)));
    let waiters: Vec<_> =
        (0..MANY).map(|number| host.worker(0).send(call(asking(&number.to_string(), 1)))).collect();
    answer(host.worker(0), leader, 1);
    host.settle();
    let worker = host.worker(0);
    for (number, id) in waiters.into_iter().enumerate() {
        is_answered(worker, id, ("forebay; fwd=miss; collapsed", &answering(&number.to_string(), 1)));
    }
    sound(worker);
}

#[test]
fn a_waiter_that_leaves_takes_nobody_with_it() {
    let mut host = host(&json!({"grpc": "answer"}));
    let leader = forwarded(host.worker(0), call(asking("", 1)));
    let waiters: Vec<_> = (0..9).map(|_| host.worker(0).send(call(asking("", 1)))).collect();
    for id in waiters.iter().step_by(2) {
        host.worker(0).abort(*id);
    }
    answer(host.worker(0), leader, 1);
    host.settle();
    let worker = host.worker(0);
    for id in waiters.into_iter().skip(1).step_by(2) {
        is_answered(worker, id, ("forebay; fwd=miss; collapsed", &answering("", 1)));
    }
    sound(worker);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever comes in whatever pieces goes upstream as it came, or is answered; no VM dies of it, nor of what comes back.
    #[test]
    fn no_bytes_are_too_strange(
        sent in prop::collection::vec(any::<u8>(), 0..80),
        is_framed in any::<bool>(),
        flag in 0_u8..3,
        cut in any::<prop::sample::Index>(),
        back in prop::collection::vec(any::<u8>(), 0..80),
    ) {
        let mut body = if is_framed { framed(&sent) } else { sent };
        if let Some(first) = body.first_mut().filter(|_| is_framed) {
            *first = flag;
        }
        let mut host = host(&json!({"grpc": "answer", "backends": {"on_demand": {"demo": ["m"]}}}));
        let worker = host.worker(0);
        let request = || call(Vec::new()).header("grpc-encoding", "gzip");
        for _ in 0..2 {
            let id = worker.open(request());
            let at = cut.index(body.len() + 1);
            worker.body(id, &body[..at], false);
            worker.body(id, &body[at..], true);
            if let Some(seen) = worker.forwarded(id) {
                prop_assert_eq!(&seen.body, &body);
                worker.respond_head(id, 200, &FRESH, false);
                worker.respond_piece(id, &back, false);
                worker.respond_trailers(id, &OK);
                prop_assert_eq!(&worker.response(id).body, &back);
            }
        }
        sound(worker);
    }
}
