//! Who may share an answer: tenants, and requests with `Authorization` or `Cookie`.

use super::{FRESH, GENERATION, answering, asking, forwarded, hit, host, infer, sound};
use e2e::wasm_host::{Request, Worker};
use serde_json::json;

const SAN: &str = "connection.uri_san_peer_certificate";

#[test]
fn tenants_never_see_each_others_hits() {
    let property = json!({"property": ["connection", "uri_san_peer_certificate"]});
    let mut host = host(&json!({"tenancy": "required", "tenant": property}));
    let worker = host.worker(0);
    let from = |who: &str| infer(asking(7)).property(SAN, who);
    let first = forwarded(worker, from("spiffe://a"));
    worker.respond(first, 200, &FRESH, &answering(7));
    hit(worker, from("spiffe://a"));
    let other = forwarded(worker, from("spiffe://b"));
    worker.reset(other);
    sound(worker);
}

#[test]
fn without_a_proven_tenant_nothing_is_looked_up_or_stored_and_the_upstream_is_told() {
    let property = json!({"property": ["connection", "uri_san_peer_certificate"]});
    let mut host = host(&json!({"tenancy": "required", "tenant": property}));
    let worker = host.worker(0);
    let with = |who: &str| infer(asking(7)).property(SAN, who);
    let long = "a".repeat(257);
    let known = forwarded(worker, with("a"));
    worker.respond(known, 200, &FRESH, &answering(7));
    let unproven = [
        infer(asking(7)),
        with(""),
        with("a "),
        with(" a"),
        with("a\t"),
        with("a,b"),
        with("\u{7f}"),
        with(&long),
    ];
    for request in unproven.into_iter().flat_map(|request| [request.clone(), request]) {
        let id = forwarded(worker, request);
        let seen = worker.forwarded(id).expect("forwarded");
        assert_eq!(seen.header("x-forebay-tenancy").as_deref(), Some("required"));
        assert_eq!(seen.header("x-forebay-tenant"), None);
        worker.respond(id, 200, &FRESH, &answering(8));
        assert_eq!(worker.response(id).cache_status(), "forebay; fwd=bypass; detail=no-tenant");
    }
    let again = hit(worker, with("a"));
    assert_eq!(worker.response(again).body, answering(7));
    sound(worker);
}

#[test]
fn a_route_can_have_a_tenant_of_its_own() {
    let routes = json!({"b": {"service": "demo", "tenant": "team-b"}, "c": {"service": "demo"}});
    let mut host = host(&json!({"tenancy": "required", "tenant": "team-a", "routes": routes}));
    let worker = host.worker(0);
    let on = |route: &str| infer(asking(7)).property("xds.route_name", route);
    for (route, tenant, value) in [("none", "team-a", 1), ("b", "team-b", 2)] {
        let id = forwarded(worker, on(route));
        let seen = worker.forwarded(id).expect("forwarded");
        assert_eq!(seen.header("x-forebay-tenant").as_deref(), Some(tenant));
        worker.respond(id, 200, &FRESH, &answering(value));
    }
    for (route, value) in [("none", 1), ("b", 2), ("c", 1)] {
        let id = hit(worker, on(route));
        assert_eq!(worker.response(id).body, answering(value), "{route}");
    }
    sound(worker);
}

#[test]
fn a_tenancy_is_a_namespace_of_its_own() {
    // One proxy, one vm_id, the same slots: without tenants, and with one that is named as nothing is.
    let mut host = host(&json!({}));
    let id = forwarded(host.worker(0), infer(asking(7)));
    host.worker(0).respond(id, 200, &FRESH, &answering(7));
    hit(host.worker(0), infer(asking(7)));
    let tenants = super::configuration(&json!({"tenancy": "required", "tenant": "a"}));
    let other = host.add_worker(&tenants).expect("it starts");
    let worker = host.worker(other);
    let id = forwarded(worker, infer(asking(7)));
    worker.respond(id, 200, &FRESH, &answering(8));
    let none = host.add_worker(&super::configuration(&json!({}))).expect("it starts");
    let again = hit(host.worker(none), infer(asking(7)));
    assert_eq!(host.worker(none).response(again).body, answering(7));
}

/// An answer with that `Cache-Control`, and its `Cache-Status`.
#[track_caller]
fn answers(worker: &mut Worker, request: Request, cache_control: &str) -> String {
    let id = forwarded(worker, request);
    let headers = [
        ("content-type", "application/json"),
        ("cache-control", cache_control),
        ("x-forebay-generation", GENERATION),
    ];
    worker.respond(id, 200, &headers, &answering(7));
    worker.response(id).cache_status()
}

#[test]
fn authorization_forbids_a_shared_answer_unless_the_answer_allows_it() {
    let signed = || infer(asking(7)).header("authorization", "Bearer x");
    let mut host = host(&json!({}));
    let worker = host.worker(0);
    for _ in 0..2 {
        assert_eq!(answers(worker, signed(), "max-age=60"), "forebay; fwd=miss; detail=authorized");
    }
    // Kept of a request without it, and not given to one with it.
    assert_eq!(answers(worker, infer(asking(7)), "max-age=60"), "forebay; fwd=miss; stored");
    hit(worker, infer(asking(7)));
    assert_eq!(answers(worker, signed(), "max-age=60"), "forebay; fwd=request; detail=authorization");
    for allows in ["public, max-age=60", "s-maxage=60", "max-age=60, must-revalidate"] {
        let mut host = super::host(&json!({}));
        let worker = host.worker(0);
        assert_eq!(answers(worker, signed(), allows), "forebay; fwd=miss; stored", "{allows}");
        hit(worker, signed());
        hit(worker, infer(asking(7)));
        sound(worker);
    }
    sound(worker);
}

#[test]
fn equal_requests_with_authorization_do_not_wait_for_each_other() {
    let signed = || infer(asking(7)).header("authorization", "Bearer x");
    let mut host = host(&json!({}));
    let worker = host.worker(0);
    let leader = forwarded(worker, infer(asking(7)));
    let (one, two) = (forwarded(worker, signed()), forwarded(worker, signed()));
    for id in [leader, one, two] {
        worker.respond(id, 200, &FRESH, &answering(7));
    }
    sound(worker);
}

#[test]
fn authorization_that_was_checked_before_or_names_the_tenant_changes_nothing() {
    let signed = || infer(asking(7)).header("authorization", "Bearer x").property(SAN, "a");
    let before = json!({"authorization": "checked-before"});
    let property = json!({"property": ["connection", "uri_san_peer_certificate"]});
    let names = json!({"authorization": "names-tenant", "tenancy": "required", "tenant": property});
    for settings in [before, names] {
        let mut host = host(&settings);
        let worker = host.worker(0);
        assert_eq!(answers(worker, signed(), "max-age=60"), "forebay; fwd=miss; stored");
        hit(worker, signed());
        sound(worker);
    }
}

#[test]
fn cookies_change_nothing_unless_the_settings_say_so() {
    let with = || infer(asking(7)).header("cookie", "a=b");
    let mut host = host(&json!({}));
    assert_eq!(answers(host.worker(0), with(), "max-age=60"), "forebay; fwd=miss; stored");
    hit(host.worker(0), with());
    let mut host = super::host(&json!({"cookie": "forbids"}));
    assert_eq!(answers(host.worker(0), with(), "max-age=60"), "forebay; fwd=miss; detail=authorized");
    assert_eq!(answers(host.worker(0), with(), "public, max-age=60"), "forebay; fwd=miss; stored");
    hit(host.worker(0), with());
}
