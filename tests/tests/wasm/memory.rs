//! What one worker holds for requests under way is bounded, whatever is declared, stalled or piled up: a VM that outgrows Envoy's
//! gigabyte is lost, and everybody's requests with it.

use super::{FRESH, answering, asking, forwarded, hit, host, infer, miss, sound};
use e2e::wasm_host::{StreamId, Worker};
use serde_json::json;

const MIB: usize = 1 << 20;
/// As many as held a VM's gigabyte, when a declared length reserved what it said.
const CROWD: i32 = 1021;
/// The default of `max_held_bytes`.
const HELD: usize = 256 * MIB;

/// A crowd of requests, each at the upstream, whose answers of 1 MiB have begun and stall after `sent` bytes in pieces.
fn stalled(worker: &mut Worker, sent: usize, piece: usize) -> Vec<StreamId> {
    let length = MIB.to_string();
    let headers = [&FRESH[..], &[("content-length", length.as_str())]].concat();
    let ids: Vec<_> = (0..CROWD).map(|value| forwarded(worker, infer(asking(value)))).collect();
    for id in &ids {
        worker.respond_head(*id, 200, &headers, false);
    }
    let piece = vec![b' '; piece];
    for _ in 0..sent / piece.len() {
        for id in &ids {
            worker.respond_piece(*id, &piece, false);
        }
    }
    ids
}

/// Others are answered, joined and kept as if nothing were.
#[track_caller]
fn goes_on(worker: &mut Worker, value: i32) {
    let leader = miss(worker, value);
    assert_eq!(worker.response(leader).status, 200);
    hit(worker, infer(asking(value)));
    sound(worker);
}

#[test]
fn a_crowd_of_stalled_answers_of_a_declared_length_takes_nothing() {
    let mut host = host(&json!({}));
    let worker = host.worker(0);
    let before = worker.memory_bytes();
    let ids = stalled(worker, 0, 1);
    assert!(worker.memory_bytes() < before + 16 * MIB, "{} MiB", worker.memory_bytes() / MIB);
    goes_on(worker, 1_000_001);
    for id in ids {
        worker.abort(id);
    }
    assert_eq!(host.metric("forebay_held_bytes"), 0);
}

#[test]
fn a_crowd_of_answers_that_stall_near_their_end_is_held_up_to_the_bound_and_passes_beyond_it() {
    let mut host = host(&json!({}));
    let ids = stalled(host.worker(0), 900 << 10, 60 << 10);
    let held = usize::try_from(host.metric("forebay_held_bytes")).expect("small");
    assert!((HELD / 2..=HELD).contains(&held), "{} MiB are held", held / MIB);
    let worker = host.worker(0);
    // Blocks that grew leave gaps behind them: less than as much again.
    assert!(worker.memory_bytes() < 3 * HELD, "{} MiB", worker.memory_bytes() / MIB);
    goes_on(worker, 1_000_002);
    let rest = vec![b' '; MIB - (900 << 10)];
    for id in &ids {
        worker.respond_piece(*id, &rest, true);
        let response = worker.response(*id);
        assert!(response.ended && response.body.len() == MIB, "a client's answer is cut");
    }
    goes_on(worker, 1_000_003);
    assert_eq!(host.metric("forebay_held_bytes"), 0);
    assert!(host.metric("forebay_events.event=out_of_memory") > 0);
}

#[test]
fn those_who_wait_are_answered_while_the_bound_is_reached() {
    let mut host = host(&json!({"max_held_bytes": 4 * MIB}));
    let worker = host.worker(0);
    let leader = forwarded(worker, infer(asking(2_000_000)));
    let waiting: Vec<_> = (0..100).map(|_| worker.send(infer(asking(2_000_000)))).collect();
    assert!(waiting.iter().all(|id| worker.is_held(*id)));
    stalled(worker, 60 << 10, 60 << 10);
    // There is no room to wait: it goes on alone.
    let large = json!({"inputs": [{"name": "x", "shape": [1, 40_000], "datatype": "INT32", "data": vec![7; 40_000]}]});
    let one = forwarded(worker, infer(large.to_string()));
    let two = forwarded(worker, infer(large.to_string()));
    for id in [one, two] {
        worker.respond(id, 200, &FRESH, &answering(7));
        assert!(
            worker.response(id).cache_status().ends_with("detail=out-of-memory"),
            "{:?}",
            worker.response(id)
        );
    }
    worker.respond(leader, 200, &FRESH, &answering(7));
    host.settle();
    let worker = host.worker(0);
    for id in waiting {
        assert_eq!(worker.response(id).cache_status(), "forebay; fwd=miss; collapsed");
    }
    sound(worker);
}

#[test]
fn the_gauges_of_two_workers_add_up() {
    let mut host = super::hosts(&json!({}), 2);
    for number in 0..2 {
        let worker = host.worker(number);
        forwarded(worker, infer(asking(7)));
        for _ in 0..=number {
            let id = worker.send(infer(asking(7)));
            assert!(worker.is_held(id));
        }
        miss(worker, [8, 9][number]);
    }
    assert_eq!(host.metric("forebay_waiters"), 3);
    let both = host.metric("forebay_l1_vm_bytes");
    let mut alone = super::host(&json!({}));
    miss(alone.worker(0), 8);
    let one = alone.metric("forebay_l1_vm_bytes");
    assert_eq!(both, 2 * one);
    // Other settings take its place.
    host.worker(0).end();
    assert_eq!(host.metric("forebay_l1_vm_bytes"), one);
}
