//! Which thread polls the gate, when, and what comes of an answer that is late, broken or of another version.

use super::live::{hosts, miss, not_given, poll_of, polling, polls, said, table, ticked, told, unchanged};
use super::{FORMAT, GENERATION, OTHER_GENERATION, asking, hit, infer, sound};
use e2e::wasm_host::Worker;
use serde_json::json;
use std::time::Duration;

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
    hit(host.worker(0), infer(asking(7)));
    hit(host.worker(1), infer(asking(7)));
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
