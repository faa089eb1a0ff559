//! What a request's `Cache-Control` does (RFC 9111).

use super::{FRESH, answered, answering, asking, bypassed, forwarded, hit, host, infer, miss, sound};
use e2e::wasm_host::Request;
use serde_json::json;
use std::time::Duration;

fn with(directive: &str) -> Request {
    infer(asking(7)).header("cache-control", directive)
}

#[test]
fn no_store_passes_unlooked_at_and_is_not_stored() {
    let mut host = host(&json!({}));
    let worker = host.worker(0);
    bypassed(worker, with("no-store"), "no-store");
    let id = forwarded(worker, infer(asking(7)));
    worker.respond(id, 200, &FRESH, &answering(7));
    bypassed(worker, with("No-Store"), "no-store");
    sound(worker);
}

#[test]
fn no_cache_goes_upstream_and_refreshes_what_is_stored() {
    let mut host = host(&json!({}));
    let worker = host.worker(0);
    miss(worker, 7);
    let id = forwarded(worker, with("no-cache"));
    worker.respond(id, 200, &FRESH, &answering(8));
    assert_eq!(worker.response(id).cache_status(), "forebay; fwd=request; stored");
    let again = hit(worker, infer(asking(7)));
    assert_eq!(worker.response(again).body, answering(8));
    sound(worker);
}

#[test]
fn max_age_refuses_what_is_older() {
    let mut host = host(&json!({}));
    miss(host.worker(0), 7);
    host.advance(Duration::from_secs(10));
    let worker = host.worker(0);
    hit(worker, with("max-age=10"));
    let id = forwarded(worker, with("max-age=9"));
    worker.respond(id, 200, &FRESH, &answering(7));
    assert_eq!(worker.response(id).cache_status(), "forebay; fwd=request; stored");
    sound(worker);
}

#[test]
fn only_if_cached_is_a_hit_or_a_504_in_v2_words() {
    let mut host = host(&json!({}));
    let worker = host.worker(0);
    let (id, status) = answered(worker, with("only-if-cached"));
    let response = worker.response(id);
    assert_eq!((response.status, status.as_str()), (504, "forebay; fwd=miss; detail=only-if-cached"));
    assert!(response.json()["error"].as_str().is_some_and(|error| error.contains("only-if-cached")));
    miss(worker, 7);
    hit(worker, with("only-if-cached"));
    sound(worker);
}

#[test]
fn a_504_for_only_if_cached_leaves_no_one_waiting() {
    let mut host = host(&json!({}));
    let worker = host.worker(0);
    let leader = forwarded(worker, infer(asking(7)));
    let (id, _) = answered(worker, with("only-if-cached"));
    assert_eq!(worker.response(id).status, 504);
    worker.respond(leader, 200, &FRESH, &answering(7));
    hit(worker, with("only-if-cached"));
    sound(worker);
}

#[test]
fn what_is_no_directive_changes_nothing() {
    let mut host = host(&json!({}));
    let worker = host.worker(0);
    miss(worker, 7);
    for odd in ["max-age=soon", "no-storex", "", ",,,", "max-stale=99", "x=\"no-store\""] {
        hit(worker, with(odd));
    }
    sound(worker);
}

#[test]
fn what_is_not_text_forbids_what_it_might() {
    let mut host = host(&json!({}));
    let worker = host.worker(0);
    miss(worker, 7);
    let odd = infer(asking(7)).header("cache-control", b"no-store, x=\xff");
    let id = forwarded(worker, odd);
    worker.respond(id, 200, &FRESH, &answering(7));
    assert_eq!(worker.response(id).cache_status(), "forebay; fwd=bypass; detail=no-store");
    sound(worker);
}

#[test]
fn min_fresh_refuses_what_is_about_to_end() {
    let mut host = host(&json!({}));
    miss(host.worker(0), 7);
    host.advance(Duration::from_secs(10));
    let worker = host.worker(0);
    hit(worker, with("min-fresh=50"));
    hit(worker, with("min-fresh=50"));
    let id = forwarded(worker, with("min-fresh=51"));
    worker.respond(id, 200, &FRESH, &answering(7));
    assert_eq!(worker.response(id).cache_status(), "forebay; fwd=request; stored");
    sound(worker);
}

#[test]
fn a_stale_answer_in_one_worker_does_not_hide_the_fresh_one_of_another() {
    let mut host = super::hosts(&json!({}), 2);
    for number in 0..2 {
        let worker = host.worker(number);
        let id = worker.send(infer(asking(7)));
        if worker.forwarded(id).is_some() {
            worker.respond(id, 200, &FRESH, &answering(7));
        }
    }
    host.advance(Duration::from_secs(61));
    let stale = miss(host.worker(0), 7);
    assert_eq!(host.worker(0).response(stale).cache_status(), "forebay; fwd=stale; stored");
    hit(host.worker(1), infer(asking(7)));
}
