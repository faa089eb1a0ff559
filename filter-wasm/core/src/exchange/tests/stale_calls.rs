//! Calls that have something stale in the place of an error, which can't be replaced on its way.

use super::calls::{CALL, CALL_FRESH, answer, body, calls, calls_with, route_answers};
use super::stale::{LASTS, REFRESH};
use super::*;
use forebay_protocol::entry::Entry;

const OK: &str = "0";
const UNAVAILABLE: &str = "14";
const IF_ERROR: &str = "forebay; fwd=stale; detail=stale-if-error";

/// What came of those who waited, by context.
type Became = Vec<(u32, &'static str)>;

impl World {
    /// One that has an answer to a call, fresh no longer but of use instead of an error.
    fn with_stale_call(more: &str) -> Self {
        Self::with_stale_call_of(more, &[])
    }

    /// The same, which came with more headers.
    fn with_stale_call_of(more: &str, headers: &[(&str, &str)]) -> Self {
        let mut world = Self::new(&format!("{REFRESH}{more}"));
        let (mut first, acts) = calls(&mut world, &body("first"));
        if call(&acts).is_some() {
            world.gate_says(&mut first, "404", b"");
        }
        world.begins(&mut first, &[&CALL_FRESH[..2], &[LASTS[1]], headers].concat());
        world.host.shows(Of::Response, &[], &answer("first"));
        first.on_response_body(&mut world.worker, &world.host, answer("first").len(), false);
        world.host.shows(Of::ResponseTrailers, &[("grpc-status", OK)], b"");
        first.on_response_trailers(&mut world.worker, &world.host);
        world.passes(300);
        world
    }

    /// A call that waits.
    fn waits(&mut self, id: &str) -> Exchange {
        let (exchange, acts) = calls(self, &body(id));
        assert_eq!(acts.flow, Flow::Pause);
        assert!(acts.list.iter().all(|act| *act == Act::Wake), "{acts:?}");
        exchange
    }

    /// The one refresh.
    fn refresh(&mut self) -> Call {
        let mut calls = self.refreshes();
        assert_eq!(calls.len(), 1);
        let call = calls.remove(0);
        assert_eq!((call.cluster.as_str(), &*call.path), ("c", forebay_protocol::call::INFER));
        call
    }

    /// The upstream's answer to a refresh, with its status behind it or, without a body, in front.
    fn answers_refresh(&mut self, call: &Call, status: &str, body: &[u8]) -> Became {
        let ahead = [&CALL_FRESH[..], &[("grpc-status", status)]].concat();
        let headers = if body.is_empty() { &ahead[..] } else { &CALL_FRESH[..] };
        self.host.shows(Of::Call, headers, body);
        self.host.shows(Of::CallTrailers, &[("grpc-status", status)], b"");
        self.worker.on_call_response(&self.host, call.ticket, Some(body.len()));
        self.lets_go()
    }

    fn lets_go(&mut self) -> Became {
        let acts = self.worker.on_wake(&self.host);
        let acts = acts.list.into_iter().filter(|act| *act != Act::Wake);
        acts.map(|act| match act {
            Act::AnswerByRoute { context } => (context, "answered"),
            Act::Resume { context } => (context, "goes on"),
            other => panic!("{other:?}"),
        })
        .collect()
    }
}

#[test]
fn all_of_them_wait_for_one_new_answer_and_have_it() {
    let mut world = World::with_stale_call("");
    let mut waiting = [world.waits("a"), world.waits("b")];
    let call = world.refresh();
    assert_eq!(call.body, body("a"));
    let became = world.answers_refresh(&call, OK, &answer("a"));
    assert_eq!(became, waiting.each_ref().map(|exchange| (exchange.context, "answered")));
    let [one, other] = &mut waiting;
    assert_eq!(route_answers(&mut world, one), ("forebay; fwd=stale; stored".into(), answer("a")));
    assert_eq!(route_answers(&mut world, other), ("forebay; fwd=miss; collapsed".into(), answer("b")));
    assert_eq!(calls(&mut world, &body("c")).1.flow, Flow::Continue, "it is fresh");
    assert_eq!(world.worker.memory.held(), 0);
    world.worker.on_tick(&world.host);
    let metrics = world.host.metrics.borrow();
    for (result, count) in [("miss", 2), ("collapsed", 1), ("hit_raw", 1)] {
        assert_eq!(metrics.get(&format!("forebay_requests.service=demo.result={result}")), Some(&count));
    }
}

#[test]
fn after_an_error_they_have_what_is_stale_and_so_have_others_for_a_while_without_asking() {
    for status in ["2", "4", "8", "13", UNAVAILABLE] {
        let mut world = World::with_stale_call("");
        let mut waiting = [world.waits("a"), world.waits("b")];
        let call = world.refresh();
        let became = world.answers_refresh(&call, status, b"");
        assert_eq!(became, waiting.each_ref().map(|exchange| (exchange.context, "answered")));
        for (exchange, id) in waiting.iter_mut().zip(["a", "b"]) {
            assert_eq!(route_answers(&mut world, exchange), (IF_ERROR.into(), answer(id)));
        }
        let (mut third, acts) = calls(&mut world, &body("c"));
        assert_eq!(acts.list[..], [Act::AnswerByRoute { context: third.context }]);
        assert_eq!(route_answers(&mut world, &mut third), (IF_ERROR.into(), answer("c")));
        assert!(world.refreshes().is_empty());
        world.worker.on_tick(&world.host);
        assert_eq!(world.host.metrics.borrow().get("forebay_events.event=stale_if_error"), Some(&3));
        assert_eq!(world.worker.memory.held(), 0);
        world.passes(1);
        world.waits("d");
        world.refresh();
    }
}

#[test]
fn a_callout_that_breaks_off_or_meets_an_http_error_is_one() {
    for status in [None, Some("503")] {
        let mut world = World::with_stale_call("");
        let mut exchange = world.waits("a");
        let call = world.refresh();
        world.host.shows(Of::Call, &[(":status", status.unwrap_or_default())], b"");
        world.host.shows(Of::CallTrailers, &[], b"");
        world.worker.on_call_response(&world.host, call.ticket, status.map(|_| 0));
        assert_eq!(world.lets_go(), [(exchange.context, "answered")]);
        assert_eq!(route_answers(&mut world, &mut exchange), (IF_ERROR.into(), answer("a")));
    }
}

#[test]
fn what_else_the_upstream_says_it_says_itself_to_one_of_them() {
    for (status, message) in [("3", vec![]), ("5", vec![]), (OK, super::calls::framed(&[0xff]))] {
        let mut world = World::with_stale_call("");
        let (one, other) = (world.waits("a"), world.waits("b"));
        let call = world.refresh();
        assert_eq!(world.answers_refresh(&call, status, &message), [(one.context, "goes on")], "{status}");
        world.leaves(one);
        assert_eq!(world.lets_go(), [(other.context, "goes on")]);
        world.leaves(other);
        assert_eq!(world.worker.memory.held(), 0);
        assert_eq!(calls(&mut world, &body("c")).1, Acts::go(), "it is not asked by a callout at once again");
    }
}

#[test]
fn who_leaves_leaves_the_others_their_answer() {
    let mut world = World::with_stale_call("");
    let (first, second) = (world.waits("a"), world.waits("b"));
    let call = world.refresh();
    world.leaves(first);
    assert_eq!(world.answers_refresh(&call, UNAVAILABLE, b""), [(second.context, "answered")]);
    world.leaves(second);
    world.passes(1);
    let alone = world.waits("c");
    let call = world.refresh();
    world.leaves(alone);
    assert_eq!(world.answers_refresh(&call, OK, &answer("c")), []);
    assert_eq!(calls(&mut world, &body("d")).1.flow, Flow::Continue, "it is kept all the same");
    assert_eq!(world.worker.memory.held(), 0);
}

#[test]
fn the_callout_ends_before_who_waits_for_it_is_sent_after_it() {
    for (settings, timeout_ms) in [("", 30_000 - 500), (r#", "join": {"timeout_ms": 400}"#, 1)] {
        let mut world = World::with_stale_call(settings);
        let exchange = world.waits("a");
        assert_eq!(world.refresh().timeout_ms, timeout_ms);
        world.leaves(exchange);
    }
}

#[test]
fn who_has_little_time_has_what_is_stale_while_there_is_some_left_and_others_wait_on() {
    let mut world = World::with_stale_call("");
    world.worker.on_tick(&world.host);
    let (mut hurried, acts) = calls_with(&mut world, &[("grpc-timeout", "400m")], &body("a"));
    assert_eq!(acts.flow, Flow::Pause);
    let (refresh, other) = (world.refresh(), world.waits("b"));
    let now_ms = world.host.now_ms.get();
    for (passed_ms, given) in [(299, false), (300, true)] {
        world.host.now_ms.set(now_ms + passed_ms);
        let acts = world.worker.on_tick(&world.host);
        let answers = Act::AnswerByRoute { context: hurried.context };
        assert_eq!(acts.list.contains(&answers), given, "{passed_ms}");
    }
    assert_eq!(route_answers(&mut world, &mut hurried), (IF_ERROR.into(), answer("a")));
    assert_eq!(world.answers_refresh(&refresh, OK, &answer("a")), [(other.context, "answered")]);
}

#[test]
fn the_callout_says_how_its_message_is_compressed() {
    let mut world = World::with_stale_call("");
    let headers = [&CALL[..], &[("grpc-encoding", "identity")]].concat();
    world.host.shows(Of::Request, &headers, &body("a"));
    let mut exchange = Exchange::new(1);
    exchange.on_request_headers(&mut world.worker, &world.host, false);
    exchange.on_request_body(&mut world.worker, &world.host, body("a").len(), true);
    let call = world.refresh();
    assert!(call.headers.contains(&("grpc-encoding".into(), "identity".to_owned())), "{call:?}");
    world.leaves(exchange);
}

#[test]
fn a_model_that_was_replaced_meanwhile_gives_nothing_of_it() {
    let gate = r#", "gate": {"cluster": "gate", "stale_ms": 600000}"#;
    let mut world = World::with_stale_call_of(gate, &[("x-forebay-generation", GENERATION)]);
    let (exchange, _) = calls(&mut world, &body("a"));
    let mut waiting = exchange;
    world.host.shows(Of::Request, &[], &body("a"));
    world.gate_says(&mut waiting, "404", b"");
    let call = world.refresh();
    let entries = "01".repeat(32);
    let table = format!(
        r#"{{"format": 2, "epoch": 2, "now_ms": 0, "models": [{{"service": "demo", "model": "m", "version": "", "generations": ["{entries}"]}}]}}"#
    );
    world.hears(&[(":status", "200")], table.as_bytes());
    assert_eq!(world.answers_refresh(&call, UNAVAILABLE, b""), [(waiting.context, "goes on")]);
}

#[test]
fn they_go_upstream_where_no_callout_reaches_it_or_their_time_to_be_of_use_is_over() {
    let mut world = World::with_stale_call("");
    world.worker.refreshes = crate::refresh::Refreshes::new(None);
    assert_eq!(calls(&mut world, &body("a")).1, Acts::go());
    let mut world = World::with_stale_call("");
    world.passes(360);
    assert_eq!(calls(&mut world, &body("a")).1, Acts::go());
}

#[test]
fn the_pool_is_asked_before() {
    let gate = r#", "gate": {"cluster": "gate", "stale_ms": 600000}"#;
    for (status, found) in [("200", true), ("404", false)] {
        let mut world = World::with_stale_call_of(gate, &[("x-forebay-generation", GENERATION)]);
        let (mut exchange, acts) = calls(&mut world, &body("a"));
        assert!(call(&acts).is_some_and(|call| call.ticket == Ticket::Lookup));
        world.host.shows(Of::Request, &[], &body("a"));
        let mut fresh = Entry::decode_plain(entry(0).into()).unwrap();
        fresh.created_ms = world.host.now_ms.get();
        let acts = world.gate_says(&mut exchange, status, &fresh.encode_plain());
        if found {
            assert_eq!(acts.list[..], [Act::AnswerByRoute { context: exchange.context }]);
        } else {
            assert_eq!(acts, Acts::hold().and(Act::Wake));
            world.refresh();
        }
    }
}
