//! What only the proxy knows goes up with polls: hits and cost saved, with a trace, each once.

use super::live::{confirmed, hosts, miss, said, table, told};
use super::{FORMAT, FRESH, GENERATION, answering, asking, hit, infer, sound};
use e2e::wasm_host::Host;
use forebay_protocol::gate::{LOOKUP_PATH, POLL_PATH};
use forebay_protocol::poll::Poll;
use std::time::Duration;

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
    confirmed(&mut host, 1);
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
