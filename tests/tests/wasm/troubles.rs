//! No trouble with the gate is the client's: what is late, broken, refused or too old goes upstream.

use super::gate::{NOW_MS, asks, entry, host, went_on};
use super::{FORMAT, FRESH, answering, asking, forwarded, hit, infer, sound};
use e2e::wasm_host::Worker;
use forebay_protocol::entry::Entry;
use forebay_protocol::gate::LOOKUP_PATH;
use std::time::Duration;

#[test]
fn a_miss_a_timeout_a_broken_answer_and_garbage_all_go_upstream() {
    type Trouble = fn(&mut Worker, u32);
    let troubles: [(&str, Trouble); 9] = [
        ("miss", |worker, token| worker.answer_call(token, 404, &FORMAT, b"")),
        ("timeout", Worker::time_out),
        ("broken off", Worker::fail),
        ("unreachable", |worker, token| worker.answer_call(token, 503, &[], b"no healthy upstream")),
        ("unauthorized", |worker, token| worker.answer_call(token, 401, &FORMAT, br#"{"error":"token"}"#)),
        ("garbage", |worker, token| worker.answer_call(token, 200, &FORMAT, b"\xff\xff\xff\xff")),
        ("empty", |worker, token| worker.answer_call(token, 200, &FORMAT, b"")),
        ("cut short", |worker, token| {
            let entry = entry(7);
            worker.answer_call(token, 200, &FORMAT, &entry[..entry.len() - 8]);
        }),
        ("a page", |worker, token| worker.answer_call(token, 200, &FORMAT, &vec![b'<'; 100_000])),
    ];
    for (name, trouble) in troubles {
        let mut host = host();
        let worker = host.worker(0);
        let (id, call) = asks(worker, infer(asking(7)));
        trouble(worker, call.token);
        assert_eq!(worker.traps(), [""; 0], "{name}");
        let status = went_on(worker, id);
        assert!(status.starts_with("forebay; fwd=miss; stored"), "{name}: {status}");
        hit(worker, infer(asking(7)));
        sound(worker);
    }
}

#[test]
fn what_the_gate_says_is_told_to_who_looks() {
    type Trouble = fn(&mut Worker, u32);
    let troubles: [(&str, Trouble); 6] = [
        ("gate-failed", Worker::time_out),
        ("gate-failed", |worker, token| worker.answer_call(token, 503, &FORMAT, b"")),
        ("gate-refused", |worker, token| worker.answer_call(token, 403, &FORMAT, b"")),
        ("unknown-format", |worker, token| worker.answer_call(token, 404, &[], b"")),
        ("unknown-format", |worker, token| {
            worker.answer_call(token, 200, &[("x-forebay-format", "3")], &entry(7));
        }),
        ("unknown-format", |worker, token| {
            let later = [&b"FBP3"[..], &entry(7)[4..]].concat();
            worker.answer_call(token, 200, &FORMAT, &later);
        }),
    ];
    for (reason, trouble) in troubles {
        let mut host = host();
        let worker = host.worker(0);
        let (id, call) = asks(worker, infer(asking(7)));
        trouble(worker, call.token);
        assert_eq!(went_on(worker, id), format!("forebay; fwd=miss; stored; detail={reason}"));
        sound(worker);
    }
}

#[test]
fn a_gate_that_refuses_is_well_and_is_asked_again() {
    let mut host = host();
    let worker = host.worker(0);
    for value in 0..50 {
        let (id, call) = asks(worker, infer(asking(value)));
        worker.answer_call(call.token, 403, &FORMAT, b"");
        worker.abort(id);
    }
    assert_eq!(host.metric("forebay_events.event=gate_refused"), 50);
    sound(host.worker(0));
}

#[test]
fn an_entry_from_the_future_is_a_miss() {
    let mut ahead = Entry::decode_plain(entry(7).into()).expect("an entry");
    ahead.created_ms = NOW_MS + 3_600_000;
    let mut host = host();
    let worker = host.worker(0);
    let (id, call) = asks(worker, infer(asking(7)));
    worker.answer_call(call.token, 200, &FORMAT, &ahead.encode_plain());
    went_on(worker, id);
    sound(worker);
}

#[test]
fn a_status_that_is_no_number_goes_upstream() {
    let mut host = host();
    let worker = host.worker(0);
    let (id, call) = asks(worker, infer(asking(7)));
    worker.answer_call_raw(call.token, vec![(":status".into(), b"\xff".to_vec())], b"");
    went_on(worker, id);
    sound(worker);
}

#[test]
fn a_stale_entry_or_one_without_an_answer_is_a_miss() {
    let mut old = Entry::decode_plain(entry(7).into()).expect("an entry");
    old.created_ms = NOW_MS - 61_000;
    let mut empty = Entry::decode_plain(entry(7).into()).expect("an entry");
    empty.response = None;
    for wrong in [old, empty] {
        let mut host = host();
        let worker = host.worker(0);
        let (id, call) = asks(worker, infer(asking(7)));
        worker.answer_call(call.token, 200, &FORMAT, &wrong.encode_plain());
        went_on(worker, id);
        sound(worker);
    }
}

#[test]
fn the_breaker_opens_on_failures_in_a_row_and_closes_on_a_success() {
    let mut host = host();
    let fails = |worker: &mut Worker, value: i32| {
        let id = worker.send(infer(asking(value)));
        let asked = worker.is_held(id);
        if asked {
            let call = worker.call_to(LOOKUP_PATH);
            worker.time_out(call.token);
        }
        worker.respond(id, 200, &FRESH, &answering(value));
        asked
    };
    let worker = host.worker(0);
    let asked = (0..50).filter(|value| fails(worker, *value)).count();
    assert!((1..50).contains(&asked), "{asked} lookups of a gate that is down");
    let stays_open = (50..100).filter(|value| fails(worker, *value)).count();
    assert_eq!(stays_open, 0);
    host.advance(Duration::from_mins(1));
    let worker = host.worker(0);
    let (id, call) = asks(worker, infer(asking(7_000)));
    forwarded(worker, infer(asking(7_001)));
    worker.answer_call(call.token, 404, &FORMAT, b"");
    assert!(worker.forwarded(id).is_some());
    asks(worker, infer(asking(7_002)));
    sound(worker);
}

#[test]
fn a_leader_that_goes_away_while_asking_is_followed_by_the_next() {
    let mut host = host();
    let worker = host.worker(0);
    let (leader, _) = asks(worker, infer(asking(7)));
    let waiting = worker.send(infer(asking(7)));
    worker.abort(leader);
    assert_eq!(worker.calls().len(), 0, "its callout outlived it");
    host.settle();
    let worker = host.worker(0);
    if worker.forwarded(waiting).is_none() {
        let call = worker.call_to(LOOKUP_PATH);
        worker.answer_call(call.token, 404, &FORMAT, b"");
    }
    went_on(worker, waiting);
    sound(worker);
}
