//! Live generations: a table from the gate decides which stored answers may still be given, by every thread from the moment it
//! is written.

use super::{FORMAT, FRESH, GENERATION, OTHER_GENERATION, answering, asking, forwarded, hit, infer, sound};
use e2e::wasm_host::{Call, Host, Request, Worker};
use forebay_protocol::gate::{LOOKUP_PATH, POLL_PATH};
use forebay_protocol::poll::Poll;
use serde_json::json;
use std::time::Duration;

pub(super) fn hosts(workers: usize) -> Host {
    super::hosts(&json!({"gate": {"cluster": "gate"}}), workers)
}

pub(super) fn table(epoch: u64, generations: &[&str]) -> Vec<u8> {
    json!({"format": 2, "now_ms": 0, "epoch": epoch, "models": [{"service": "demo", "model": "m", "version": "", "generations": generations}]})
        .to_string()
        .into_bytes()
}

pub(super) fn poll_of(thread: &Worker) -> Option<Call> {
    // A report by itself goes the same way, and is not held.
    let is_poll = |call: &Call| call.header(":path").as_deref() == Some(POLL_PATH) && said(call).wait_ms > 0;
    thread.calls().into_iter().find(is_poll)
}

pub(super) fn said(call: &Call) -> Poll {
    Poll::parse(&call.body).expect("a poll")
}

/// The threads that poll, and their callouts.
pub(super) fn polls(host: &mut Host) -> Vec<(&mut Worker, Call)> {
    host.threads()
        .filter_map(|thread| Some((poll_of(thread)?, thread)))
        .map(|(call, thread)| (thread, call))
        .collect()
}

/// The one thread that polls, and its callout.
#[track_caller]
pub(super) fn polling(host: &mut Host) -> (&mut Worker, Call) {
    let mut polls = polls(host);
    assert_eq!(polls.len(), 1, "threads that poll");
    polls.remove(0)
}

/// The period of the tick, and a tick of all threads.
pub(super) fn ticked(host: &mut Host) {
    host.advance(Duration::from_millis(250));
    host.tick();
}

/// The gate tells whoever polls; no thread ticks after it.
#[track_caller]
pub(super) fn told(host: &mut Host, table: &[u8]) {
    if polls(host).is_empty() {
        ticked(host);
    }
    let (thread, call) = polling(host);
    thread.answer_call(call.token, 200, &FORMAT, table);
}

/// Nothing has changed for as long as the gate may hold the poll.
#[track_caller]
pub(super) fn unchanged(host: &mut Host, epoch: u64) {
    host.advance(Duration::from_secs(2));
    let (thread, call) = polling(host);
    let epoch = epoch.to_string();
    thread.answer_call(
        call.token,
        204,
        &[FORMAT[0], ("x-forebay-epoch", &epoch), ("x-forebay-now-ms", "0")],
        b"",
    );
}

/// The gate says that nothing has changed until now.
#[track_caller]
pub(super) fn confirmed(host: &mut Host, epoch: u64) {
    // That the poll that is held was sent long ago is not now.
    for _ in 0..2 {
        let (thread, call) = polling(host);
        let epoch = epoch.to_string();
        thread.answer_call(call.token, 204, &[FORMAT[0], ("x-forebay-epoch", &epoch)], b"");
    }
}

/// Asks, lets the gate say miss and the upstream answer.
#[track_caller]
pub(super) fn miss(worker: &mut Worker, value: i32) {
    let id = worker.send(infer(asking(value)));
    if worker.forwarded(id).is_none() {
        let call = worker.call_to(LOOKUP_PATH);
        worker.answer_call(call.token, 404, &FORMAT, b"");
    }
    worker.respond(id, 200, &FRESH, &answering(value));
}

/// What is kept for `value` is not given.
#[track_caller]
pub(super) fn not_given(worker: &mut Worker, value: i32) {
    let id = worker.send(infer(asking(value)));
    assert!(worker.answer(id).is_none(), "an old answer is given: {}", worker.response(id).cache_status());
    worker.abort(id);
    sound(worker);
}

#[test]
fn a_table_is_obeyed_by_every_worker_from_the_moment_it_comes() {
    let mut host = hosts(3);
    told(&mut host, &table(1, &[GENERATION]));
    miss(host.worker(0), 7);
    for number in 0..3 {
        let worker = host.worker(number);
        hit(worker, infer(asking(7)));
        hit(worker, infer(asking(7)));
    }
    told(&mut host, &table(2, &[OTHER_GENERATION]));
    for number in 0..3 {
        not_given(host.worker(number), 7);
    }
    // And when its time is over, it is not given either.
    told(&mut host, &table(3, &[GENERATION]));
    for number in 0..3 {
        hit(host.worker(number), infer(asking(7)));
    }
}

#[test]
fn what_the_gate_gives_is_checked_by_the_newest_table_too() {
    let mut host = hosts(2);
    told(&mut host, &table(1, &[GENERATION]));
    let worker = host.worker(0);
    let id = worker.send(infer(asking(7)));
    let call = worker.call_to(LOOKUP_PATH);
    told(&mut host, &table(2, &[OTHER_GENERATION]));
    let worker = host.worker(0);
    worker.answer_call(call.token, 200, &FORMAT, &super::gate::entry(7));
    assert!(
        worker.answer(id).is_none() && worker.forwarded(id).is_some(),
        "a dead generation's answer is given"
    );
    sound(worker);
}

#[test]
fn who_asks_after_a_change_does_not_join_who_asked_before() {
    let mut host = super::hosts(&json!({"gate": {"cluster": "gate", "skip_models": ["m"]}}), 1);
    told(&mut host, &table(1, &[GENERATION]));
    let before = forwarded(host.worker(0), infer(asking(7)));
    told(&mut host, &table(2, &[OTHER_GENERATION]));
    let worker = host.worker(0);
    let after = forwarded(worker, infer(asking(7)));
    worker.respond(before, 200, &FRESH, &answering(7));
    let id = forwarded(worker, infer(asking(8)));
    worker.respond(id, 200, &FRESH, &answering(8));
    worker.abort(after);
    not_given(worker, 7);
}

#[test]
fn several_generations_may_live_at_once() {
    let mut host = hosts(1);
    told(&mut host, &table(1, &[OTHER_GENERATION, GENERATION]));
    miss(host.worker(0), 7);
    hit(host.worker(0), infer(asking(7)));
}

#[test]
fn an_answer_of_a_generation_that_the_table_lacks_waits_for_a_table_that_has_it() {
    let mut host = hosts(1);
    told(&mut host, &table(1, &[OTHER_GENERATION]));
    miss(host.worker(0), 7);
    not_given(host.worker(0), 7);
    told(&mut host, &table(2, &[GENERATION]));
    hit(host.worker(0), infer(asking(7)));
}

#[test]
fn without_a_table_that_can_be_believed_no_kept_answer_is_given() {
    let mut host = hosts(1);
    miss(host.worker(0), 7);
    not_given(host.worker(0), 7);
    told(&mut host, &table(1, &[GENERATION]));
    hit(host.worker(0), infer(asking(7)));
    host.advance(Duration::from_secs(5));
    hit(host.worker(0), infer(asking(7)));
    host.advance(Duration::from_millis(1));
    not_given(host.worker(0), 7);
    // What comes is kept all the same, for when a table says what it is.
    let (thread, call) = polling(&mut host);
    thread.time_out(call.token);
    told(&mut host, &table(2, &[GENERATION]));
    hit(host.worker(0), infer(asking(7)));
}

#[test]
fn those_who_wait_for_an_answer_get_it_where_nobody_knows_what_lives() {
    let mut host = super::hosts(&json!({"gate": {"cluster": "gate", "skip_models": ["m"]}}), 1);
    let worker = host.worker(0);
    let leader = forwarded(worker, infer(asking(7)));
    let waiting: Vec<_> = (0..3).map(|_| worker.send(infer(asking(7)))).collect();
    worker.respond(leader, 200, &FRESH, &answering(7));
    host.settle();
    let worker = host.worker(0);
    for id in waiting {
        assert_eq!(worker.response(id).cache_status(), "forebay; fwd=miss; collapsed");
    }
    let id = forwarded(worker, infer(asking(7)));
    worker.abort(id);
    sound(worker);
}

#[test]
fn a_gate_that_has_no_table_itself_makes_it_stale() {
    let mut host = hosts(1);
    told(&mut host, &table(1, &[GENERATION]));
    miss(host.worker(0), 7);
    for _ in 0..4 {
        unchanged(&mut host, 1);
        hit(host.worker(0), infer(asking(7)));
    }
    // 503 confirms nothing.
    for _ in 0..22 {
        let (thread, call) = polling(&mut host);
        thread.answer_call(call.token, 503, &FORMAT, b"");
        ticked(&mut host);
    }
    not_given(host.worker(0), 7);
}

#[test]
fn a_generation_of_another_service_or_version_does_not_count() {
    let mut host = hosts(1);
    let other = json!({"format": 2, "now_ms": 0, "epoch": 1, "models": [
        {"service": "other", "model": "m", "version": "", "generations": [GENERATION]},
        {"service": "demo", "model": "m", "version": "2", "generations": [GENERATION]}
    ]});
    told(&mut host, other.to_string().as_bytes());
    miss(host.worker(0), 7);
    not_given(host.worker(0), 7);
    let worker = host.worker(0);
    let id = worker.send(Request::post("/v2/models/m/versions/2/infer").body(asking(7)));
    let call = worker.call_to(LOOKUP_PATH);
    assert_eq!(call.header("x-forebay-version").as_deref(), Some("2"));
    worker.answer_call(call.token, 404, &FORMAT, b"");
    assert!(worker.forwarded(id).is_some());
    sound(worker);
}

#[test]
fn the_upstreams_answer_without_a_generation_is_not_stored_behind_a_gate() {
    let mut host = hosts(1);
    let worker = host.worker(0);
    let id = worker.send(infer(asking(7)));
    let call = worker.call_to(LOOKUP_PATH);
    worker.answer_call(call.token, 404, &FORMAT, b"");
    worker.respond(id, 200, &[("cache-control", "max-age=60")], &answering(7));
    assert_eq!(worker.response(id).cache_status(), "forebay; fwd=miss; detail=no-generation");
    let again = worker.send(infer(asking(7)));
    assert!(worker.answer(again).is_none());
    worker.abort(again);
    assert!(worker.calls().is_empty());
    sound(worker);
}
