//! The host itself, with a filter that does what filters must not.

use e2e::wasm_host::{Host, MEMORY_LIMIT_BYTES, Request, StreamId};
use std::path::{Path, PathBuf};

fn module(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wasm").join(name)
}

/// `requests` held requests, and a tick in which the filter replies to `hundreds` * 100 of them.
fn ticked(requests: usize, hundreds: u8) -> (Host, Vec<StreamId>) {
    let mut host = Host::load(&module("overflowing.wat"), &hundreds.to_string()).expect("it starts");
    let held = (0..requests).map(|_| host.worker(0).send(Request::post("/"))).collect();
    host.worker(0).tick();
    (host, held)
}

#[test]
fn a_hundred_replies_in_one_callback_nest_and_are_sent() {
    let (mut host, held) = ticked(100, 1);
    let worker = host.worker(0);
    assert_eq!(worker.traps(), [""; 0]);
    assert!(held.iter().all(|id| worker.response(*id).status == 200));
    assert!(worker.deepest() >= 100, "{}", worker.deepest());
}

#[test]
fn too_many_replies_in_one_callback_overflow_the_stack() {
    let (mut host, _) = ticked(400, 4);
    let traps = host.worker(0).traps();
    assert!(traps.len() == 1 && traps[0].contains("stack overflow"), "{traps:?}");
}

#[test]
fn a_context_that_is_gone_is_refused() {
    let (mut host, held) = ticked(99, 1);
    assert_eq!(host.worker(0).traps().len(), 1);
    assert!(held.iter().all(|id| host.worker(0).answer(*id).is_none()), "a dead VM's replies were sent");
}

#[test]
fn a_vms_memory_grows_to_envoys_limit_and_no_further() {
    let mut host = Host::load(&module("growing.wat"), "").expect("it starts");
    let worker = host.worker(0);
    let held = worker.send(Request::post("/"));
    let most = std::iter::from_fn(|| {
        worker.tick();
        (worker.traps().is_empty()).then(|| worker.memory_bytes())
    });
    assert_eq!(most.last(), Some(MEMORY_LIMIT_BYTES));
    assert!(worker.traps()[0].contains("unreachable"), "{:?}", worker.traps());
    assert!(worker.is_held(held) && worker.answer(held).is_none(), "nobody ends a stream of a dead VM");
    // The next request's VM begins anew, with a memory of its own.
    let next = worker.send(Request::post("/"));
    assert!(worker.is_held(next) && worker.memory_bytes() < MEMORY_LIMIT_BYTES);
    worker.idle(held);
    worker.idle(next);
    assert_eq!((worker.response(held).status, worker.response(next).status), (503, 504));
}

#[test]
fn the_main_thread_ticks_and_shares_and_its_dead_vm_stays_dead() {
    let (mut host, held) = ticked(100, 1);
    assert!(held.iter().all(|id| host.worker(0).response(*id).status == 200));
    // Its tick replies too, to streams that it never had.
    host.main().tick();
    host.main().tick();
    assert_eq!(host.main().traps().len(), 1);
    host.worker(0).send(Request::post("/"));
    assert_eq!(host.worker(0).traps(), [""; 0]);
}

#[test]
#[should_panic(expected = "the main thread has no streams")]
fn a_request_to_the_main_thread_is_a_mistake() {
    let mut host = Host::load(&module("growing.wat"), "").expect("it starts");
    host.main().send(Request::post("/"));
}
