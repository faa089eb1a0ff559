//! One request and its answer, callback by callback: what the proxy tells goes in, acts come out.

mod asked;
mod batched;
mod buffered;
mod calls;
mod clocks;
mod joined;
mod kept;
mod policies;
mod routed;
mod stale;
mod stale_calls;
mod stale_pool;
mod targets;
mod whose;
mod world;

use super::*;
use crate::acts::{Act, Call, Flow};
use crate::arriving::BODY_MS;
use crate::host::Of;
use crate::join::BATCH;
use crate::reply::Reply;
use world::*;

#[test]
fn what_is_no_infer_request_passes_and_what_it_says_in_our_name_goes() {
    let mut world = World::new("");
    let mut exchange = Exchange::new(1);
    let headers =
        [(":method", "GET"), (":path", "/v2"), ("x-forebay-tenant", "a"), ("x-forebay-tenant", "b")];
    world.host.shows(Of::Request, &headers, b"");
    let removed = Act::RemoveRequestHeader { name: "x-forebay-tenant".into() };
    let acts = exchange.on_request_headers(&mut world.worker, &world.host, true);
    assert_eq!(acts, Acts::go().and(removed.clone()).and(removed));
    assert_eq!(world.begins(&mut exchange, &FRESH), (String::new(), false));
}

#[test]
fn a_miss_is_stored_and_hit_by_bytes_and_by_digest() {
    let mut world = World::new("");
    let (mut first, acts) = world.asks(BODY);
    assert_eq!(acts, Acts::go());
    assert_eq!(world.answers(&mut first, &FRESH, ANSWER), "forebay; fwd=miss");
    let raw = world.asks(BODY).1;
    assert_eq!(hit(&raw), Some(("forebay; hit; ttl=60; detail=raw".into(), "")));
    let digest = world.asks(WITH_ID).1;
    assert_eq!(hit(&digest), Some(("forebay; hit; ttl=60; detail=vm".into(), "mine")));
    // Seen once by its digest, its bytes are known.
    assert!(hit(&world.asks(SPACED).1).is_some_and(|(status, _)| status.ends_with("detail=vm")));
    assert!(hit(&world.asks(SPACED).1).is_some_and(|(status, _)| status.ends_with("detail=raw")));
}

#[test]
fn requests_that_differ_in_an_id_in_front_are_one_and_each_gets_its_own_back() {
    let inputs = r#""inputs":[{"name":"x","shape":[1],"datatype":"INT32","#;
    let json = |id: &str| format!(r#"{{"id":"{id}",{inputs}"data":[7]}}]}}"#).into_bytes();
    let binary = |id: &str| {
        let head = format!(r#"{{"id":"{id}",{inputs}"parameters":{{"binary_data_size":4}}}}]}}"#);
        (head.len().to_string(), [head.as_bytes(), &[7, 0, 0, 0]].concat())
    };
    let mut world = World::new("");
    let (mut first, _) = world.asks(&json("1"));
    world.answers(&mut first, &FRESH, br#"{"id":"1","model_name":"m","outputs":[]}"#);
    for id in ["2", "another one", ""] {
        let hit = hit(&world.asks(&json(id)).1).map(|(status, id)| (status, id.to_owned()));
        assert_eq!(hit, Some(("forebay; hit; ttl=60; detail=raw".into(), id.to_owned())));
    }
    for (id, tier) in [("3", "vm"), ("44", "raw"), ("555", "raw")] {
        let (length, body) = binary(id);
        let acts = world.asks_with(&[("inference-header-content-length", &length)], &body).1;
        assert_eq!(hit(&acts), Some((format!("forebay; hit; ttl=60; detail={tier}"), id)));
    }
    // Elsewhere, or escaped, it is read with the rest.
    for (front, end, id) in [("", r#","id":"last""#, "last"), (r#""id":"\u0061","#, "", "a")] {
        let body = format!(r#"{{{front}{inputs}"data":[7]}}]{end}}}"#);
        for _ in 0..2 {
            let acts = world.asks(body.as_bytes()).1;
            assert_eq!(hit(&acts), Some(("forebay; hit; ttl=60; detail=vm".into(), id)));
        }
    }
}

#[test]
fn an_answer_that_takes_no_id_is_given_to_nobody_who_has_one() {
    let mut world = World::new("");
    let (mut first, _) = world.asks(BODY);
    let encoded = [&FRESH[..], &[("content-encoding", "gzip")]].concat();
    world.answers(&mut first, &encoded, b"gzip");
    assert!(hit(&world.asks(BODY).1).is_some());
    let emptied = String::from_utf8(WITH_ID.to_vec()).unwrap().replace("mine", "");
    assert!(hit(&world.asks(emptied.as_bytes()).1).is_some(), "now it is known by its bytes");
    assert_eq!(hit(&world.asks(WITH_ID).1), None);
    let path = [(":path", "/v2/models/m/infer?a")];
    let (mut first, _) = world.asks_with(&path, WITH_ID);
    world.answers(&mut first, &FRESH, br#"{"id":"mine","outputs":[]}"#);
    let other = String::from_utf8(WITH_ID.to_vec()).unwrap().replace("mine", "their");
    assert_eq!(hit(&world.asks_with(&path, other.as_bytes()).1), None, "its answer has another's id");
}

#[test]
fn a_hit_travels_without_a_copy_and_without_an_allocation_for_its_act() {
    let mut world = World::new("");
    let (mut first, _) = world.asks(BODY);
    world.answers(&mut first, &FRESH, ANSWER);
    let (one, other) = (world.asks(BODY).1, world.asks(BODY).1);
    let answer = |acts: &Acts| match &acts.list[0] {
        Act::Answer { reply: Reply::Kept { answer, .. }, .. } => answer.clone(),
        act => panic!("{act:?}"),
    };
    assert!(Rc::ptr_eq(&answer(&one), &answer(&other)) && !one.list.spilled());
}

#[test]
fn what_the_request_or_time_forbids_goes_upstream_with_the_reason() {
    let mut world = World::new("");
    let (mut first, _) = world.asks(BODY);
    world.answers(&mut first, &FRESH, ANSWER);
    world.host.now_ms.set(NOW_MS + 10_000);
    for (directive, seconds, told) in [
        ("no-cache", 10, "forebay; fwd=request; detail=status"),
        ("max-age=9", 10, "forebay; fwd=request; detail=status"),
        ("", 60, "forebay; fwd=stale; detail=status"),
    ] {
        world.host.now_ms.set(NOW_MS + 1000 * seconds);
        let (mut exchange, acts) = world.asks_with(&[("cache-control", directive)], BODY);
        assert_eq!(acts, Acts::go(), "{directive}");
        assert_eq!(world.answers(&mut exchange, &[(":status", "500")], b""), told);
    }
}

#[test]
fn what_may_not_be_stored_says_why() {
    let with = |name, value| [&FRESH[..], &[(name, value)]].concat();
    for (settings, headers, why) in [
        ("", vec![(":status", "203"), FRESH[1]], "status"),
        ("", vec![FRESH[0]], "uncacheable"),
        ("", with("vary", "accept"), "varies"),
        ("", with("vary", "*"), "varies"),
        ("", with("vary", "accept-encoding, origin"), "varies"),
        ("", with("set-cookie", "a=1"), "fields"),
        ("", with("content-length", "2000000"), "answer-too-large"),
        ("", with("inference-header-content-length", "x"), "ambiguous-headers"),
        (r#", "gate": {"cluster": "g", "skip_models": ["m"]}"#, FRESH.to_vec(), "no-generation"),
    ] {
        let mut world = World::new(settings);
        let (mut exchange, _) = world.asks(BODY);
        assert_eq!(
            world.answers(&mut exchange, &headers, ANSWER),
            format!("forebay; fwd=miss; detail={why}")
        );
        assert_eq!(hit(&world.asks(BODY).1), None, "{why}");
    }
}

#[test]
fn a_body_that_outgrows_the_cap_is_let_go_while_it_is_read() {
    let mut world = World::new(r#", "max_body_bytes": 80"#);
    let (mut exchange, _) = world.opens(&[]);
    assert_eq!(world.sends_body(&mut exchange, BODY, false), Acts::hold());
    assert_eq!(world.sends_body(&mut exchange, &[b' '; 81], false), Acts::go());
    assert_eq!(world.sends_body(&mut exchange, b"more", true), Acts::go());
    assert_eq!(world.answers(&mut exchange, &FRESH, ANSWER), "forebay; fwd=bypass; detail=body-too-large");
}

#[test]
fn bodies_that_are_not_complete_are_held_within_the_worker_s_memory_and_pass_beyond_it() {
    let mut world = World::new(r#", "max_held_bytes": 1048576"#);
    let piece = |bytes| vec![b' '; bytes];
    let (mut one, _) = world.opens(&[]);
    assert_eq!(world.sends_body(&mut one, &piece(200_000), false), Acts::hold());
    assert_eq!(world.sends_body(&mut one, &piece(500_000), false), Acts::hold(), "what came before is of it");
    let held = world.worker.memory.held();
    assert!((500_000..510_000).contains(&held), "{held}");
    let (mut other, _) = world.opens(&[]);
    assert_eq!(world.sends_body(&mut other, &piece(600_000), false), Acts::go());
    assert_eq!(world.worker.memory.held(), held, "it holds nothing any more");
    assert_eq!(world.answers(&mut other, &FRESH, ANSWER), "forebay; fwd=bypass; detail=out-of-memory");
    world.leaves(one);
    assert_eq!(world.worker.memory.held(), 0);
    world.worker.on_tick(&world.host);
    assert_eq!(world.host.metrics.borrow().get("forebay_events.event=out_of_memory"), Some(&1));
}

#[test]
fn a_body_that_came_in_pieces_is_counted_once_while_it_waits_and_let_go_with_it() {
    let mut world = World::new("");
    let (leader, acts) = world.asks(BODY);
    assert_eq!(acts, Acts::go());
    let before = world.worker.memory.held();
    let (whole, _) = world.asks(BODY);
    let of_one = world.worker.memory.held() - before;
    let (mut pieces, _) = world.opens(&[]);
    world.sends_body(&mut pieces, &BODY[..40], false);
    assert_eq!(world.sends_body(&mut pieces, BODY, true), Acts::hold());
    assert_eq!(world.worker.memory.held() - before, 2 * of_one);
    for exchange in [leader, whole, pieces] {
        world.leaves(exchange);
    }
}

#[test]
fn a_body_that_takes_too_long_is_let_go_by_the_tick_whether_more_of_it_comes_or_not() {
    let mut world = World::new("");
    for pieces in [0, 1] {
        world.host.now_ms.set(NOW_MS);
        let (mut exchange, _) = world.opens(&[]);
        for _ in 0..pieces {
            assert_eq!(world.sends_body(&mut exchange, &BODY[..1], false), Acts::hold());
        }
        world.host.now_ms.set(NOW_MS + BODY_MS);
        assert_eq!(world.worker.on_tick(&world.host), Acts::go(), "not yet");
        world.host.now_ms.set(NOW_MS + BODY_MS + 1);
        let acts = world.worker.on_tick(&world.host);
        assert_eq!(acts.list[..], [Act::Resume { context: exchange.context }]);
        assert_eq!(world.sends_body(&mut exchange, BODY, true), Acts::go(), "the rest streams by");
        let told = world.answers(&mut exchange, &FRESH, ANSWER);
        assert_eq!(told, "forebay; fwd=bypass; detail=body-too-slow");
        assert_eq!(world.worker.memory.held(), 0);
        world.leaves(exchange);
    }
    world.worker.on_tick(&world.host);
    assert_eq!(world.host.metrics.borrow().get("forebay_requests.service=demo.result=bypass"), Some(&2));
}

#[test]
fn many_whose_bodies_take_too_long_are_let_go_a_batch_a_turn() {
    let mut world = World::new("");
    let slow: Vec<_> = (0..=BATCH).map(|_| world.opens(&[]).0).collect();
    world.host.now_ms.set(NOW_MS + BODY_MS + 1);
    let acts = world.worker.on_tick(&world.host);
    assert_eq!((acts.list.len(), acts.list.last()), (BATCH + 1, Some(&Act::Wake)));
    assert_eq!(world.wakes(), [(slow[BATCH].context, "goes on".into())]);
}

#[test]
fn trailers_end_a_request_and_an_answer() {
    let mut world = World::new("");
    for hits in [false, true] {
        let (mut exchange, _) = world.opens(&[]);
        assert_eq!(world.sends_body(&mut exchange, BODY, false), Acts::hold());
        let acts = exchange.on_request_trailers(&mut world.worker, &world.host, BODY.len());
        assert_eq!(hit(&acts).is_some(), hits);
        if !hits {
            world.begins(&mut exchange, &FRESH);
            world.host.shows(Of::Response, &[], ANSWER);
            exchange.on_response_body(&mut world.worker, &world.host, ANSWER.len(), false);
            exchange.on_response_trailers(&mut world.worker, &world.host);
        }
    }
}

#[test]
fn a_miss_a_failure_and_an_answer_that_is_late_go_upstream() {
    let fresh = [&FRESH[..], &[("x-forebay-generation", GENERATION)]].concat();
    for (status, told) in [("404", "forebay; fwd=miss"), ("503", "forebay; fwd=miss; detail=gate-failed")] {
        let mut world = World::new(GATE);
        let (mut exchange, _) = world.asks(BODY);
        assert_eq!(world.gate_says(&mut exchange, status, b""), Acts::go(), "{status}");
        assert_eq!(
            world.gate_says(&mut exchange, "200", &entry(5)),
            Acts::hold(),
            "a second one is not heard"
        );
        assert_eq!(world.answers(&mut exchange, &fresh, ANSWER), told);
    }
    let mut world = World::new(GATE);
    let (mut exchange, _) = world.asks(BODY);
    let acts = exchange.on_call_response(&mut world.worker, &world.host, Ticket::Lookup, None);
    assert_eq!(acts, Acts::go(), "broken off, or never sent");
}

#[test]
fn a_leader_that_leaves_while_it_asks_the_gate_is_followed_by_the_next() {
    let mut world = World::new(GATE);
    let (leader, acts) = world.asks(BODY);
    assert!(call(&acts).is_some());
    let (next, _) = world.asks(BODY);
    assert_eq!(world.leaves(leader), Acts::go().and(Act::Wake));
    assert_eq!(world.wakes(), [(next.context, "goes on".into())]);
}

#[test]
fn only_if_cached_is_answered_or_refused_and_nobody_waits_for_it() {
    let only = [("cache-control", "only-if-cached")];
    let refused = |acts: &Acts| {
        matches!(acts.list.as_slice(), [Act::Answer { reply: Reply::Unsatisfiable { status, .. }, .. }]
            if status.to_string() == "forebay; fwd=miss; detail=only-if-cached" && acts.flow == Flow::Pause)
    };
    let mut world = World::new("");
    assert!(refused(&world.asks_with(&only, BODY).1));
    let (mut exchange, acts) = world.asks(BODY);
    assert_eq!(acts, Acts::go(), "it leads");
    world.answers(&mut exchange, &FRESH, ANSWER);
    assert!(hit(&world.asks_with(&only, BODY).1).is_some());
    let mut world = World::new(GATE);
    let (mut exchange, acts) = world.asks_with(&only, BODY);
    assert!(call(&acts).is_some(), "the pool is a cache too");
    assert!(refused(&world.gate_says(&mut exchange, "404", b"")));
}

#[test]
fn shadow_mode_compares_and_never_answers_nor_holds() {
    let mut world = World::new(r#", "mode": "shadow""#);
    for answer in [ANSWER, ANSWER, b"{}"] {
        let (mut exchange, acts) = world.asks(BODY);
        assert_eq!(acts, Acts::go());
        assert_eq!(world.asks(BODY).1, Acts::go(), "nobody waits");
        world.answers(&mut exchange, &FRESH, answer);
    }
    world.worker.on_tick(&world.host);
    let metrics = world.host.metrics.borrow();
    let count = |name| metrics.get(&format!("forebay_events.event={name}")).copied();
    assert_eq!((count("shadow_match"), count("shadow_mismatch")), (Some(1), Some(1)));
}

#[test]
fn requests_are_counted_once_by_what_became_of_them() {
    let mut world = World::new("");
    let (mut leader, _) = world.asks(BODY);
    let waiter = world.asks(BODY).0;
    world.answers(&mut leader, &FRESH, ANSWER);
    world.wakes();
    world.asks(BODY);
    world.asks(b"{");
    world.worker.on_tick(&world.host);
    let metrics = world.host.metrics.borrow();
    for result in ["miss", "collapsed", "hit_raw", "bypass"] {
        let name = format!("forebay_requests.service=demo.result={result}");
        assert_eq!(metrics.get(&name), Some(&1), "{result}");
    }
    drop(waiter);
}
