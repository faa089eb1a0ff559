//! Traps, new VMs, and what is counted.

use super::{FRESH, answering, asking, forwarded, hit, host, hosts, infer, miss, sound};
use serde_json::json;

#[test]
fn what_was_used_again_outlives_a_trap() {
    let mut host = host(&json!({}));
    let worker = host.worker(0);
    miss(worker, 7);
    hit(worker, infer(asking(7)));
    worker.trap_next();
    let lost = worker.send(infer(asking(8)));
    assert_eq!(worker.response(lost).status, 503);
    assert_eq!(worker.traps().len(), 1);
    let again = hit(worker, infer(asking(7)));
    assert!(worker.response(again).cache_status().ends_with("detail=shared"));
    assert_eq!(worker.response(again).body, answering(7));
    assert_eq!(worker.traps().len(), 1);
}

#[test]
fn a_trap_of_one_worker_leaves_the_others_alone() {
    let mut host = hosts(&json!({}), 2);
    let leader = forwarded(host.worker(0), infer(asking(7)));
    let waiting = host.worker(0).send(infer(asking(7)));
    host.worker(1).trap_next();
    host.worker(1).send(infer(asking(8)));
    host.worker(0).respond(leader, 200, &FRESH, &answering(7));
    host.settle();
    assert_eq!(host.worker(0).response(waiting).status, 200);
    sound(host.worker(0));
    hit(host.worker(1), infer(asking(7)));
}

#[test]
fn what_a_lost_vm_held_hangs_until_the_routes_idle_timeout_and_all_else_goes_on() {
    let mut host = host(&json!({}));
    let worker = host.worker(0);
    let leader = forwarded(worker, infer(asking(7)));
    let waiting = [worker.send(infer(asking(7))), worker.send(infer(asking(7)))];
    let half = worker.open(infer(asking(9)));
    worker.trap_next();
    worker.send(infer(asking(8)));
    // The new VM knows none of them, and is not asked about them.
    let next = forwarded(worker, infer(asking(7)));
    worker.respond(leader, 200, &FRESH, &answering(7));
    assert_eq!(worker.response(leader).status, 503);
    worker.body(half, asking(9), true);
    assert_eq!(worker.response(half).status, 503);
    worker.respond(next, 200, &FRESH, &answering(7));
    hit(worker, infer(asking(7)));
    host.tick();
    let worker = host.worker(0);
    for id in waiting {
        assert!(worker.is_held(id) && worker.answer(id).is_none(), "it has an answer");
        worker.idle(id);
        assert_eq!(worker.response(id).status, 503);
    }
    assert_eq!(worker.traps().len(), 1);
}

#[test]
fn a_waiter_that_its_route_ends_leaves_its_flight() {
    let mut host = host(&json!({}));
    let worker = host.worker(0);
    let leader = forwarded(worker, infer(asking(7)));
    let (given_up, waiting) = (worker.send(infer(asking(7))), worker.send(infer(asking(7))));
    worker.idle(given_up);
    assert_eq!(worker.response(given_up).status, 504);
    worker.respond(leader, 200, &FRESH, &answering(7));
    host.settle();
    assert_eq!(host.worker(0).response(waiting).status, 200);
    sound(host.worker(0));
}

#[test]
fn a_new_vm_wakes_its_own_waiters() {
    let mut host = host(&json!({}));
    host.worker(0).trap_next();
    host.worker(0).send(infer(asking(1)));
    let leader = forwarded(host.worker(0), infer(asking(7)));
    let waiting: Vec<_> = (0..200).map(|_| host.worker(0).send(infer(asking(7)))).collect();
    host.worker(0).respond(leader, 200, &FRESH, &answering(7));
    host.settle();
    assert!(waiting.iter().all(|id| host.worker(0).response(*id).status == 200));
    assert_eq!(host.worker(0).traps().len(), 1);
}

#[test]
fn every_request_is_counted_once_by_its_result() {
    let mut host = host(&json!({}));
    let worker = host.worker(0);
    miss(worker, 7);
    hit(worker, infer(asking(7)));
    let spaced = [&asking(7)[..], b" "].concat();
    hit(worker, infer(spaced));
    let leader = forwarded(worker, infer(asking(8)));
    worker.send(infer(asking(8)));
    worker.respond(leader, 200, &FRESH, &answering(8));
    forwarded(worker, infer("{"));
    worker.send(infer(asking(9)).header("cache-control", "only-if-cached"));
    host.settle();
    for (result, count) in
        [("miss", 2), ("hit_raw", 1), ("hit_vm", 1), ("collapsed", 1), ("bypass", 1), ("unsatisfiable", 1)]
    {
        let name = format!("forebay_requests.service=demo.result={result}");
        assert_eq!(host.metric(&name), count, "{result}");
    }
    sound(host.worker(0));
}

#[test]
fn ticks_without_work_do_nothing_wrong() {
    let mut host = hosts(&json!({"gate": {"cluster": "nobody"}}), 2);
    host.worker(0).forget_cluster("nobody");
    host.worker(1).forget_cluster("nobody");
    for _ in 0..20 {
        host.advance(std::time::Duration::from_millis(250));
        host.tick();
    }
    assert_eq!(host.worker(0).tick_ms(), 250);
    sound(host.worker(0));
    sound(host.worker(1));
}
