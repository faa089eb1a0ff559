//! Who may share results: tenants, and what requests carry that forbids it.

use super::*;
use crate::config::Config;

fn said(flow: Acts, tenant: Option<&str>) -> Acts {
    let flow = flow.and(Act::SetRequestHeader { name: "x-forebay-tenancy", value: "required".into() });
    match tenant {
        Some(tenant) => flow.and(Act::SetRequestHeader { name: "x-forebay-tenant", value: tenant.into() }),
        None => flow,
    }
}

const FIXED: &str = r#", "tenancy": "required", "tenant": "acme""#;
const PROPERTY: &str = r#", "tenancy": "required", "tenant": {"property": ["a", "b"]}"#;

impl World {
    fn of_tenant(&mut self, tenant: &str) {
        self.host.properties.borrow_mut().insert("a.b".into(), tenant.as_bytes().to_vec());
    }
}

#[test]
fn on_whose_behalf_is_said_with_the_headers_whatever_becomes_of_the_request() {
    let mut world = World::new(&format!(r#"{FIXED}, "gate": {{"cluster": "gate", "skip_models": ["m"]}}"#));
    let acme = |flow| said(flow, Some("acme"));
    assert_eq!(world.opens(&[("cache-control", "no-store")]).1, acme(Acts::go()), "bypassed");
    assert_eq!(world.opens(&[]).1, acme(Acts::hold()), "held: whatever lets it go on later");
    let mut exchange = Exchange::new(1);
    world.host.shows(Of::Request, &[(":method", "POST"), (":path", "/v1/models/m:predict")], b"");
    let acts = exchange.on_request_headers(&mut world.worker, &world.host, false);
    assert_eq!(acts, acme(Acts::go()), "what only passes");
}

#[test]
fn tenants_do_not_share_and_who_has_none_passes_uncached() {
    let mut world = World::new(PROPERTY);
    world.of_tenant("a");
    let (mut exchange, _) = world.asks(BODY);
    world.answers(&mut exchange, &FRESH, ANSWER);
    assert!(hit(&world.asks(BODY).1).is_some());
    world.of_tenant("b");
    assert_eq!(hit(&world.asks(BODY).1), None);
    for none in ["", "a ", " a", "a\t", "a\u{1}", "a,b"] {
        world.of_tenant(none);
        let (mut exchange, acts) = world.opens(&[]);
        assert_eq!(acts, said(Acts::go(), None), "{none:?}");
        assert_eq!(world.begins(&mut exchange, &FRESH).0, "forebay; fwd=bypass; detail=no-tenant");
    }
}

#[test]
fn a_lookup_names_the_tenant_and_shows_no_credential() {
    let mut world = World::new(&format!(r#"{FIXED}, "gate": {{"cluster": "outbound|1||gate.ns"}}"#));
    let acts = world.asks(BODY).1;
    let call = call(&acts).unwrap();
    assert_eq!(call.authority, "gate.ns");
    assert!(call.headers.contains(&("x-forebay-tenant".into(), "acme".into())), "{call:?}");
    assert!(call.headers.iter().all(|(name, _)| *name != "x-forebay-token"), "{call:?}");
}

#[test]
fn authorization_is_answered_only_with_what_is_for_all() {
    let bearer = [("authorization", "Bearer x")];
    let public = [("cache-control", "max-age=60, public"), (":status", "200")];
    for (headers, shared) in [(&FRESH, false), (&public, true)] {
        let mut world = World::new("");
        let (mut exchange, _) = world.asks_with(&bearer, BODY);
        let told = world.answers(&mut exchange, headers, ANSWER);
        assert_eq!(told.ends_with("detail=authorized"), !shared, "{told}");
        let (mut exchange, acts) = world.asks(BODY);
        assert_eq!(hit(&acts).is_some(), shared, "what came of it");
        world.answers(&mut exchange, headers, ANSWER);
        let (mut exchange, acts) = world.asks_with(&bearer, SPACED);
        assert_eq!(hit(&acts).is_some(), shared, "what is kept");
        if !shared {
            let told = world.answers(&mut exchange, headers, ANSWER);
            assert_eq!(told, "forebay; fwd=request; detail=authorization");
        }
    }
}

#[test]
fn what_is_restricted_neither_waits_nor_is_waited_for() {
    let mut world = World::new("");
    let bearer = [("authorization", "Bearer x")];
    assert_eq!(world.asks_with(&bearer, BODY).1, Acts::go());
    assert_eq!(world.asks(BODY).1, Acts::go(), "leads: nobody did before");
    assert_eq!(world.asks_with(&bearer, BODY).1, Acts::go());
}

#[test]
fn the_settings_say_what_authorization_and_cookies_mean() {
    for (settings, header, shared) in [
        (r#", "authorization": "checked-before""#, "authorization", true),
        (&*format!(r#"{PROPERTY}, "authorization": "names-tenant""#), "authorization", true),
        ("", "cookie", true),
        (r#", "cookie": "forbids""#, "cookie", false),
    ] {
        let mut world = World::new(settings);
        world.of_tenant("a");
        let (mut exchange, _) = world.asks_with(&[(header, "x")], BODY);
        world.answers(&mut exchange, &FRESH, ANSWER);
        assert_eq!(hit(&world.asks_with(&[(header, "y")], BODY).1).is_some(), shared, "{settings} {header}");
    }
}

#[test]
fn a_filter_without_usable_settings_passes_all_and_still_takes_off_what_is_forged() {
    let mut world = World::new("");
    world.worker = Worker::new(Config::passing());
    let (mut exchange, acts) = world.opens(&[("x-forebay-tenant", "forged")]);
    assert_eq!(acts, Acts::go().and(Act::RemoveRequestHeader { name: "x-forebay-tenant".into() }));
    assert_eq!(world.begins(&mut exchange, &FRESH), (String::new(), false));
}
