//! Shadow mode: looks up and compares, never answers.

use super::{FRESH, answering, asking, forwarded, host, infer, sound};
use serde_json::json;

#[test]
fn every_request_goes_upstream_and_differences_are_counted() {
    let mut host = host(&json!({"mode": "shadow"}));
    for (value, answer) in [(7, 7), (7, 7), (7, 8)] {
        let worker = host.worker(0);
        let id = forwarded(worker, infer(asking(value)));
        worker.respond(id, 200, &FRESH, &answering(answer));
        assert_eq!(worker.response(id).body, answering(answer));
        assert!(!worker.response(id).cache_status().contains("hit"));
    }
    assert_eq!(host.metric("forebay_events.event=shadow_match"), 1);
    assert_eq!(host.metric("forebay_events.event=shadow_mismatch"), 1);
    sound(host.worker(0));
}

#[test]
fn nobody_waits_and_only_if_cached_is_not_obeyed() {
    let mut host = host(&json!({"mode": "shadow"}));
    let worker = host.worker(0);
    forwarded(worker, infer(asking(7)));
    forwarded(worker, infer(asking(7)));
    forwarded(worker, infer(asking(7)).header("cache-control", "only-if-cached"));
    sound(worker);
}

#[test]
fn a_route_can_be_in_shadow_while_others_are_on() {
    let mut host = host(&json!({"routes": {"trial": {"service": "demo", "mode": "shadow"}}}));
    let worker = host.worker(0);
    super::miss(worker, 7);
    super::hit(worker, infer(asking(7)));
    forwarded(worker, infer(asking(7)).property("xds.route_name", "trial"));
    sound(worker);
}
