//! The host itself, with a filter that does what filters must not.

use e2e::wasm_host::{Host, Request, StreamId};
use std::path::Path;

/// `requests` held requests, and a tick in which the filter replies to `hundreds` * 100 of them.
fn ticked(requests: usize, hundreds: u8) -> (Host, Vec<StreamId>) {
    let module = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wasm/overflowing.wat");
    let mut host = Host::load(&module, &hundreds.to_string()).expect("it starts");
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
