//! One request and its answer, callback by callback: what the proxy tells goes in, acts come out.

mod kept;
mod whose;

use super::*;
use crate::acts::{Act, Call, Flow};
use crate::config::Config;
use crate::host::Of;
use crate::host::double::Double;
use crate::join::BATCH;
use crate::reply::Reply;
use forebay_protocol::entry::Entry;
use forebay_protocol::messages::{InferOutputTensor, ModelInferResponse};

const NOW_MS: u64 = 1_790_000_000_000;
const BODY: &[u8] = br#"{"inputs":[{"name":"x","shape":[1],"datatype":"INT32","data":[7]}]}"#;
const SPACED: &[u8] = br#"{"inputs": [{"name":"x","shape":[1],"datatype":"INT32","data":[7]}]}"#;
const WITH_ID: &[u8] = br#"{"id":"mine","inputs":[{"name":"x","shape":[1],"datatype":"INT32","data":[7]}]}"#;
const AS_BINARY: &[u8] = br#"{"parameters":{"binary_data_output":true},"inputs":[{"name":"x","shape":[1],"datatype":"INT32","data":[7]}]}"#;
const ANSWER: &[u8] = br#"{"model_name":"m","outputs":[]}"#;
const POST: [(&str, &str); 2] = [(":method", "POST"), (":path", "/v2/models/m/infer")];
const FRESH: [(&str, &str); 2] = [(":status", "200"), ("cache-control", "max-age=60")];
const GENERATION: &str = "1111111111111111111111111111111111111111111111111111111111111111";

/// A worker, and its proxy.
struct World {
    worker: Worker,
    host: Double,
    next: u32,
}

impl World {
    fn new(settings: &str) -> Self {
        let config = format!(r#"{{"service": "demo"{settings}}}"#);
        let host = Double::default();
        host.now_ms.set(NOW_MS);
        let mut worker = Worker::new(Config::parse(config.as_bytes()).unwrap());
        worker.on_start(&host, 1);
        let mut world = Self { worker, host, next: 100 };
        world.hears_what_lives();
        world
    }

    /// Where there is a gate, it tells that all generations of these tests live.
    fn hears_what_lives(&mut self) {
        let acts = self.worker.on_tick(&self.host);
        let Some(Act::Call(poll)) = acts.list.into_iter().next() else { return };
        let entries = "01".repeat(32);
        let table = format!(
            r#"{{"format": 2, "epoch": 1, "now_ms": 0, "models": [{{"service": "demo", "model": "m", "version": "", "generations": ["{GENERATION}", "{entries}"]}}]}}"#
        );
        self.host.shows(Of::Call, &[(":status", "200"), ("x-forebay-format", "2")], table.as_bytes());
        self.worker.on_call_response(&self.host, poll.ticket, Some(table.len()));
    }

    /// A request's headers, with more of them.
    fn opens(&mut self, more: &[(&str, &str)]) -> (Exchange, Acts) {
        self.next += 1;
        let mut exchange = Exchange::new(self.next);
        self.host.shows(Of::Request, &[&POST[..], more].concat(), b"");
        let acts = exchange.on_request_headers(&mut self.worker, &self.host, false);
        (exchange, acts)
    }

    fn sends_body(&mut self, exchange: &mut Exchange, body: &[u8], ends: bool) -> Acts {
        self.host.shows(Of::Request, &[], body);
        exchange.on_request_body(&mut self.worker, &self.host, body.len(), ends)
    }

    /// A whole request, with more headers.
    fn asks_with(&mut self, more: &[(&str, &str)], body: &[u8]) -> (Exchange, Acts) {
        let (mut exchange, acts) = self.opens(more);
        assert_eq!(acts, Acts::hold());
        let acts = self.sends_body(&mut exchange, body, true);
        (exchange, acts)
    }

    fn asks(&mut self, body: &[u8]) -> (Exchange, Acts) {
        self.asks_with(&[], body)
    }

    /// The upstream's headers: what the client is told, and whether the root context is woken.
    fn begins(&mut self, exchange: &mut Exchange, headers: &[(&str, &str)]) -> (String, bool) {
        self.host.shows(Of::Response, headers, b"");
        let acts = exchange.on_response_headers(&mut self.worker, &self.host, false);
        let mut told = String::new();
        for act in &acts.list {
            if let Act::SetResponseHeader { name: "cache-status", value } = act {
                told.clone_from(value);
            }
        }
        (told, acts.list.contains(&Act::Wake))
    }

    fn ends(&mut self, exchange: &mut Exchange, body: &[u8]) -> Acts {
        self.host.shows(Of::Response, &[], body);
        exchange.on_response_body(&mut self.worker, &self.host, body.len(), true)
    }

    /// An answer of the upstream's, whole.
    fn answers(&mut self, exchange: &mut Exchange, headers: &[(&str, &str)], body: &[u8]) -> String {
        let (told, _) = self.begins(exchange, headers);
        self.ends(exchange, body);
        told
    }

    /// The gate's answer.
    fn gate_says(&mut self, exchange: &mut Exchange, status: &str, body: &[u8]) -> Acts {
        self.host.shows(Of::Call, &[(":status", status), ("x-forebay-format", "2")], body);
        exchange.on_call_response(&mut self.worker, &self.host, Ticket::Lookup, Some(body.len()))
    }

    fn leaves(&mut self, mut exchange: Exchange) -> Acts {
        exchange.on_end(&mut self.worker, &self.host)
    }

    /// The root context's turn: whom it answers, with what status, and whom it sends upstream.
    fn wakes(&mut self) -> Vec<(u32, String)> {
        let acts = self.worker.on_wake(&self.host);
        let acts = acts.list.into_iter().filter(|act| *act != Act::Wake);
        acts.map(|act| match act {
            Act::Answer { context, reply: Reply::Kept { status, id, .. } } => {
                (context, format!("{id}{status}"))
            }
            Act::Resume { context } => (context, "goes on".to_owned()),
            other => panic!("{other:?}"),
        })
        .collect()
    }
}

/// How `acts` answer, if that is all they do: the tier and the id.
fn hit(acts: &Acts) -> Option<(String, &str)> {
    match (acts.flow, acts.list.as_slice()) {
        (Flow::Pause, [Act::Answer { reply: Reply::Kept { status, id, .. }, .. }]) => {
            Some((status.to_string(), id))
        }
        _ => None,
    }
}

fn call(acts: &Acts) -> Option<&Call> {
    match (acts.flow, acts.list.as_slice()) {
        (Flow::Pause, [Act::Call(call)]) => Some(call),
        _ => None,
    }
}

fn entry(age_s: u64) -> Vec<u8> {
    let output = InferOutputTensor {
        name: "y".into(),
        datatype: "INT32".into(),
        shape: vec![1],
        ..Default::default()
    };
    let response = ModelInferResponse {
        model_name: "m".into(),
        outputs: vec![output],
        raw_output_contents: vec![7_i32.to_le_bytes().to_vec().into()],
        ..Default::default()
    };
    let entry = Entry {
        response: Some(response),
        generation: vec![1; 32].into(),
        created_ms: NOW_MS - 1000 * age_s,
        max_age_s: 60,
        ..Entry::default()
    };
    entry.encode_plain()
}

const GATE: &str = r#", "gate": {"cluster": "gate"}"#;

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
fn who_joins_is_held_until_the_root_context_answers_it() {
    let mut world = World::new("");
    let (mut leader, acts) = world.asks(BODY);
    assert_eq!(acts, Acts::go());
    let (mut waiter, acts) = world.asks(WITH_ID);
    assert_eq!(acts, Acts::hold());
    assert_eq!(world.sends_body(&mut waiter, b"", true), Acts::hold(), "still held");
    world.begins(&mut leader, &FRESH);
    assert_eq!(world.ends(&mut leader, ANSWER), Acts::go().and(Act::Wake));
    assert_eq!(world.wakes(), [(waiter.context, "mineforebay; fwd=miss; collapsed".into())]);
    // Its own answer passes through it like any other.
    assert_eq!(world.begins(&mut waiter, &FRESH), (String::new(), false));
    assert_eq!(world.leaves(waiter), Acts::go());
}

#[test]
fn many_are_released_a_batch_a_wake_and_it_is_asked_for_once() {
    let mut world = World::new("");
    let (mut leader, _) = world.asks(BODY);
    let waiters: Vec<_> = (0..=BATCH).map(|_| world.asks(BODY).0).collect();
    world.begins(&mut leader, &FRESH);
    assert_eq!(world.ends(&mut leader, ANSWER), Acts::go().and(Act::Wake));
    let other = world.opens(&[]).0;
    assert_eq!(world.leaves(other), Acts::go(), "it was asked for already");
    let acts = world.worker.on_wake(&world.host);
    assert_eq!((acts.list.len(), acts.list.last()), (BATCH + 1, Some(&Act::Wake)));
    assert_eq!(world.wakes().len(), 1);
    drop(waiters);
}

#[test]
fn a_leader_that_leaves_fails_or_breaks_off_promotes_one() {
    type End = fn(&mut World, Exchange) -> bool;
    let ends: [(&str, End); 4] = [
        ("leaves", |world, leader| world.leaves(leader).list.contains(&Act::Wake)),
        ("503", |world, mut leader| world.begins(&mut leader, &[(":status", "503")]).1),
        ("400", |world, mut leader| world.begins(&mut leader, &[(":status", "400")]).1),
        ("breaks off", |world, mut leader| {
            world.begins(&mut leader, &FRESH);
            world.leaves(leader).list.contains(&Act::Wake)
        }),
    ];
    for (name, end) in ends {
        let mut world = World::new("");
        let (leader, _) = world.asks(BODY);
        let waiters = [(); 3].map(|()| world.asks(BODY).0);
        let contexts = waiters.each_ref().map(|waiter| waiter.context);
        let [mut next, second, third] = waiters;
        assert!(end(&mut world, leader), "{name}: nobody is woken");
        assert_eq!(world.wakes(), [(contexts[0], "goes on".into())], "{name}");
        assert_eq!(world.worker.join.waiting(), 2, "{name}");
        assert_eq!(world.answers(&mut next, &FRESH, ANSWER), "forebay; fwd=miss; detail=promoted");
        let collapsed = "forebay; fwd=miss; collapsed".to_owned();
        assert_eq!(world.wakes(), [(contexts[1], collapsed.clone()), (contexts[2], collapsed)], "{name}");
        drop([second, third]);
    }
}

#[test]
fn an_answer_that_can_not_be_shared_frees_all_and_is_remembered() {
    let mut world = World::new("");
    let (mut leader, _) = world.asks(BODY);
    let mut waiters = [(); 2].map(|()| world.asks(BODY).0);
    assert!(world.begins(&mut leader, &[(":status", "200")]).1, "it is known at its headers");
    assert_eq!(world.wakes(), waiters.each_ref().map(|waiter| (waiter.context, "goes on".into())));
    assert_eq!(world.answers(&mut waiters[0], &FRESH[..1], ANSWER), "forebay; fwd=miss; detail=unshareable");
    let (mut late, acts) = world.asks(BODY);
    assert_eq!(acts, Acts::go());
    assert_eq!(world.answers(&mut late, &FRESH[..1], ANSWER), "forebay; fwd=miss; detail=unshareable");
}

#[test]
fn a_waiter_on_whom_the_proxy_gives_up_or_that_leaves_is_forgotten() {
    let mut world = World::new("");
    let (mut leader, _) = world.asks(BODY);
    let (mut timed_out, _) = world.asks(BODY);
    let (left, _) = world.asks(BODY);
    world.begins(&mut timed_out, &[(":status", "408")]);
    world.leaves(timed_out);
    world.leaves(left);
    assert_eq!((world.worker.join.waiting(), world.worker.join.waiting_bytes()), (0, 0));
    world.begins(&mut leader, &FRESH);
    assert_eq!(world.ends(&mut leader, ANSWER), Acts::go());
}

#[test]
fn another_encoding_waits_too_and_leads_next_when_only_bytes_came() {
    let mut world = World::new("");
    let (mut leader, _) = world.asks(BODY);
    let (binary, acts) = world.asks(AS_BINARY);
    assert_eq!(acts, Acts::hold());
    let (json, _) = world.asks(WITH_ID);
    let (other_binary, _) = world.asks(AS_BINARY);
    world.answers(&mut leader, &FRESH, ANSWER);
    let collapsed = (json.context, "mineforebay; fwd=miss; collapsed".into());
    assert_eq!(world.wakes(), [collapsed, (binary.context, "goes on".into())]);
    let mut binary = binary;
    assert_eq!(world.answers(&mut binary, &FRESH, ANSWER), "forebay; fwd=miss; detail=unsuited");
    assert_eq!(world.wakes(), [(other_binary.context, "forebay; fwd=miss; collapsed".into())]);
}

#[test]
fn an_entry_of_the_pool_is_answered_in_every_encoding_that_is_waited_for() {
    let mut world = World::new(GATE);
    let (mut leader, acts) = world.asks(WITH_ID);
    let lookup = call(&acts).expect("a lookup");
    assert_eq!((lookup.ticket, lookup.cluster.as_str(), lookup.timeout_ms), (Ticket::Lookup, "gate", 5));
    let (binary, acts) = world.asks(AS_BINARY);
    assert_eq!(acts, Acts::hold(), "one lookup for both");
    let acts = world.gate_says(&mut leader, "200", &entry(5));
    assert_eq!(acts.list.last(), Some(&Act::Wake));
    assert!(matches!(&acts.list[0], Act::Answer { reply: Reply::Kept { id, .. }, .. } if id == "mine"));
    let acts = world.worker.on_wake(&world.host);
    let [Act::Answer { context, reply: Reply::Kept { answer, .. } }] = acts.list.as_slice() else {
        panic!("{acts:?}")
    };
    assert_eq!(
        (*context, &answer.body[answer.header_length.unwrap()..]),
        (binary.context, &[7, 0, 0, 0][..])
    );
}

#[test]
fn whom_an_entry_of_the_pool_is_too_old_for_asks_anew() {
    let mut world = World::new(GATE);
    let (mut leader, _) = world.asks(BODY);
    let (strict, acts) = world.asks_with(&[("cache-control", "max-age=4")], BODY);
    assert_eq!(acts, Acts::hold());
    assert!(world.gate_says(&mut leader, "200", &entry(5)).list.contains(&Act::Wake));
    assert_eq!(world.wakes(), [(strict.context, "goes on".into())]);
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
        matches!(acts.list.as_slice(), [Act::Answer { reply: Reply::Unsatisfiable { status }, .. }]
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
