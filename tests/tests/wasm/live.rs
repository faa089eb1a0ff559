//! Live generations: a table from the gate decides which stored answers may still be given, by every thread from the moment it
//! is written.

use super::{FORMAT, FRESH, GENERATION, OTHER_GENERATION, answering, asking, forwarded, hit, infer, sound};
use e2e::wasm_host::{Call, Host, Request, Worker};
use forebay_protocol::gate::{LOOKUP_PATH, POLL_PATH};
use forebay_protocol::poll::Poll;
use serde_json::json;
use std::time::Duration;

fn hosts(workers: usize) -> Host {
    super::hosts(&json!({"gate": {"cluster": "gate"}}), workers)
}

fn table(epoch: u64, generations: &[&str]) -> Vec<u8> {
    json!({"format": 2, "now_ms": 0, "epoch": epoch, "models": [{"service": "demo", "model": "m", "version": "", "generations": generations}]})
        .to_string()
        .into_bytes()
}

fn poll_of(thread: &Worker) -> Option<Call> {
    // A report by itself goes the same way, and is not held.
    let is_poll = |call: &Call| call.header(":path").as_deref() == Some(POLL_PATH) && said(call).wait_ms > 0;
    thread.calls().into_iter().find(is_poll)
}

fn said(call: &Call) -> Poll {
    Poll::parse(&call.body).expect("a poll")
}

/// The threads that poll, and their callouts.
fn polls(host: &mut Host) -> Vec<(&mut Worker, Call)> {
    host.threads()
        .filter_map(|thread| Some((poll_of(thread)?, thread)))
        .map(|(call, thread)| (thread, call))
        .collect()
}

/// The one thread that polls, and its callout.
#[track_caller]
fn polling(host: &mut Host) -> (&mut Worker, Call) {
    let mut polls = polls(host);
    assert_eq!(polls.len(), 1, "threads that poll");
    polls.remove(0)
}

/// The period of the tick, and a tick of all threads.
fn ticked(host: &mut Host) {
    host.advance(Duration::from_millis(250));
    host.tick();
}

/// The gate tells whoever polls; no thread ticks after it.
#[track_caller]
fn told(host: &mut Host, table: &[u8]) {
    if polls(host).is_empty() {
        ticked(host);
    }
    let (thread, call) = polling(host);
    thread.answer_call(call.token, 200, &FORMAT, table);
}

/// Nothing has changed for as long as the gate may hold the poll.
#[track_caller]
fn unchanged(host: &mut Host, epoch: u64) {
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

/// Asks, lets the gate say miss and the upstream answer.
#[track_caller]
fn miss(worker: &mut Worker, value: i32) {
    let id = worker.send(infer(asking(value)));
    if worker.forwarded(id).is_none() {
        let call = worker.call_to(LOOKUP_PATH);
        worker.answer_call(call.token, 404, &FORMAT, b"");
    }
    worker.respond(id, 200, &FRESH, &answering(value));
}

/// What is kept for `value` is not given.
#[track_caller]
fn not_given(worker: &mut Worker, value: i32) {
    let id = worker.send(infer(asking(value)));
    assert!(worker.answer(id).is_none(), "an old answer is given: {}", worker.response(id).cache_status());
    worker.abort(id);
    sound(worker);
}

#[test]
fn one_thread_polls_for_all_and_goes_on_at_once() {
    let mut host = hosts(3);
    host.tick();
    let (thread, call) = polling(&mut host);
    assert_eq!((call.cluster.as_str(), call.timeout_ms), ("gate", 3000));
    assert_eq!(
        (call.header(":method"), call.header(":authority")),
        (Some("POST".into()), Some("gate".into()))
    );
    let first = said(&call);
    assert_eq!((first.epoch, first.wait_ms), (0, 2000));
    thread.answer_call(call.token, 200, &FORMAT, &table(7, &[GENERATION]));
    // The same thread acknowledges it, without a tick between.
    let next = said(&poll_of(thread).expect("it goes on"));
    assert_eq!((next.epoch, &next.proxy, next.vm), (7, &first.proxy, first.vm));
    for _ in 0..4 {
        unchanged(&mut host, 7);
        ticked(&mut host);
        assert_eq!(said(&polling(&mut host).1).epoch, 7);
    }
    sound(host.worker(0));
}

#[test]
fn an_answer_that_was_not_held_is_followed_on_the_tick() {
    let mut host = hosts(1);
    told(&mut host, &table(1, &[GENERATION]));
    for status in [204, 503] {
        let (thread, call) = polling(&mut host);
        thread.answer_call(call.token, status, &[FORMAT[0], ("x-forebay-epoch", "1")], b"");
        assert_eq!(polls(&mut host).len(), 0, "after {status} it polls without a pause");
        ticked(&mut host);
    }
    polling(&mut host);
}

#[test]
fn a_poll_whose_thread_lost_its_vm_is_made_by_another_one() {
    let mut host = hosts(2);
    host.tick();
    polling(&mut host).0.trap_next();
    host.tick();
    assert!(polls(&mut host).is_empty(), "its poll outlived it");
    // As long as a poll may take, another thread may not know that it is gone.
    host.advance(Duration::from_secs(4));
    host.tick();
    let (thread, _) = polling(&mut host);
    assert_eq!(thread.traps(), [""; 0]);
    told(&mut host, &table(1, &[GENERATION]));
    miss(host.worker(0), 7);
    hit(host.worker(1), infer(asking(7)));
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
fn a_late_polls_older_table_never_wins() {
    let mut host = hosts(2);
    host.worker(0).tick();
    let late = poll_of(host.worker(0)).expect("it polls");
    // Its turn is over, and another thread's poll brings a newer table.
    host.advance(Duration::from_secs(4));
    host.worker(1).tick();
    let newer = poll_of(host.worker(1)).expect("it polls");
    host.worker(1).answer_call(newer.token, 200, &FORMAT, &table(7, &[OTHER_GENERATION]));
    miss(host.worker(1), 7);
    host.worker(0).answer_call(late.token, 200, &FORMAT, &table(6, &[GENERATION]));
    for number in 0..2 {
        not_given(host.worker(number), 7);
        assert!(poll_of(host.worker(number)).is_none_or(|call| said(&call).epoch == 7), "worker {number}");
    }
    for _ in 0..20 {
        ticked(&mut host);
        for number in 0..2 {
            not_given(host.worker(number), 7);
        }
    }
}

#[test]
fn configurations_with_other_gates_have_a_table_each() {
    let mut host = hosts(1);
    let other =
        host.add_worker(&super::configuration(&json!({"gate": {"cluster": "another"}}))).expect("it starts");
    host.tick();
    let polling: Vec<_> = polls(&mut host).into_iter().map(|(_, call)| (call.cluster, call.token)).collect();
    assert_eq!(polling.len(), 2, "each gate is polled: {polling:?}");
    for (thread, call) in polls(&mut host) {
        let generation = if call.cluster == "gate" { GENERATION } else { OTHER_GENERATION };
        let epoch = if call.cluster == "gate" { 1 } else { 9 };
        thread.answer_call(call.token, 200, &FORMAT, &table(epoch, &[generation]));
    }
    miss(host.worker(0), 7);
    ticked(&mut host);
    hit(host.worker(0), infer(asking(7)));
    // It has the same name for the service, and so the same slots; its gate says otherwise of what may be given.
    not_given(host.worker(other), 7);
    let epochs: Vec<_> =
        polls(&mut host).into_iter().map(|(_, call)| (call.cluster.clone(), said(&call).epoch)).collect();
    assert!(epochs.contains(&("gate".into(), 1)) && epochs.contains(&("another".into(), 9)), "{epochs:?}");
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
fn without_a_table_answers_are_given_only_up_to_the_stated_age() {
    let mut host = hosts(1);
    told(&mut host, &table(1, &[GENERATION]));
    miss(host.worker(0), 7);
    host.advance(Duration::from_secs(20));
    hit(host.worker(0), infer(asking(7)));
    host.advance(Duration::from_secs(11));
    not_given(host.worker(0), 7);
}

#[test]
fn a_gate_that_has_no_table_itself_makes_it_stale() {
    let mut host = hosts(1);
    told(&mut host, &table(1, &[OTHER_GENERATION]));
    miss(host.worker(0), 7);
    for _ in 0..4 {
        unchanged(&mut host, 1);
        not_given(host.worker(0), 7);
    }
    // 503 confirms nothing: after the stated time no table is believed, and the age alone counts.
    for _ in 0..22 {
        let (thread, call) = polling(&mut host);
        thread.answer_call(call.token, 503, &FORMAT, b"");
        ticked(&mut host);
    }
    hit(host.worker(0), infer(asking(7)));
    host.advance(Duration::from_secs(20));
    not_given(host.worker(0), 7);
}

#[test]
fn a_poll_that_fails_in_any_way_leaves_the_last_table_and_no_trap() {
    let mut host = hosts(1);
    told(&mut host, &table(1, &[GENERATION]));
    miss(host.worker(0), 7);
    let wrongs =
        [&b"<html>"[..], b"", b"{}", b"{\"epoch\":2}", b"\xff", &vec![b'['; 100_000], br#"{"format":3}"#];
    for (epoch, wrong) in (2..).zip(wrongs) {
        told(&mut host, wrong);
        hit(host.worker(0), infer(asking(7)));
        told(&mut host, &table(epoch, &[GENERATION]));
    }
    for (epoch, broken) in (20..).zip([Worker::fail as fn(&mut Worker, u32), Worker::time_out]) {
        let (thread, call) = polling(&mut host);
        broken(thread, call.token);
        hit(host.worker(0), infer(asking(7)));
        told(&mut host, &table(epoch, &[GENERATION]));
    }
    sound(host.worker(0));
}

#[test]
fn a_gate_of_another_version_is_counted_and_not_believed() {
    let mut host = hosts(1);
    host.tick();
    for headers in [&[][..], &[("x-forebay-format", "3")], &[("x-forebay-format", "1")]] {
        let (thread, call) = polling(&mut host);
        thread.answer_call(call.token, 200, headers, &table(9, &[GENERATION]));
        assert_eq!(polls(&mut host).len(), 0, "it polls without a pause");
        ticked(&mut host);
    }
    assert_eq!(said(&polling(&mut host).1).epoch, 0);
    assert_eq!(host.metric("forebay_events.event=gate_unknown_format"), 3);
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

/// What the polls and reports of all threads that are under way say.
fn reports(host: &mut Host) -> Vec<(Poll, usize, u32)> {
    let threads = host.threads().enumerate();
    let calls =
        threads.flat_map(|(number, thread)| thread.calls().into_iter().map(move |call| (number, call)));
    let ours = calls.filter(|(_, call)| call.header(":path").as_deref() == Some(POLL_PATH));
    ours.map(|(number, call)| (said(&call), number, call.token)).collect()
}

fn hits(poll: &Poll) -> Vec<(&str, &str, u64, u64)> {
    let saved = poll.report.saved.iter();
    saved.map(|saved| (&*saved.service, &*saved.model, saved.hits, saved.cost_us)).collect()
}

#[test]
fn hits_are_reported_and_said_again_until_the_gate_has_them() {
    let mut host = hosts(1);
    told(&mut host, &table(1, &[GENERATION]));
    let worker = host.worker(0);
    let id = worker.send(infer(asking(7)));
    let call = worker.call_to(LOOKUP_PATH);
    worker.answer_call(call.token, 404, &FORMAT, b"");
    worker.respond(id, 200, &[&FRESH[..], &[("x-forebay-cost-us", "1500")]].concat(), &answering(7));
    for _ in 0..3 {
        hit(worker, infer(asking(7)));
    }
    // The worker does not poll: its report comes by itself.
    host.advance(Duration::from_secs(11));
    host.tick();
    let of_worker = |host: &mut Host| {
        let mut found = reports(host);
        found.retain(|(_, thread, _)| *thread == 1);
        assert_eq!(found.len(), 1, "reports of the worker");
        found.remove(0)
    };
    let (first, _, token) = of_worker(&mut host);
    assert_eq!((hits(&first), first.seq), (vec![("demo", "m", 3, 4500)], 1));
    let tiers: Vec<_> = first.report.trace.iter().map(|trace| (trace.tier, trace.cost_us)).collect();
    assert_eq!(tiers.len(), 4, "{tiers:?}");
    host.worker(0).fail(token);
    hit(host.worker(0), infer(asking(7)));
    host.advance(Duration::from_secs(11));
    host.tick();
    let (again, _, token) = of_worker(&mut host);
    assert_eq!((&again.report, again.seq, again.vm), (&first.report, 1, first.vm));
    host.worker(0).answer_call(token, 503, &FORMAT, b"");
    host.advance(Duration::from_secs(11));
    host.tick();
    let (again, _, token) = of_worker(&mut host);
    assert_eq!((&again.report, again.seq), (&first.report, 1));
    host.worker(0).answer_call(token, 204, &[FORMAT[0], ("x-forebay-epoch", "1")], b"");
    host.advance(Duration::from_secs(11));
    host.tick();
    let (next, _, token) = of_worker(&mut host);
    assert_eq!((hits(&next), next.seq), (vec![("demo", "m", 1, 1500)], 2));
    host.worker(0).answer_call(token, 200, &FORMAT, &table(1, &[GENERATION]));
    host.advance(Duration::from_secs(11));
    host.tick();
    assert!(reports(&mut host).iter().all(|(_, thread, _)| *thread != 1), "it has nothing more to say");
    sound(host.worker(0));
}

#[test]
fn what_each_vm_says_is_told_apart() {
    let mut host = hosts(2);
    host.tick();
    told(&mut host, &table(1, &[GENERATION]));
    for number in 0..2 {
        miss(host.worker(number), i32::try_from(number).expect("small"));
    }
    host.advance(Duration::from_secs(11));
    host.tick();
    let said = reports(&mut host);
    let mut vms: Vec<_> =
        said.iter().filter(|(poll, ..)| !poll.report.is_empty()).map(|(poll, ..)| poll.vm).collect();
    vms.sort_unstable();
    vms.dedup();
    assert_eq!(vms.len(), 2, "{said:?}");
    assert!(said.iter().all(|(poll, ..)| poll.proxy == said[0].0.proxy));
}
