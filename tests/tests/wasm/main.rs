//! The real filter under the wasmtime host: one file a theme.
//!
//! Here is what they share: configurations, requests, answers as a backend gives them, and the checks of both ends.

mod answers;
mod calls;
mod configuration;
mod directives;
mod double;
mod gate;
mod join;
mod life;
mod live;
mod memory;
mod passing;
mod polls;
mod reports;
mod shadow;
mod troubles;
mod trust;

use e2e::wasm_host::{Host, Request, StreamId, Worker};
use serde_json::{Value, json};

/// The path of the model that most tests ask.
const INFER: &str = "/v2/models/m/infer";

/// Two generations, as hex.
const GENERATION: &str = "1111111111111111111111111111111111111111111111111111111111111111";
const OTHER_GENERATION: &str = "2222222222222222222222222222222222222222222222222222222222222222";

/// The filter without a gate, with the settings of `more` over the defaults.
fn configuration(more: &Value) -> String {
    let mut settings = json!({"service": "demo"});
    if let (Some(settings), Some(more)) = (settings.as_object_mut(), more.as_object()) {
        settings.extend(more.clone());
    }
    settings.to_string()
}

fn host(more: &Value) -> Host {
    hosts(more, 1)
}

fn hosts(more: &Value, workers: usize) -> Host {
    Host::with_workers(&e2e::filter(), &configuration(more), workers).expect("the filter starts")
}

/// A V2 JSON request body that asks for `[value]`.
fn asking(value: i32) -> Vec<u8> {
    json!({"inputs": [{"name": "x", "shape": [1, 1], "datatype": "INT32", "data": [value]}]})
        .to_string()
        .into_bytes()
}

fn asking_as(id: &str, value: i32) -> Vec<u8> {
    let mut body: Value = serde_json::from_slice(&asking(value)).expect("JSON");
    body["id"] = json!(id);
    body.to_string().into_bytes()
}

fn infer(body: impl Into<Vec<u8>>) -> Request {
    Request::post(INFER).header("content-type", "application/json").body(body)
}

/// What a backend answers to `asking(value)` of an identity.
fn answering(value: i32) -> Vec<u8> {
    json!({
        "model_name": "m", "model_version": "1",
        "outputs": [{"name": "y", "datatype": "INT32", "shape": [1, 1], "data": [value]}]
    })
    .to_string()
    .into_bytes()
}

fn answering_as(id: &str, value: i32) -> Vec<u8> {
    let rest = answering(value);
    [format!(r#"{{"id":"{id}","#).as_bytes(), &rest[1..]].concat()
}

const FRESH: [(&str, &str); 3] = [
    ("content-type", "application/json"),
    ("cache-control", "max-age=60"),
    ("x-forebay-generation", GENERATION),
];
/// What every answer of the gate says of itself.
const FORMAT: [(&str, &str); 1] = [("x-forebay-format", "2")];
const UNCACHEABLE: [(&str, &str); 2] = [("content-type", "application/json"), ("cache-control", "no-store")];

/// Sends a request that must go upstream.
#[track_caller]
fn forwarded(worker: &mut Worker, request: Request) -> StreamId {
    let id = worker.send(request);
    assert!(worker.forwarded(id).is_some(), "not forwarded: {:?}", worker.answer(id));
    id
}

/// Asks for `value` and lets the upstream answer it.
#[track_caller]
fn miss(worker: &mut Worker, value: i32) -> StreamId {
    let id = forwarded(worker, infer(asking(value)));
    worker.respond(id, 200, &FRESH, &answering(value));
    id
}

/// Sends a request that must be answered at once; its `Cache-Status`.
#[track_caller]
fn answered(worker: &mut Worker, request: Request) -> (StreamId, String) {
    let id = worker.send(request);
    assert!(worker.forwarded(id).is_none(), "it went upstream");
    let response = worker.answer(id).unwrap_or_else(|| panic!("no answer; traps: {:?}", worker.traps()));
    (id, response.cache_status())
}

/// Asserts that `request` is a hit.
#[track_caller]
fn hit(worker: &mut Worker, request: Request) -> StreamId {
    let (id, status) = answered(worker, request);
    assert!(status.starts_with("forebay; hit; ttl="), "{status}");
    id
}

/// Asserts that `request` passes unlooked-at, for that reason, and that its body is whole.
#[track_caller]
fn bypassed(worker: &mut Worker, request: Request, reason: &str) -> StreamId {
    let body = request.sent().to_vec();
    let id = forwarded(worker, request);
    let seen = worker.forwarded(id).expect("forwarded");
    assert!(seen.ended && seen.body == body, "the upstream did not get the body as it was sent");
    worker.respond(id, 200, &FRESH, &answering(0));
    let expected = format!("forebay; fwd=bypass; detail={reason}");
    assert_eq!(worker.response(id).cache_status(), expected);
    id
}

/// A batch of waiters, and the callback's own client.
const MOST_REPLIES: usize = 64 + 1;

/// No VM died, and no callback asked for more replies than a batch.
#[track_caller]
fn sound(worker: &Worker) {
    assert_eq!(worker.traps(), [""; 0]);
    assert!(
        worker.most_replies_in_one_callback() <= MOST_REPLIES,
        "{}",
        worker.most_replies_in_one_callback()
    );
    assert!(worker.deepest() <= MOST_REPLIES + 2, "callbacks nested {} deep", worker.deepest());
}
