//! An upstream that says neither how long its answers may be kept nor who computed them: the operator's word, by model.

use super::*;
use crate::config::Config;

const SILENT: [(&str, &str); 1] = [(":status", "200")];
const GATE: &str = r#", "gate": {"cluster": "g"}"#;

/// A policy of that service's model, in that word.
fn policy((service, model, word): (&str, &str, &str)) -> String {
    let policy = format!(r#"{{"generation": "{word}", "max_age_s": 5}}"#);
    format!(
        r#", "routes": {{"r": {{"service": "other"}}}}, "policies": {{"{service}": {{"{model}": {policy}}}}}"#
    )
}

fn with_policy(more: &str, listed: (&str, &str, &str)) -> World {
    World::new(&format!("{more}{}", policy(listed)))
}

/// Asks, and gives that answer if it isn't a hit: what is told, as a hit or a miss.
fn told(world: &mut World, headers: &[(&str, &str)]) -> String {
    let (mut exchange, acts) = world.asks(BODY);
    if let Some((status, _)) = hit(&acts) {
        return status;
    }
    if acts != Acts::go() {
        world.gate_says(&mut exchange, "404", b"");
    }
    world.answers(&mut exchange, headers, ANSWER)
}

#[test]
fn a_model_that_the_operator_lists_is_kept_for_as_long_as_that_says() {
    let mut world = with_policy("", ("demo", "m", "monday"));
    assert_eq!(told(&mut world, &SILENT), "forebay; fwd=miss");
    assert_eq!(told(&mut world, &SILENT), "forebay; hit; ttl=5; detail=raw");
    world.host.now_ms.set(NOW_MS + 5000);
    assert_eq!(told(&mut world, &SILENT), "forebay; fwd=stale");
}

#[test]
fn no_other_model_is_and_no_other_services_and_no_other_status() {
    for listed in [("demo", "n", "monday"), ("other", "m", "monday")] {
        let mut world = with_policy("", listed);
        assert_eq!(told(&mut world, &SILENT), "forebay; fwd=miss; detail=uncacheable", "{listed:?}");
    }
    let mut world = with_policy("", ("demo", "m", "monday"));
    for status in ["400", "500", "203"] {
        assert_eq!(told(&mut world, &[(":status", status)]), "forebay; fwd=miss; detail=status");
    }
}

#[test]
fn what_the_upstream_says_itself_goes_before_it() {
    for said in [("cache-control", "no-store"), ("x-forebay-generation", GENERATION)] {
        let mut world = with_policy("", ("demo", "m", "monday"));
        let headers = [SILENT[0], said];
        assert_eq!(told(&mut world, &headers), "forebay; fwd=miss; detail=uncacheable", "{said:?}");
    }
    let mut world = with_policy("", ("demo", "m", "monday"));
    assert_eq!(told(&mut world, &FRESH), "forebay; fwd=miss");
    assert_eq!(told(&mut world, &FRESH), "forebay; hit; ttl=60; detail=raw");
}

#[test]
fn a_request_with_an_authorization_is_not_kept_and_finds_nothing() {
    let mut world = with_policy("", ("demo", "m", "monday"));
    let authorized = [("authorization", "Bearer x")];
    let (mut exchange, _) = world.asks_with(&authorized, BODY);
    assert_eq!(world.answers(&mut exchange, &SILENT, ANSWER), "forebay; fwd=miss; detail=authorized");
    assert_eq!(told(&mut world, &SILENT), "forebay; fwd=miss");
    assert_eq!(hit(&world.asks_with(&authorized, BODY).1), None);
}

#[test]
fn another_word_or_none_is_the_end_of_what_was_kept_also_in_the_slots_of_the_proxy() {
    let mut world = with_policy("", ("demo", "m", "monday"));
    told(&mut world, &SILENT);
    assert!(told(&mut world, &SILENT).contains("hit"), "used again, it is in the slots");
    for (settings, expected) in [
        (policy(("demo", "m", "monday")), Some("forebay; hit; ttl=5; detail=shared")),
        (policy(("demo", "m", "tuesday")), None),
        (String::new(), None),
    ] {
        // The proxy gets other settings: what is shared by its workers stays.
        let config = format!(r#"{{"service": "demo"{settings}}}"#);
        world.worker = Worker::new(Config::parse(config.as_bytes()).unwrap());
        world.worker.on_start(&world.host, 1);
        let given = hit(&world.asks(BODY).1).map(|(status, _)| status);
        assert_eq!(given.as_deref(), expected, "{settings}");
    }
}

#[test]
fn a_gate_that_lists_no_such_model_is_not_asked_for_it_and_does_not_forbid_it() {
    let mut world = with_policy(GATE, ("demo", "m", "monday"));
    assert_eq!(told(&mut world, &SILENT), "forebay; fwd=miss");
    assert_eq!(told(&mut world, &SILENT), "forebay; hit; ttl=5; detail=raw");
}
