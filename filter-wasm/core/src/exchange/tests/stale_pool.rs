//! What the pool has and is not fresh any more, to a proxy that has nothing of it.

use super::calls::{body, calls, route_answers};
use super::stale::REFRESH;
use super::*;
use forebay_protocol::entry::Entry;

const NO_BACKEND: &str = "forebay; fwd=stale; detail=no-backend";
const IF_ERROR: &str = "forebay; fwd=stale; detail=stale-if-error";

/// An entry that was fresh until ten seconds ago.
fn stale() -> Vec<u8> {
    let entry = Entry::decode_plain(entry(70).into()).unwrap();
    Entry { stale_if_error_s: 600, ..entry }.encode_plain()
}

impl World {
    /// One whose gate says that no backend is there.
    fn without_backends() -> Self {
        let mut world = Self::new(&format!("{REFRESH}{GATE}"));
        world.hears(&[(":status", "204"), ("x-forebay-epoch", "1"), ("x-forebay-away", "demo")], b"");
        world
    }
}

/// How the response that a backend begins with those headers is replaced, if it is.
fn replaced(world: &mut World, exchange: &mut Exchange, headers: &[(&str, &str)]) -> Option<String> {
    world.host.shows(Of::Response, headers, b"");
    let acts = exchange.on_response_headers(&mut world.worker, &world.host, false);
    hit(&acts).map(|(status, _)| status)
}

#[test]
fn it_is_given_instead_of_an_error_and_not_instead_of_an_answer() {
    for (headers, given) in
        [(&[(":status", "503")][..], Some(IF_ERROR)), (&[(":status", "400")], None), (&FRESH, None)]
    {
        let mut world = World::new(GATE);
        let (mut exchange, _) = world.asks(BODY);
        assert_eq!(world.gate_says(&mut exchange, "200", &stale()), Acts::go());
        assert_eq!(replaced(&mut world, &mut exchange, headers).as_deref(), given);
    }
}

#[test]
fn where_no_backend_is_there_it_is_given_to_all_who_wait_and_kept() {
    let mut world = World::without_backends();
    let (mut first, acts) = world.asks(BODY);
    assert!(call(&acts).is_some());
    let (second, acts) = world.asks(BODY);
    assert_eq!(acts, Acts::hold());
    let acts = world.gate_says(&mut first, "200", &stale());
    let status = acts.list.iter().find_map(|act| match act {
        Act::Answer { reply: Reply::Kept { status, .. }, .. } => Some(status.to_string()),
        _ => None,
    });
    assert_eq!(status.as_deref(), Some(NO_BACKEND));
    assert_eq!(world.wakes(), [(second.context, NO_BACKEND.to_owned())]);
    assert_eq!(hit(&world.asks(WITH_ID).1), Some((NO_BACKEND.into(), "mine")), "the gate is not asked again");
    world.leaves(first);
    world.leaves(second);
    assert_eq!(world.worker.memory.held(), 0);
}

#[test]
fn who_takes_what_is_stale_has_it() {
    let mut world = World::new(GATE);
    let (mut exchange, _) = world.asks_with(&[("cache-control", "max-stale=10")], BODY);
    let acts = world.gate_says(&mut exchange, "200", &stale());
    assert_eq!(hit(&acts), Some(("forebay; hit; ttl=-10; detail=max-stale".into(), "")));
    let (mut exchange, _) =
        World::new(GATE).asks_with(&[("cache-control", "max-stale=9, min-fresh=1")], BODY);
    assert_eq!(world.gate_says(&mut exchange, "200", &stale()), Acts::go());
}

#[test]
fn lookups_that_go_together_find_it_too() {
    for (mut world, headers) in
        [(World::new(GATE), Some(&[(":status", "502")])), (World::without_backends(), None)]
    {
        let others = [1, 2].map(|data| {
            format!(r#"{{"inputs":[{{"name":"x","shape":[1],"datatype":"INT32","data":[{data}]}}]}}"#)
        });
        let [mut alone, _other] = others.map(|body| world.asks(body.as_bytes()).0);
        let (mut exchange, acts) = world.asks(BODY);
        assert_eq!(acts, Acts::hold(), "it waits for the others");
        world.gate_says(&mut alone, "404", b"");
        let (call, lookups) = world.sends_batch().unwrap();
        assert_eq!(lookups.lookups.len(), 1);
        let (became, _) = world.gate_says_of_all(&call, &[(200, &stale())]);
        if let Some(headers) = headers {
            assert_eq!(became, [(exchange.context, "goes on".to_owned())]);
            assert_eq!(replaced(&mut world, &mut exchange, headers).as_deref(), Some(IF_ERROR));
        } else {
            assert_eq!(became, [(exchange.context, NO_BACKEND.to_owned())]);
        }
    }
}

#[test]
fn a_call_has_it_by_a_callout() {
    let mut world = World::new(&format!("{REFRESH}{GATE}"));
    let (mut exchange, _) = calls(&mut world, &body("mine"));
    world.host.shows(Of::Request, &[], &body("mine"));
    assert_eq!(world.gate_says(&mut exchange, "200", &stale()), Acts::hold().and(Act::Wake));
    let [call] = world.refreshes().try_into().unwrap();
    world.worker.on_call_response(&world.host, call.ticket, None);
    assert_eq!(
        world.worker.on_wake(&world.host).list[..],
        [Act::AnswerByRoute { context: exchange.context }]
    );
    assert_eq!(route_answers(&mut world, &mut exchange).0, IF_ERROR);
}

#[test]
fn a_filter_that_only_watches_gives_nothing_of_it() {
    let mut world = World::new(&format!(r#", "mode": "shadow"{GATE}"#));
    let (mut exchange, _) = world.asks(BODY);
    assert_eq!(world.gate_says(&mut exchange, "200", &stale()), Acts::go());
    assert_eq!(replaced(&mut world, &mut exchange, &[(":status", "503")]), None);
}
