//! What routes are told: which backends compute a model, and where equal requests meet.

use super::*;
use forebay_protocol::header::{X_FOREBAY_BACKENDS, X_FOREBAY_HASH};

const ON_DEMAND: &str = r#", "backends": {"on_demand": {"demo": ["m", "rare"]}, "hash": true}"#;
const CALL: [(&str, &str); 2] =
    [(":method", "POST"), (":path", "/inference.GRPCInferenceService/ModelInfer")];

/// The headers that acts set, by name.
fn told(acts: &Acts) -> Vec<(&str, &str)> {
    let set = acts.list.iter().filter_map(|act| match act {
        Act::SetRequestHeader { name, value } => Some((*name, value.as_str())),
        _ => None,
    });
    set.collect()
}

fn headers(world: &mut World, exchange: &mut Exchange, headers: &[(&str, &str)], ends: bool) -> Acts {
    world.host.shows(Of::Request, headers, b"");
    exchange.on_request_headers(&mut world.worker, &world.host, ends)
}

/// A gRPC message of a request for that model.
fn call(model: &str) -> Vec<u8> {
    let length = u8::try_from(model.len()).unwrap();
    [&[0, 0, 0, 0, length + 2, 0x0a, length], model.as_bytes()].concat()
}

#[test]
fn whatever_is_asked_of_an_on_demand_model_goes_to_its_backends_and_all_of_it_meets() {
    let mut world = World::new(ON_DEMAND);
    let on_demand = [(X_FOREBAY_BACKENDS, "on-demand"), (X_FOREBAY_HASH, "rare")];
    for (method, path) in [
        ("GET", "/v2/models/rare/ready"),
        ("POST", "/v2/models/rare/versions/1/infer"),
        ("POST", "/v2/models/%72are/infer"),
        ("POST", "/v1/models/rare:predict"),
    ] {
        let mut exchange = Exchange::new(1);
        let acts =
            headers(&mut world, &mut exchange, &[(":method", method), (":path", path)], method == "GET");
        assert_eq!(told(&acts), on_demand, "{path}");
    }
    for path in ["/v2/models/hot/ready", "/v2", "/v2/health/ready", "/v2/models/rare%ff/ready"] {
        let mut exchange = Exchange::new(1);
        let acts = headers(&mut world, &mut exchange, &[(":method", "GET"), (":path", path)], true);
        assert_eq!(acts, Acts::go(), "{path}");
    }
}

#[test]
fn what_a_client_says_in_these_names_is_gone_before_we_speak() {
    let mut world = World::new(ON_DEMAND);
    let forged = [(X_FOREBAY_BACKENDS, "on-demand"), (X_FOREBAY_HASH, "1")];
    for (path, says) in [("/v2/models/hot/ready", 0), ("/v2/models/rare/ready", 2)] {
        let mut exchange = Exchange::new(1);
        let all = [&[(":method", "GET"), (":path", path)][..], &forged].concat();
        let acts = headers(&mut world, &mut exchange, &all, true);
        assert!(
            acts.list.iter().take(2).all(|act| matches!(act, Act::RemoveRequestHeader { .. })),
            "{acts:?}"
        );
        assert_eq!((told(&acts).len(), acts.list.len()), (says, says + 2), "{path}");
    }
}

#[test]
fn equal_requests_in_any_spelling_meet_and_hits_say_nothing() {
    let mut world = World::new(r#", "backends": {"hash": true}"#);
    let (mut first, acts) = world.asks(BODY);
    let hash = told(&acts)[0].1.to_owned();
    assert_eq!((told(&acts), acts.flow), (vec![(X_FOREBAY_HASH, hash.as_str())], Flow::Continue));
    // Who waits is let go on by another, and can't say it then.
    let (waits, acts) = world.asks(SPACED);
    assert_eq!((told(&acts), acts.flow), (vec![(X_FOREBAY_HASH, hash.as_str())], Flow::Pause));
    world.leaves(waits);
    let fresh = world.asks_with(&[("cache-control", "no-cache")], BODY).1;
    assert_eq!(told(&fresh), [(X_FOREBAY_HASH, hash.as_str())]);
    assert_ne!(
        told(
            &world
                .asks(
                    AS_BINARY
                        .strip_suffix(b"]}]}")
                        .map(|most| [most, b",8]}]}"].concat())
                        .unwrap()
                        .as_slice()
                )
                .1
        ),
        told(&fresh)
    );
    world.answers(&mut first, &FRESH, ANSWER);
    assert!(hit(&world.asks(WITH_ID).1).is_some());
}

#[test]
fn a_miss_may_be_sent_again_and_what_depends_on_others_may_not() {
    let mut world = World::new(r#", "backends": {"retry": true}"#);
    let again = |acts: &Acts| told(acts) == [("x-envoy-retry-on", "reset")];
    assert!(again(&world.asks(BODY).1));
    let in_sequence =
        BODY.strip_suffix(b"}").map(|most| [most, br#", "parameters": {"sequence_id": 1}}"#].concat());
    assert!(told(&world.asks(&in_sequence.unwrap()).1).is_empty());
}

#[test]
fn a_calls_model_is_read_of_its_first_bytes() {
    let mut world = World::new(ON_DEMAND);
    for (model, says) in [("rare", 2), ("hot", 0)] {
        let (mut exchange, body) = (Exchange::new(1), call(model));
        assert_eq!(headers(&mut world, &mut exchange, &CALL, false), Acts::hold());
        assert_eq!(world.sends_body(&mut exchange, &body[..8], false), Acts::hold());
        let acts = world.sends_body(&mut exchange, &body, false);
        assert_eq!((told(&acts).len(), acts.flow), (says, Flow::Continue), "{model}");
        assert_eq!(world.sends_body(&mut exchange, &[&body[..], b"more"].concat(), true), Acts::go());
        assert_eq!(world.begins(&mut exchange, &FRESH), (String::new(), false));
    }
    assert_eq!(world.worker.memory.held(), 0);
}

#[test]
fn a_call_that_names_nobody_in_time_is_the_hot_ones() {
    let mut world = World::new(ON_DEMAND);
    for (body, ends) in [
        (vec![0; 3], true),
        (vec![1; 9], false),
        ([&[0, 0, 9, 0, 0, 0x3a, 0xff, 0xff, 0x03][..], &vec![7; 64 << 10]].concat(), false),
    ] {
        let mut exchange = Exchange::new(1);
        headers(&mut world, &mut exchange, &CALL, false);
        assert_eq!(world.sends_body(&mut exchange, &body, ends), Acts::go(), "{} bytes", body.len());
    }
}

#[test]
fn without_on_demand_models_calls_are_not_read() {
    let mut world = World::new(r#", "backends": {"on_demand": {"demo": []}, "hash": true}"#);
    assert_eq!(headers(&mut world, &mut Exchange::new(1), &CALL, false), Acts::go());
}
