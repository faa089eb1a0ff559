//! Live generations: a table from the gate decides which stored answers may still be given.

use super::{FRESH, GENERATION, OTHER_GENERATION, answering, asking, forwarded, hit, infer, sound};
use e2e::wasm_host::{Call, Host, Worker};
use forebay_protocol::gate::{GENERATIONS_PATH, LOOKUP_PATH};
use serde_json::json;
use std::time::Duration;

fn hosts(workers: usize) -> Host {
    super::hosts(&json!({"gate": {"cluster": "gate", "token": "secret"}}), workers)
}

fn table(epoch: u64, generations: &[&str]) -> Vec<u8> {
    json!({"format": 2, "now_ms": 0, "epoch": epoch, "models": [{"service": "demo", "model": "m", "version": "", "generations": generations}]})
        .to_string()
        .into_bytes()
}

/// The thread that polls, and its callout.
#[track_caller]
fn polling(host: &mut Host) -> (&mut Worker, Call) {
    let mut polls: Vec<_> = host.threads().filter_map(|thread| Some((poll_of(thread)?, thread))).collect();
    assert_eq!(polls.len(), 1, "threads that poll");
    let (call, thread) = polls.remove(0);
    (thread, call)
}

fn poll_of(thread: &Worker) -> Option<Call> {
    thread.calls().into_iter().find(|call| call.header(":path").as_deref() == Some(GENERATIONS_PATH))
}

/// One poll period, in which the gate gives `table`.
#[track_caller]
fn poll(host: &mut Host, table: &[u8]) {
    host.advance(Duration::from_millis(500));
    host.tick();
    let (thread, call) = polling(host);
    thread.answer_call(call.token, 200, &[], table);
    host.tick();
}

/// Asks, lets the gate say miss and the upstream answer.
#[track_caller]
fn miss(worker: &mut Worker, value: i32) {
    let id = worker.send(infer(asking(value)));
    if worker.forwarded(id).is_none() {
        let call = worker.call_to(LOOKUP_PATH);
        worker.answer_call(call.token, 404, &[], b"");
    }
    worker.respond(id, 200, &FRESH, &answering(value));
}

#[test]
fn one_thread_polls_for_all() {
    let mut host = hosts(3);
    for _ in 0..4 {
        poll(&mut host, &table(1, &[GENERATION]));
    }
    host.advance(Duration::from_millis(500));
    host.tick();
    let (_, call) = polling(&mut host);
    assert_eq!(call.header("x-forebay-token").as_deref(), Some("secret"));
}

#[test]
fn a_poll_whose_thread_lost_its_vm_is_made_by_another_one() {
    let mut host = hosts(2);
    host.advance(Duration::from_millis(500));
    host.tick();
    let (thread, _) = polling(&mut host);
    thread.trap_next();
    // The next tick traps it; its poll is gone with it.
    host.advance(Duration::from_millis(500));
    host.tick();
    let (thread, call) = polling(&mut host);
    assert_eq!(thread.traps(), [""; 0]);
    thread.answer_call(call.token, 200, &[], &table(1, &[GENERATION]));
    host.tick();
    miss(host.worker(0), 7);
    poll(&mut host, &table(1, &[GENERATION]));
    hit(host.worker(0), infer(asking(7)));
}

#[test]
fn answers_of_a_generation_that_is_gone_are_never_given() {
    let mut host = hosts(2);
    poll(&mut host, &table(1, &[GENERATION]));
    miss(host.worker(0), 7);
    poll(&mut host, &table(1, &[GENERATION]));
    hit(host.worker(0), infer(asking(7)));
    hit(host.worker(1), infer(asking(7)));
    poll(&mut host, &table(2, &[OTHER_GENERATION]));
    for number in 0..2 {
        let worker = host.worker(number);
        let id = worker.send(infer(asking(7)));
        assert!(worker.answer(id).is_none(), "worker {number} gives an old answer");
        worker.abort(id);
        sound(worker);
    }
}

#[test]
fn several_generations_may_live_at_once() {
    let mut host = hosts(1);
    poll(&mut host, &table(1, &[OTHER_GENERATION, GENERATION]));
    miss(host.worker(0), 7);
    poll(&mut host, &table(1, &[OTHER_GENERATION, GENERATION]));
    hit(host.worker(0), infer(asking(7)));
}

#[test]
fn an_answer_stored_since_the_last_poll_is_given() {
    let mut host = hosts(1);
    poll(&mut host, &table(1, &[OTHER_GENERATION]));
    host.advance(Duration::from_millis(1));
    miss(host.worker(0), 7);
    hit(host.worker(0), infer(asking(7)));
}

#[test]
fn without_a_table_answers_are_given_only_up_to_the_stated_age() {
    let mut host = hosts(1);
    poll(&mut host, &table(1, &[GENERATION]));
    miss(host.worker(0), 7);
    host.advance(Duration::from_secs(20));
    hit(host.worker(0), infer(asking(7)));
    host.advance(Duration::from_secs(11));
    let worker = host.worker(0);
    let id = worker.send(infer(asking(7)));
    assert!(worker.answer(id).is_none());
    sound(worker);
}

#[test]
fn a_poll_that_fails_in_any_way_leaves_the_last_table_and_no_trap() {
    let mut host = hosts(1);
    poll(&mut host, &table(1, &[GENERATION]));
    miss(host.worker(0), 7);
    for wrong in [&b"<html>"[..], b"", b"{}", b"{\"epoch\":2}", b"\xff", &vec![b'['; 100_000]] {
        poll(&mut host, wrong);
        hit(host.worker(0), infer(asking(7)));
        poll(&mut host, &table(1, &[GENERATION]));
    }
    for broken in [Worker::fail as fn(&mut Worker, u32), Worker::time_out] {
        host.advance(Duration::from_millis(500));
        host.tick();
        let (thread, call) = polling(&mut host);
        broken(thread, call.token);
        hit(host.worker(0), infer(asking(7)));
        poll(&mut host, &table(1, &[GENERATION]));
    }
    sound(host.worker(0));
}

#[test]
fn a_generation_of_another_service_or_version_does_not_count() {
    let mut host = hosts(1);
    let other = json!({"format": 2, "now_ms": 0, "epoch": 1, "models": [
        {"service": "other", "model": "m", "version": "", "generations": [GENERATION]},
        {"service": "demo", "model": "m", "version": "2", "generations": [GENERATION]}
    ]});
    poll(&mut host, other.to_string().as_bytes());
    miss(host.worker(0), 7);
    poll(&mut host, other.to_string().as_bytes());
    let worker = host.worker(0);
    let id = worker.send(infer(asking(7)));
    assert!(worker.answer(id).is_none());
    worker.abort(id);
    let versioned = e2e::wasm_host::Request::post("/v2/models/m/versions/2/infer").body(asking(7));
    let id = worker.send(versioned);
    let call = worker.call_to(LOOKUP_PATH);
    assert_eq!(call.header("x-forebay-version").as_deref(), Some("2"));
    worker.answer_call(call.token, 404, &[], b"");
    assert!(worker.forwarded(id).is_some());
    sound(worker);
}

#[test]
fn the_upstreams_answer_without_a_generation_is_not_stored_behind_a_gate() {
    let mut host = hosts(1);
    let worker = host.worker(0);
    let id = worker.send(infer(asking(7)));
    let call = worker.call_to(LOOKUP_PATH);
    worker.answer_call(call.token, 404, &[], b"");
    worker.respond(id, 200, &[("cache-control", "max-age=60")], &answering(7));
    assert_eq!(worker.response(id).cache_status(), "forebay; fwd=miss; detail=no-generation");
    let again = worker.send(infer(asking(7)));
    assert!(worker.answer(again).is_none());
    worker.abort(again);
    let call = worker.calls();
    assert!(call.is_empty());
    sound(worker);
    forwarded(
        super::host(&json!({"gate": {"cluster": "gate", "skip_models": ["m"]}})).worker(0),
        infer(asking(7)),
    );
}
