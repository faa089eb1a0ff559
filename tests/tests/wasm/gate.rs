//! Lookups in L2: what is asked, and that no trouble with the gate is the client's.

use super::{
    FORMAT, FRESH, GENERATION, INFER, answered, answering, asking, asking_as, forwarded, hit, infer, sound,
};
use e2e::wasm_host::{Call, Host, Request, StreamId, Worker};
use forebay_protocol::digest::Generation;
use forebay_protocol::entry::{Entry, Field};
use forebay_protocol::gate::{LOOKUP_PATH, LOOKUPS_PATH};
use forebay_protocol::lookups::{Lookups, Outcome, Outcomes};
use forebay_protocol::messages::{InferOutputTensor, ModelInferResponse};
use prost::Message as _;
use serde_json::{Value, json};

/// The clock's start, in milliseconds: entries are made then.
pub(super) const NOW_MS: u64 = 1_790_000_000_000;

pub(super) fn host() -> Host {
    host_with(&json!({"cluster": "gate"}))
}

/// The gate has told that `GENERATION` lives.
pub(super) fn host_with(gate: &Value) -> Host {
    let mut host = super::host(&json!({"gate": gate}));
    super::live::told(&mut host, &super::live::table(1, &[GENERATION]));
    host
}

/// What the gate has for `asking(value)`.
pub(super) fn entry(value: i32) -> Vec<u8> {
    let generation: Generation = GENERATION.parse().expect("64 hex digits");
    let output = InferOutputTensor {
        name: "y".into(),
        datatype: "INT32".into(),
        shape: vec![1, 1],
        ..InferOutputTensor::default()
    };
    let response = ModelInferResponse {
        model_name: "m".into(),
        model_version: "1".into(),
        outputs: vec![output],
        raw_output_contents: vec![value.to_le_bytes().to_vec().into()],
        ..ModelInferResponse::default()
    };
    let entry = Entry {
        response: Some(response),
        generation: generation.0.to_vec().into(),
        created_ms: NOW_MS - 5000,
        max_age_s: 60,
        ..Entry::default()
    };
    entry.encode_plain()
}

/// Sends a request that must ask the gate; the callout.
#[track_caller]
pub(super) fn asks(worker: &mut Worker, request: Request) -> (StreamId, Call) {
    let id = worker.send(request);
    assert!(worker.is_held(id), "it does not wait for the gate");
    (id, worker.call_to(LOOKUP_PATH))
}

/// Asserts that `id` went upstream whole, and finishes it.
#[track_caller]
pub(super) fn went_on(worker: &mut Worker, id: StreamId) -> String {
    let seen = worker.forwarded(id).expect("it did not go upstream");
    assert!(seen.ended && seen.body == asking(7));
    worker.respond(id, 200, &FRESH, &answering(7));
    worker.response(id).cache_status()
}

#[test]
fn a_lookup_says_who_asks_for_what_and_holds_no_secret() {
    let tenants =
        json!({"tenancy": "required", "tenant": "acme", "gate": {"cluster": "outbound|8010||gate.ns"}});
    let mut host = super::host(&tenants);
    let worker = host.worker(0);
    let path = "/v2/models/m/versions/3/infer";
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let (_, call) =
        asks(worker, Request::post(path).header("traceparent", trace).body(asking_as("an id", 7)));
    assert_eq!((call.cluster.as_str(), call.timeout_ms), ("outbound|8010||gate.ns", 5));
    let header = |name: &str| call.header(name).unwrap_or_default();
    assert_eq!((header(":method"), header(":path")), ("GET".to_owned(), LOOKUP_PATH.to_owned()));
    assert_eq!(header("x-forebay-service"), "demo");
    assert_eq!(header("x-forebay-tenant"), "acme");
    assert_eq!(header("x-forebay-model"), "m");
    assert_eq!(header("x-forebay-version"), "3");
    assert_eq!(header("traceparent"), trace);
    assert_eq!((header(":authority"), header("x-forebay-token")), ("gate.ns".to_owned(), String::new()));
    let digest = header("x-forebay-digest");
    assert!(digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()), "{digest}");
}

#[test]
fn a_hit_in_the_pool_is_answered_and_kept() {
    let mut host = host();
    let worker = host.worker(0);
    let (id, call) = asks(worker, infer(asking_as("mine", 7)));
    worker.answer_call(call.token, 200, &FORMAT, &entry(7));
    let response = worker.response(id);
    assert_eq!(response.cache_status(), "forebay; hit; ttl=55; detail=l2");
    assert_eq!(response.header("age").as_deref(), Some("5"));
    assert_eq!(response.json()["id"], "mine");
    assert_eq!(response.json()["outputs"][0]["data"], json!([7]));
    hit(worker, infer(asking(7)));
    sound(worker);
}

#[test]
fn an_entry_is_answered_in_the_encoding_that_the_client_wants() {
    let mut host = host();
    let worker = host.worker(0);
    let head = br#"{"inputs":[{"name":"x","shape":[1,1],"datatype":"INT32","parameters":{"binary_data_size":4}}],"outputs":[{"name":"y","parameters":{"binary_data":true}}]}"#;
    let binary = Request::post(INFER)
        .header("inference-header-content-length", head.len().to_string())
        .body([&head[..], &7_i32.to_le_bytes()].concat());
    let (id, call) = asks(worker, binary);
    worker.answer_call(call.token, 200, &FORMAT, &entry(7));
    let response = worker.response(id);
    assert!(response.cache_status().starts_with("forebay; hit"));
    let length: usize = response
        .header("inference-header-content-length")
        .and_then(|value| value.parse().ok())
        .expect("a length");
    assert_eq!(response.body[length..], 7_i32.to_le_bytes());
    sound(worker);
}

#[test]
fn all_encodings_of_a_request_ask_for_one_digest() {
    let mut host = host();
    let worker = host.worker(0);
    let (json_id, json_call) = asks(worker, infer(asking(7)));
    worker.abort(json_id);
    let head =
        br#"{"inputs":[{"name":"x","shape":[1,1],"datatype":"INT32","parameters":{"binary_data_size":4}}]}"#;
    let binary = Request::post(INFER)
        .header("inference-header-content-length", head.len().to_string())
        .body([&head[..], &7_i32.to_le_bytes()].concat());
    let (_, binary_call) = asks(worker, binary);
    assert_eq!(json_call.header("x-forebay-digest"), binary_call.header("x-forebay-digest"));
}

#[test]
fn an_entry_is_given_with_the_fields_that_were_kept_with_it() {
    let mut held = Entry::decode_plain(entry(7).into()).expect("an entry");
    held.fields = [
        ("access-control-allow-origin", "*"),
        ("cache-control", "max-age=5, s-maxage=60"),
        ("etag", "\"j\""),
    ]
    .map(|(name, value)| Field { name: name.into(), value: value.into() })
    .to_vec();
    let mut host = host();
    let worker = host.worker(0);
    let (id, call) = asks(worker, infer(asking(7)));
    worker.answer_call(call.token, 200, &FORMAT, &held.encode_plain());
    let response = worker.response(id);
    assert_eq!(response.header("access-control-allow-origin").as_deref(), Some("*"));
    assert_eq!(response.header("cache-control").as_deref(), Some("max-age=5, s-maxage=60"));
    // Of the bytes in another encoding, which these may not be.
    assert_eq!(response.header("etag"), None);
    assert_eq!(response.header("content-type").as_deref(), Some("application/json"));
    sound(worker);
}

#[test]
fn a_gate_that_envoy_does_not_know_goes_upstream_at_once() {
    let mut host = host();
    let worker = host.worker(0);
    worker.forget_cluster("gate");
    let id = forwarded(worker, infer(asking(7)));
    went_on(worker, id);
    sound(worker);
}

#[test]
fn those_who_wait_share_a_hit_in_the_pool() {
    let mut host = host();
    let worker = host.worker(0);
    let (leader, call) = asks(worker, infer(asking(7)));
    let waiting: Vec<_> =
        (0..200).map(|number| worker.send(infer(asking_as(&number.to_string(), 7)))).collect();
    assert_eq!(worker.calls().len(), 1);
    worker.answer_call(call.token, 200, &FORMAT, &entry(7));
    host.settle();
    let worker = host.worker(0);
    assert_eq!(worker.response(leader).status, 200);
    for (number, id) in waiting.iter().enumerate() {
        assert_eq!(worker.response(*id).json()["id"], number.to_string().as_str());
    }
    sound(worker);
}

#[test]
fn all_encodings_that_wait_share_a_hit_in_the_pool() {
    let mut host = host();
    let worker = host.worker(0);
    let (_, call) = asks(worker, infer(asking(7)));
    let mut wants_binary: Value = serde_json::from_slice(&asking_as("b", 7)).expect("JSON");
    wants_binary["parameters"] = json!({"binary_data_output": true});
    let binary = worker.send(infer(wants_binary.to_string()));
    assert_eq!(worker.calls().len(), 1);
    worker.answer_call(call.token, 200, &FORMAT, &entry(7));
    host.settle();
    let worker = host.worker(0);
    let response = worker.response(binary);
    let length = response.header("inference-header-content-length").and_then(|value| value.parse().ok());
    assert_eq!(response.body[length.unwrap_or(0)..], 7_i32.to_le_bytes());
    assert_eq!(response.cache_status(), "forebay; hit; ttl=55; detail=l2");
    sound(worker);
}

#[test]
fn who_wants_it_younger_than_the_pool_has_it_is_sent_upstream() {
    let mut host = host();
    let worker = host.worker(0);
    let (_, call) = asks(worker, infer(asking(7)));
    let strict: Vec<_> =
        (0..3).map(|_| worker.send(infer(asking(7)).header("cache-control", "max-age=0"))).collect();
    worker.answer_call(call.token, 200, &FORMAT, &entry(7));
    host.settle();
    let worker = host.worker(0);
    assert_eq!(went_on(worker, strict[0]), "forebay; fwd=miss; stored; detail=unsuited");
    assert!(strict[1..].iter().all(|id| worker.is_held(*id)), "one is sent for all of them");
    host.settle();
    assert!(strict[1..].iter().all(|id| host.worker(0).response(*id).header("age").as_deref() == Some("0")));
    sound(host.worker(0));
}

#[test]
fn models_that_skip_l2_ask_nobody() {
    let mut host = host_with(&json!({"cluster": "gate", "skip_models": ["m"]}));
    forwarded(host.worker(0), infer(asking(7)));
    sound(host.worker(0));
}

#[test]
fn only_if_cached_asks_the_pool_too() {
    let mut host = host();
    let worker = host.worker(0);
    let only = || infer(asking(7)).header("cache-control", "only-if-cached");
    let (id, call) = asks(worker, only());
    worker.answer_call(call.token, 404, &FORMAT, b"");
    assert_eq!(worker.response(id).status, 504);
    let (id, call) = asks(worker, only());
    worker.answer_call(call.token, 200, &FORMAT, &entry(7));
    assert_eq!(worker.response(id).status, 200);
    let (_, status) = answered(worker, only());
    assert!(status.starts_with("forebay; hit"));
    sound(worker);
}

#[test]
fn max_age_holds_for_entries_of_the_pool() {
    let mut host = host();
    let worker = host.worker(0);
    let (id, call) = asks(worker, infer(asking(7)).header("cache-control", "max-age=4"));
    worker.answer_call(call.token, 200, &FORMAT, &entry(7));
    went_on(worker, id);
    sound(worker);
}

#[test]
fn lookups_behind_others_go_together_and_each_gets_its_own() {
    let mut host = host();
    let worker = host.worker(0);
    let send = |worker: &mut Worker, value| worker.send(infer(asking(value)));
    let (alone, behind): (Vec<_>, Vec<_>) = (
        (1..3).map(|value| send(worker, value)).collect(),
        (4..7).map(|value| send(worker, value)).collect(),
    );
    assert!(worker.calls().len() == alone.len() && behind.iter().all(|id| worker.is_held(*id)));
    let first = worker.calls().remove(0);
    worker.answer_call(first.token, 404, &FORMAT, b"");
    host.settle();
    let worker = host.worker(0);
    let call = worker.call_to(LOOKUPS_PATH);
    assert_eq!(Lookups::parse(call.body.clone().into()).expect("lookups").lookups.len(), behind.len());
    let outcome = |status, entry: Vec<u8>| Outcome { status, entry: entry.into() };
    let told = vec![outcome(200, entry(4)), outcome(404, vec![]), outcome(200, entry(6))];
    worker.answer_call(call.token, 200, &FORMAT, &Outcomes { outcomes: told }.encode_to_vec());
    host.settle();
    let worker = host.worker(0);
    for (id, value) in [(behind[0], 4), (behind[2], 6)] {
        let json = |body: &[u8]| serde_json::from_slice::<Value>(body).expect("JSON");
        assert_eq!(json(&worker.response(id).body), json(&answering(value)));
        assert_eq!(worker.response(id).cache_status(), "forebay; hit; ttl=55; detail=l2");
    }
    assert!(worker.forwarded(behind[1]).is_some());
    sound(worker);
}

#[test]
fn a_message_of_lookups_that_can_not_be_sent_sends_all_of_them_upstream() {
    let mut host = host();
    let worker = host.worker(0);
    let ids: Vec<_> = (0..7).map(|value| worker.send(infer(asking(value)))).collect();
    let first = worker.calls().remove(0);
    worker.forget_cluster("gate");
    worker.answer_call(first.token, 404, &FORMAT, b"");
    host.settle();
    let worker = host.worker(0);
    assert!(ids[2..].iter().all(|id| worker.forwarded(*id).is_some()));
    sound(worker);
}
