//! Equal requests in flight: one goes upstream, the others wait for it, and nobody waits for nothing.

use super::{
    FRESH, UNCACHEABLE, answering, answering_as, asking, asking_as, forwarded, hit, host, infer, sound,
};
use e2e::wasm_host::{Host, StreamId, Worker};
use serde_json::json;
use std::time::Duration;

/// A leader at the upstream, and `waiters` equal requests that wait for it.
#[track_caller]
fn flight(worker: &mut Worker, waiters: usize) -> (StreamId, Vec<StreamId>) {
    let leader = forwarded(worker, infer(asking(7)));
    let waiting: Vec<StreamId> = (0..waiters).map(|_| worker.send(infer(asking(7)))).collect();
    for id in &waiting {
        assert!(worker.is_held(*id), "{id} does not wait");
    }
    (leader, waiting)
}

/// The waiter that went upstream.
#[track_caller]
fn promoted(worker: &Worker, waiting: &[StreamId]) -> StreamId {
    let gone = round(worker, waiting);
    assert_eq!(gone.len(), 1, "went upstream: {gone:?}");
    gone[0]
}

/// The waiters that went upstream.
fn round(worker: &Worker, waiting: &[StreamId]) -> Vec<StreamId> {
    waiting.iter().copied().filter(|id| worker.forwarded(*id).is_some()).collect()
}

#[track_caller]
fn all_collapsed(worker: &Worker, waiting: &[StreamId], value: i32) {
    for id in waiting {
        let response = worker.response(*id);
        assert_eq!((response.status, &response.body), (200, &answering(value)), "{id}");
        assert_eq!(response.cache_status(), "forebay; fwd=miss; collapsed");
        assert!(worker.forwarded(*id).is_none());
    }
}

#[test]
fn one_goes_upstream_and_all_are_answered() {
    let mut host = host(&json!({}));
    let (leader, waiting) = flight(host.worker(0), 5);
    host.worker(0).respond(leader, 200, &FRESH, &answering(7));
    host.settle();
    all_collapsed(host.worker(0), &waiting, 7);
    hit(host.worker(0), infer(asking(7)));
    sound(host.worker(0));
}

#[test]
fn each_waiter_gets_its_own_id() {
    let mut host = host(&json!({}));
    let worker = host.worker(0);
    let leader = forwarded(worker, infer(asking_as("leader", 7)));
    let ids: Vec<String> = (0..3).map(|number| format!("waiter {number}")).collect();
    let waiting: Vec<_> = ids.iter().map(|id| worker.send(infer(asking_as(id, 7)))).collect();
    let without = worker.send(infer(asking(7)));
    worker.respond(leader, 200, &FRESH, &answering_as("leader", 7));
    host.settle();
    let worker = host.worker(0);
    for (stream, id) in waiting.iter().zip(&ids) {
        assert_eq!(worker.response(*stream).json()["id"], id.as_str());
    }
    assert_eq!(worker.response(without).body, answering(7));
    sound(worker);
}

#[test]
fn a_thousand_waiters_are_answered_in_batches() {
    let mut host = host(&json!({}));
    let (leader, waiting) = flight(host.worker(0), 1000);
    host.worker(0).respond(leader, 200, &FRESH, &answering(7));
    let at_once = waiting.iter().filter(|id| host.worker(0).answer(**id).is_some()).count();
    assert!(at_once <= 64, "{at_once} answered in the leader's callback");
    let wakes = host.settle();
    assert!(wakes >= 1000 / 64, "{wakes} batches");
    all_collapsed(host.worker(0), &waiting, 7);
    sound(host.worker(0));
}

#[test]
fn a_leader_that_goes_away_is_followed_by_the_next() {
    let mut host = host(&json!({}));
    let (leader, waiting) = flight(host.worker(0), 3);
    host.worker(0).abort(leader);
    host.settle();
    let worker = host.worker(0);
    let next = promoted(worker, &waiting);
    assert_eq!(worker.forwarded(next).map(|seen| seen.body.clone()), Some(asking(7)));
    worker.respond(next, 200, &FRESH, &answering(7));
    assert_eq!(worker.response(next).cache_status(), "forebay; fwd=miss; stored; detail=promoted");
    host.settle();
    let rest: Vec<_> = waiting.into_iter().filter(|id| *id != next).collect();
    all_collapsed(host.worker(0), &rest, 7);
    sound(host.worker(0));
}

#[test]
fn an_answer_broken_off_by_the_upstream_promotes_the_next() {
    let mut host = host(&json!({}));
    let (leader, waiting) = flight(host.worker(0), 2);
    let worker = host.worker(0);
    worker.respond_head(leader, 200, &FRESH, false);
    worker.respond_piece(leader, &answering(7)[..10], false);
    worker.reset(leader);
    host.settle();
    let next = promoted(host.worker(0), &waiting);
    host.worker(0).respond(next, 200, &FRESH, &answering(7));
    host.settle();
    all_collapsed(host.worker(0), &[waiting[1]], 7);
    sound(host.worker(0));
}

#[test]
fn leaders_that_go_away_round_after_round_lose_nobody() {
    let mut host = host(&json!({}));
    // 1 + 2 + … + 64, and one more.
    let (leader, mut waiting) = flight(host.worker(0), 128);
    host.worker(0).abort(leader);
    while waiting.len() > 1 {
        host.settle();
        let next = round(host.worker(0), &waiting);
        assert!(!next.is_empty(), "{} wait for nobody", waiting.len());
        waiting.retain(|id| !next.contains(id));
        for id in next {
            host.worker(0).abort(id);
        }
    }
    host.settle();
    let last = promoted(host.worker(0), &waiting);
    host.worker(0).respond(last, 200, &FRESH, &answering(7));
    assert_eq!(host.worker(0).response(last).body, answering(7));
    hit(host.worker(0), infer(asking(7)));
    sound(host.worker(0));
}

#[test]
fn waiters_that_go_away_are_forgotten() {
    let mut host = host(&json!({}));
    let (leader, waiting) = flight(host.worker(0), 4);
    host.worker(0).abort(waiting[0]);
    host.worker(0).abort(waiting[2]);
    host.worker(0).respond(leader, 200, &FRESH, &answering(7));
    host.settle();
    all_collapsed(host.worker(0), &[waiting[1], waiting[3]], 7);
    assert_eq!(host.metric("forebay_waiters"), 0);
    assert_eq!(host.metric("forebay_waiter_bytes"), 0);
    sound(host.worker(0));
}

/// All `waiting` went upstream, and none waits for another.
#[track_caller]
fn all_freed(host: &mut Host, waiting: &[StreamId]) {
    host.settle();
    let worker = host.worker(0);
    for id in waiting {
        assert!(worker.forwarded(*id).is_some(), "{id} still waits: {:?}", worker.answer(*id));
        worker.respond(*id, 200, &UNCACHEABLE, &answering(9));
        assert_eq!(worker.response(*id).body, answering(9));
    }
    sound(worker);
}

#[test]
fn an_uncacheable_answer_frees_all_at_its_headers_and_is_remembered() {
    let mut host = host(&json!({}));
    let (leader, waiting) = flight(host.worker(0), 100);
    host.worker(0).respond_head(leader, 200, &UNCACHEABLE, false);
    all_freed(&mut host, &waiting);
    host.worker(0).respond_piece(leader, &answering(7), true);
    let worker = host.worker(0);
    let one = forwarded(worker, infer(asking(7)));
    let two = forwarded(worker, infer(asking(7)));
    worker.respond(one, 200, &UNCACHEABLE, &answering(7));
    assert!(worker.response(one).cache_status().contains("detail=unshareable"));
    worker.respond(two, 200, &UNCACHEABLE, &answering(7));
    host.advance(Duration::from_mins(1));
    let worker = host.worker(0);
    forwarded(worker, infer(asking(7)));
    let again = worker.send(infer(asking(7)));
    assert!(worker.is_held(again), "it is remembered for ever");
    sound(worker);
}

/// One of `waiting` went upstream, and its answer is for the others.
#[track_caller]
fn one_followed(host: &mut Host, waiting: &[StreamId]) {
    host.settle();
    let next = promoted(host.worker(0), waiting);
    host.worker(0).respond(next, 200, &FRESH, &answering(7));
    let status = host.worker(0).response(next).cache_status();
    assert_eq!(status, "forebay; fwd=miss; stored; detail=promoted");
    host.settle();
    let rest: Vec<_> = waiting.iter().copied().filter(|id| *id != next).collect();
    all_collapsed(host.worker(0), &rest, 7);
    sound(host.worker(0));
}

#[test]
fn a_failed_answer_promotes_one_and_the_others_go_on_waiting() {
    for status in [400, 404, 429, 500, 502, 503, 504] {
        let mut host = host(&json!({}));
        let (leader, waiting) = flight(host.worker(0), 3);
        host.worker(0).respond(leader, status, &[("content-type", "application/json")], br#"{"error":"no"}"#);
        one_followed(&mut host, &waiting);
    }
}

#[test]
fn an_upstream_that_always_fails_gets_rounds_that_double() {
    let mut host = host(&json!({}));
    let (leader, mut waiting) = flight(host.worker(0), 20);
    host.worker(0).respond(leader, 503, &[], b"overloaded");
    for many in [1, 2, 4, 8, 5] {
        host.settle();
        let next = round(host.worker(0), &waiting);
        assert_eq!(next.len(), many);
        for id in &next {
            host.worker(0).respond(*id, 503, &[], b"overloaded");
        }
        waiting.retain(|id| !next.contains(id));
    }
    assert!(waiting.is_empty());
    assert_eq!(host.metric("forebay_waiters"), 0);
    sound(host.worker(0));
}

#[test]
fn an_answer_that_outgrows_an_entry_frees_all_at_once() {
    let mut host = host(&json!({"l1": {"max_entry_bytes": 100}}));
    let (leader, waiting) = flight(host.worker(0), 3);
    host.worker(0).respond_head(leader, 200, &FRESH, false);
    host.worker(0).respond_piece(leader, &[b'x'; 101], false);
    all_freed(&mut host, &waiting);
}

#[test]
fn an_answer_cut_short_promotes_one() {
    let mut host = host(&json!({}));
    let (leader, waiting) = flight(host.worker(0), 3);
    let headers = [&FRESH[..], &[("content-length", "5000")]].concat();
    host.worker(0).respond_head(leader, 200, &headers, false);
    host.worker(0).respond_piece(leader, &answering(7), true);
    one_followed(&mut host, &waiting);
}

#[test]
fn waiters_are_bounded_in_count() {
    let mut host = host(&json!({"join": {"max_waiters": 2}}));
    let (leader, waiting) = flight(host.worker(0), 2);
    let worker = host.worker(0);
    let more = forwarded(worker, infer(asking(7)));
    worker.respond(more, 200, &FRESH, &answering(7));
    let status = worker.response(more).cache_status();
    assert_eq!(status, "forebay; fwd=miss; stored; detail=too-many-waiters");
    worker.respond(leader, 200, &FRESH, &answering(7));
    host.settle();
    all_collapsed(host.worker(0), &waiting, 7);
    sound(host.worker(0));
}

#[test]
fn waiters_are_bounded_in_bytes() {
    let bytes = asking(7).len();
    let mut host = host(&json!({"join": {"max_waiter_bytes": 2 * bytes}}));
    let (_, _) = flight(host.worker(0), 2);
    forwarded(host.worker(0), infer(asking(7)));
    assert_eq!(host.metric("forebay_waiter_bytes"), 2 * bytes as u64);
    sound(host.worker(0));
}

#[test]
fn after_a_leader_that_takes_too_long_one_is_sent_then_who_waited_twice_as_long_and_its_late_answer_counts() {
    let mut host = host(&json!({"join": {"timeout_ms": 1000}}));
    let (leader, first) = flight(host.worker(0), 100);
    host.advance(Duration::from_millis(999));
    host.tick();
    assert!(first.iter().all(|id| host.worker(0).is_held(*id)));
    host.advance(Duration::from_millis(1));
    host.tick();
    host.settle();
    promoted(host.worker(0), &first);
    let mut waiting: Vec<_> = (0..10).map(|_| host.worker(0).send(infer(asking(7)))).collect();
    host.advance(Duration::from_secs(1));
    host.tick();
    host.settle();
    let mut sent = round(host.worker(0), &first);
    assert_eq!(sent.len(), first.len(), "all who waited twice as long");
    let next = round(host.worker(0), &waiting);
    assert_eq!(next.len(), 2, "the next round, of those who came later");
    waiting.retain(|id| !next.contains(id));
    sent.extend(next);
    host.worker(0).respond(leader, 200, &FRESH, &answering(7));
    host.settle();
    all_collapsed(host.worker(0), &waiting, 7);
    for id in sent {
        let worker = host.worker(0);
        worker.respond(id, 200, &FRESH, &answering(7));
        assert!(worker.response(id).cache_status().ends_with("detail=waited-too-long"));
    }
    hit(host.worker(0), infer(asking(7)));
    sound(host.worker(0));
}

#[test]
fn other_values_and_no_cache_do_not_wait() {
    let mut host = host(&json!({}));
    let worker = host.worker(0);
    flight(worker, 1);
    forwarded(worker, infer(asking(8)));
    forwarded(worker, infer(asking(7)).header("cache-control", "no-cache"));
    sound(worker);
}

#[test]
fn another_encoding_waits_and_is_sent_next_when_the_leaders_bytes_do_not_suit_it() {
    let mut host = host(&json!({}));
    let wants_binary = json!({
        "inputs": [{"name": "x", "shape": [1, 1], "datatype": "INT32", "data": [7]}],
        "parameters": {"binary_data_output": true}
    });
    let worker = host.worker(0);
    let (leader, waiting) = flight(worker, 2);
    let binary: Vec<_> = (0..3).map(|_| worker.send(infer(wants_binary.to_string()))).collect();
    worker.respond(leader, 200, &FRESH, &answering(7));
    host.settle();
    all_collapsed(host.worker(0), &waiting, 7);
    let next = promoted(host.worker(0), &binary);
    host.worker(0).respond(next, 200, &FRESH, &answering(70));
    assert!(host.worker(0).response(next).cache_status().ends_with("; stored; detail=unsuited"));
    host.settle();
    all_collapsed(host.worker(0), &binary[1..], 70);
    sound(host.worker(0));
}

#[test]
fn a_client_that_refuses_old_answers_still_joins_a_new_one() {
    let mut host = host(&json!({}));
    let worker = host.worker(0);
    let leader = forwarded(worker, infer(asking(7)));
    let fresh = worker.send(infer(asking(7)).header("cache-control", "max-age=0"));
    if worker.forwarded(fresh).is_none() {
        worker.respond(leader, 200, &FRESH, &answering(7));
        host.settle();
        all_collapsed(host.worker(0), &[fresh], 7);
    }
    sound(host.worker(0));
}
