//! Calls: gRPC's `ModelInfer`, looked up, joined and answered as requests over HTTP are, by way of the route for hits.

use super::*;
use crate::cache_status::Detail;
use crate::encoding;
use forebay_protocol::call::{INFER, message};
use forebay_protocol::header::X_FOREBAY_BACKENDS;
use forebay_protocol::messages::{InferInputTensor, ModelInferRequest, ModelInferResponse};
use prost::Message as _;

const ON: &str = r#", "grpc": "answer""#;
pub(super) const CALL: [(&str, &str); 3] =
    [(":method", "POST"), (":path", INFER), ("content-type", "application/grpc")];
pub(super) const CALL_FRESH: [(&str, &str); 3] =
    [(":status", "200"), ("content-type", "application/grpc"), ("cache-control", "max-age=60")];
const OK: &str = "0";

pub(super) fn framed(message: &[u8]) -> Vec<u8> {
    [&message::head(message.len()).unwrap()[..], message].concat()
}

/// The call for what [`BODY`] asks over HTTP.
fn request(id: &str) -> ModelInferRequest {
    let input = InferInputTensor {
        name: "x".into(),
        datatype: "INT32".into(),
        shape: vec![1],
        ..InferInputTensor::default()
    };
    ModelInferRequest {
        model_name: "m".into(),
        id: id.into(),
        inputs: vec![input],
        raw_input_contents: vec![7_i32.to_le_bytes().to_vec().into()],
        ..ModelInferRequest::default()
    }
}

pub(super) fn body(id: &str) -> Vec<u8> {
    framed(&request(id).encode_to_vec())
}

pub(super) fn answer(id: &str) -> Vec<u8> {
    let response = ModelInferResponse { model_name: "m".into(), id: id.into(), ..Default::default() };
    framed(&response.encode_to_vec())
}

/// A call, whole.
pub(super) fn calls_with(world: &mut World, more: &[(&str, &str)], body: &[u8]) -> (Exchange, Acts) {
    world.next += 1;
    let mut exchange = Exchange::new(world.next);
    world.host.shows(Of::Request, &[&CALL[..], more].concat(), b"");
    let acts = exchange.on_request_headers(&mut world.worker, &world.host, false);
    if acts.flow == Flow::Continue {
        return (exchange, acts);
    }
    let acts = world.sends_body(&mut exchange, body, true);
    (exchange, acts)
}

pub(super) fn calls(world: &mut World, body: &[u8]) -> (Exchange, Acts) {
    calls_with(world, &[], body)
}

/// The upstream's answer to a call, with its status behind it.
fn answers(world: &mut World, exchange: &mut Exchange, body: &[u8], status: &str) -> String {
    let (told, _) = world.begins(exchange, &CALL_FRESH);
    world.host.shows(Of::Response, &[], body);
    exchange.on_response_body(&mut world.worker, &world.host, body.len(), false);
    world.host.shows(Of::ResponseTrailers, &[("grpc-status", status)], b"");
    exchange.on_response_trailers(&mut world.worker, &world.host);
    told
}

/// What the route for hits answers with, made ours: `Cache-Status` and the body.
pub(super) fn route_answers(world: &mut World, exchange: &mut Exchange) -> (String, Vec<u8>) {
    world.host.properties.borrow_mut().insert("response.code_details".into(), b"direct_response".to_vec());
    world.host.shows(Of::Response, &[(":status", "200"), ("grpc-status", "0")], &[0; 5]);
    let begun = exchange.on_response_headers(&mut world.worker, &world.host, false);
    let filled = exchange.on_response_body(&mut world.worker, &world.host, 5, false);
    let [Act::BeginReply { reply }] = begun.list.as_slice() else { panic!("{begun:?}") };
    let [Act::FillReply { reply: filling, size: 5 }] = filled.list.as_slice() else { panic!("{filled:?}") };
    assert_eq!(reply, filling);
    let mut status = String::new();
    encoding::grpc::begin(reply, |headers| {
        let value = |name| headers.iter().find(|(found, _)| *found == name).map(|(_, value)| *value);
        assert_eq!((value(":status"), value("content-type")), (Some("200"), Some("application/grpc")));
        value("cache-status").unwrap_or_default().clone_into(&mut status);
    });
    assert_eq!(exchange.on_response_trailers(&mut world.worker, &world.host), Acts::go());
    (status, encoding::grpc::fill(reply))
}

#[track_caller]
pub(super) fn is_answered(acts: &Acts, exchange: &Exchange) {
    assert_eq!(acts, &Acts::go().and(Act::AnswerByRoute { context: exchange.context }));
}

#[test]
fn calls_pass_untouched_unless_the_settings_say_otherwise() {
    let mut world = World::new("");
    assert_eq!(calls(&mut world, &body("")).1, Acts::go());
    let mut world = World::new(ON);
    for (name, value) in [
        (":path", "/inference.GRPCInferenceService/ModelStreamInfer"),
        ("content-type", "x"),
        ("content-type", "application/grpc-web+proto"),
    ] {
        let mut headers = CALL;
        headers.iter_mut().filter(|(found, _)| *found == name).for_each(|header| header.1 = value);
        world.host.shows(Of::Request, &headers, b"");
        let acts = Exchange::new(1).on_request_headers(&mut world.worker, &world.host, false);
        assert_eq!(acts, Acts::go(), "{name}");
    }
}

#[test]
fn a_call_is_stored_with_its_status_and_hit_by_bytes_by_digest_and_with_any_id() {
    let mut world = World::new(ON);
    let (mut first, acts) = calls(&mut world, &body("mine"));
    assert_eq!(acts, Acts::go());
    assert_eq!(answers(&mut world, &mut first, &answer("mine"), OK), "forebay; fwd=miss");
    for (id, tier) in [("", "raw"), ("another", "raw"), ("mine", "raw")] {
        let (mut exchange, acts) = calls(&mut world, &body(id));
        is_answered(&acts, &exchange);
        let hit = route_answers(&mut world, &mut exchange);
        assert_eq!(hit, (format!("forebay; hit; ttl=60; detail={tier}"), answer(id)), "{id}");
    }
    // The same in another order of fields: an id behind all else.
    let message = [request("").encode_to_vec(), message::id_field("last")].concat();
    let (mut exchange, acts) = calls(&mut world, &framed(&message));
    is_answered(&acts, &exchange);
    let hit = route_answers(&mut world, &mut exchange);
    assert_eq!(hit, ("forebay; hit; ttl=60; detail=vm".into(), answer("last")));
}

#[test]
fn what_fails_or_breaks_off_is_not_stored() {
    for (status, body) in [("8", answer("")), (OK, vec![0, 0, 0, 0, 9, 1]), (OK, framed(&[0xff]))] {
        let mut world = World::new(ON);
        let (mut first, _) = calls(&mut world, &self::body(""));
        answers(&mut world, &mut first, &body, status);
        assert_eq!(calls(&mut world, &self::body("")).1, Acts::go(), "{status} {body:?}");
    }
    let mut world = World::new(ON);
    let (mut first, _) = calls(&mut world, &body(""));
    let failed = [&CALL_FRESH[..], &[("grpc-status", "14")]].concat();
    assert_eq!(world.begins(&mut first, &failed).0, "forebay; fwd=miss; detail=status");
    let (mut cut, _) = calls(&mut world, &body(""));
    world.begins(&mut cut, &CALL_FRESH);
    world.ends(&mut cut, &answer(""));
    assert_eq!(calls(&mut world, &body("")).1, Acts::go(), "without trailers it is no answer");
}

#[test]
fn equal_calls_wait_and_are_answered_by_route() {
    let mut world = World::new(ON);
    let (mut leader, _) = calls(&mut world, &body(""));
    let mut waiters = ["a", "b"].map(|id| calls(&mut world, &body(id)).0);
    assert_eq!(world.worker.join.waiting(), 2);
    answers(&mut world, &mut leader, &answer(""), OK);
    let acts = world.worker.on_wake(&world.host);
    let by_route = waiters.each_ref().map(|waiter| Act::AnswerByRoute { context: waiter.context });
    assert_eq!(acts.list.as_slice(), by_route);
    for (waiter, id) in waiters.iter_mut().zip(["a", "b"]) {
        let answered = route_answers(&mut world, waiter);
        assert_eq!(answered, ("forebay; fwd=miss; collapsed".into(), answer(id)));
    }
}

#[test]
fn a_call_whose_time_is_over_waits_no_longer_and_is_told_so() {
    let mut world = World::new(ON);
    let (_leader, _) = calls(&mut world, &body(""));
    let (waiter, acts) = calls_with(&mut world, &[("grpc-timeout", "300m")], &body(""));
    assert_eq!(acts, Acts::hold());
    world.host.now_ms.set(NOW_MS + 299);
    assert_eq!(world.worker.on_tick(&world.host).list.as_slice(), []);
    world.host.now_ms.set(NOW_MS + 300);
    let acts = world.worker.on_tick(&world.host);
    let [Act::Answer { context, reply }] = acts.list.as_slice() else { panic!("{acts:?}") };
    assert_eq!(*context, waiter.context);
    encoding::send(reply, |local| match local {
        encoding::Local::Late(message, headers) => {
            assert!(message.contains("time was over"));
            assert_eq!(headers, [("cache-status", "forebay; fwd=miss; detail=waited-too-long")]);
        }
        other @ encoding::Local::Http(..) => panic!("{other:?}"),
    });
    let (_, acts) = calls_with(&mut world, &[("grpc-timeout", "soon")], &body(""));
    assert_eq!(acts, Acts::go(), "what is no time is the upstream's to refuse");
}

#[test]
fn a_call_whose_time_is_over_by_a_clock_that_was_set_goes_upstream() {
    let mut world = World::new(ON);
    world.worker.on_tick(&world.host);
    let (_leader, _) = calls(&mut world, &body(""));
    let (waiter, acts) = calls_with(&mut world, &[("grpc-timeout", "300m")], &body(""));
    assert_eq!(acts, Acts::hold());
    world.host.now_ms.set(NOW_MS + 3_600_000);
    let acts = world.worker.on_tick(&world.host);
    assert!(acts.list.contains(&Act::Resume { context: waiter.context }), "{acts:?}");
}

#[test]
fn the_pools_answer_serves_calls_and_http_alike() {
    let mut world = World::new(&format!(r#", "grpc": "answer"{GATE}"#));
    let (mut http, acts) = world.asks(BODY);
    let asked = call(&acts).unwrap().clone();
    let (mut exchange, acts) = calls(&mut world, &body("mine"));
    assert_eq!(acts, Acts::hold(), "an equal request is on its way, in whatever encoding");
    let acts = world.gate_says(&mut http, "200", &entry(1));
    assert!(
        matches!(acts.list.as_slice(), [Act::Wake, Act::Answer { .. }] | [Act::Answer { .. }, Act::Wake]),
        "{acts:?}"
    );
    world.worker.on_wake(&world.host);
    let (status, body) = route_answers(&mut world, &mut exchange);
    assert_eq!(status, "forebay; hit; ttl=59; detail=l2");
    let told = ModelInferResponse::decode(&body[5..]).unwrap();
    assert_eq!((told.id.as_str(), &told.raw_output_contents[0][..]), ("mine", &[7, 0, 0, 0][..]));
    // Alone, it asks the same.
    let mut world = World::new(&format!(r#", "grpc": "answer"{GATE}"#));
    let (mut exchange, acts) = calls(&mut world, &self::body(""));
    assert_eq!(call(&acts).unwrap(), &asked);
    let acts = world.gate_says(&mut exchange, "200", &entry(1));
    is_answered(&acts, &exchange);
    assert_eq!(route_answers(&mut world, &mut exchange).0, "forebay; hit; ttl=59; detail=l2");
}

#[test]
fn who_wants_nothing_but_a_kept_answer_is_told_in_grpcs_form_that_there_is_none() {
    let mut world = World::new(ON);
    let (_, acts) = calls_with(&mut world, &[("cache-control", "only-if-cached")], &body(""));
    let [Act::Answer { reply, .. }] = acts.list.as_slice() else { panic!("{acts:?}") };
    encoding::send(reply, |local| assert!(matches!(local, encoding::Local::Late(..)), "{local:?}"));
}

#[test]
fn compressed_messages_are_looked_into_where_it_is_by_gzip() {
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write as _;
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(&request("").encode_to_vec()).unwrap();
    let mut compressed = framed(&encoder.finish().unwrap());
    compressed[0] = 1;
    let mut world = World::new(ON);
    let (mut first, _) = calls(&mut world, &body(""));
    answers(&mut world, &mut first, &answer(""), OK);
    let (mut exchange, acts) = calls_with(&mut world, &[("grpc-encoding", "gzip")], &compressed);
    is_answered(&acts, &exchange);
    assert_eq!(route_answers(&mut world, &mut exchange).1, answer(""));
    let (mut other, acts) = calls_with(&mut world, &[("grpc-encoding", "zstd")], &compressed);
    assert_eq!(acts, Acts::go());
    assert_eq!(world.begins(&mut other, &FRESH).0, "forebay; fwd=bypass; detail=content-encoding");
}

#[test]
fn what_is_understood_in_two_ways_passes() {
    let mut world = World::new(ON);
    let twice = [request("").encode_to_vec(), b"\x0a\x01n".to_vec()].concat();
    for body in [framed(&twice), framed(b""), body("")[..9].to_vec(), [body(""), body("")].concat()] {
        let (mut exchange, acts) = calls(&mut world, &body);
        assert_eq!(acts, Acts::go());
        assert_eq!(world.begins(&mut exchange, &FRESH).0, "forebay; fwd=bypass; detail=malformed");
    }
}

#[test]
fn where_the_proxy_has_no_route_for_hits_the_upstream_answers() {
    let mut world = World::new(ON);
    let (mut first, _) = calls(&mut world, &body(""));
    answers(&mut world, &mut first, &answer(""), OK);
    let (mut exchange, acts) = calls(&mut world, &body(""));
    is_answered(&acts, &exchange);
    world.host.properties.borrow_mut().insert("response.code_details".into(), b"via_upstream".to_vec());
    let told = answers(&mut world, &mut exchange, &answer(""), OK);
    assert_eq!(told, format!("forebay; fwd=miss; detail={}", Detail::NoRoute.text()));
}

#[test]
fn where_nothing_puts_a_status_behind_a_message_one_call_is_told_so_and_others_pass() {
    let mut world = World::new(ON);
    let (mut first, _) = calls(&mut world, &body(""));
    answers(&mut world, &mut first, &answer(""), OK);
    let (mut exchange, acts) = calls(&mut world, &body(""));
    is_answered(&acts, &exchange);
    world.host.properties.borrow_mut().insert("response.code_details".into(), b"direct_response".to_vec());
    world.host.shows(Of::Response, &[(":status", "200"), ("grpc-status", "0")], b"");
    let acts = exchange.on_response_headers(&mut world.worker, &world.host, true);
    let unavailable = Act::SetResponseHeader { name: "grpc-status", value: "14".into() };
    assert!(acts.list.contains(&unavailable), "{acts:?}");
    let (mut passes, acts) = calls(&mut world, &body(""));
    assert_eq!(acts, Acts::go());
    assert_eq!(world.begins(&mut passes, &FRESH), (String::new(), false));
    assert_eq!(world.host.warnings.borrow().len(), 1);
}

#[test]
fn routes_are_told_of_a_calls_model_as_soon_as_it_is_named() {
    let settings = r#", "grpc": "answer", "backends": {"on_demand": {"demo": ["m"]}}"#;
    let mut world = World::new(settings);
    let on_demand = Act::SetRequestHeader { name: X_FOREBAY_BACKENDS, value: "on-demand".into() };
    world.host.shows(Of::Request, &CALL, b"");
    let mut exchange = Exchange::new(1);
    assert_eq!(exchange.on_request_headers(&mut world.worker, &world.host, false), Acts::hold());
    let acts = world.sends_body(&mut exchange, &body("")[..9], false);
    assert_eq!(acts, Acts::hold().and(on_demand.clone()));
    assert_eq!(world.sends_body(&mut exchange, &body(""), true), Acts::go(), "once");
    let (_, acts) = calls(&mut world, &body("x"));
    assert_eq!(acts, Acts::hold().and(on_demand.clone()), "it waits, and was told");
    let (_, acts) = calls_with(&mut world, &[("cache-control", "no-store")], &body(""));
    assert_eq!(acts, Acts::go().and(on_demand), "what is not looked up is told too");
}
