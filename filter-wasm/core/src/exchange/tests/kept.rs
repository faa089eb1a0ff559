//! A hit is the answer that was stored: its fields, its encoding, its age.

use super::*;
use crate::config::Config;
use crate::encoding;
use forebay_protocol::entry::Entry;

type Sent = (Vec<(String, String)>, Vec<u8>);

/// What a hit sends.
fn sent(acts: &Acts) -> Sent {
    let [Act::Answer { reply, .. }] = acts.list.as_slice() else { panic!("{acts:?}") };
    let mut sent = Sent::default();
    encoding::send(reply, |local| {
        let encoding::Local::Http(_, headers, body) = local else { panic!("{local:?}") };
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        sent = (headers.iter().map(own).collect(), body.to_vec());
    });
    sent
}

fn value<'a>(sent: &'a Sent, name: &str) -> Option<&'a str> {
    let mut values = sent.0.iter().filter(|(found, _)| found == name).map(|(_, value)| value.as_str());
    let value = values.next();
    assert_eq!(values.next(), None, "{name} comes twice");
    value
}

#[test]
fn a_hit_gives_back_the_fields_that_came() {
    let mut world = World::new("");
    let (mut exchange, _) = world.asks(BODY);
    let headers = [
        (":status", "200"),
        ("content-type", "application/json; charset=utf-8"),
        ("cache-control", "max-age=5, s-maxage=600, must-revalidate"),
        ("access-control-allow-origin", "*"),
        ("etag", "\"1\""),
        ("x-custom", "yes"),
        ("age", "3, 9"),
        ("connection", "x-hop"),
        ("x-hop", "1"),
        ("cache-status", "forebay-serve; hit"),
    ];
    world.answers(&mut exchange, &headers, ANSWER);
    world.host.now_ms.set(NOW_MS + 2000);
    let sent = sent(&world.asks(BODY).1);
    for (name, kept) in [
        ("content-type", Some("application/json; charset=utf-8")),
        ("cache-control", Some("max-age=5, s-maxage=600, must-revalidate")),
        ("access-control-allow-origin", Some("*")),
        ("etag", Some("\"1\"")),
        ("x-custom", Some("yes")),
        ("age", Some("5")),
        ("x-hop", None),
        ("connection", None),
        ("cache-status", Some("forebay; hit; ttl=595; detail=raw")),
    ] {
        assert_eq!(value(&sent, name), kept, "{name}");
    }
}

#[test]
fn an_entry_of_the_pool_gives_its_fields_but_those_of_its_bytes() {
    let mut world = World::new(GATE);
    let (mut exchange, _) = world.asks(BODY);
    let field = |name: &str, value: &'static str| forebay_protocol::entry::Field {
        name: name.into(),
        value: value.into(),
    };
    let plain = Entry::decode_plain(entry(5).into()).unwrap();
    let fields = vec![field("cache-control", "public, max-age=60"), field("etag", "1"), field("x-a", "b")];
    let acts = world.gate_says(&mut exchange, "200", &Entry { fields, ..plain }.encode_plain());
    let sent = sent(&acts);
    assert_eq!(value(&sent, "cache-control"), Some("public, max-age=60"));
    assert_eq!((value(&sent, "x-a"), value(&sent, "etag")), (Some("b"), None));
    assert_eq!((value(&sent, "content-type"), value(&sent, "age")), (Some("application/json"), Some("5")));
}

#[test]
fn an_encoded_answer_is_kept_for_those_who_accept_the_same() {
    let gzip = [("accept-encoding", "gzip")];
    let encoded = [&FRESH[..], &[("content-encoding", "gzip"), ("vary", "Accept-Encoding")]].concat();
    let mut world = World::new("");
    let (mut exchange, _) = world.asks_with(&gzip, BODY);
    world.answers(&mut exchange, &encoded, b"\x1f\x8b...");
    let sent = sent(&world.asks_with(&gzip, BODY).1);
    assert_eq!((value(&sent, "content-encoding"), &sent.1[..]), (Some("gzip"), &b"\x1f\x8b..."[..]));
    let (mut exchange, _) = world.asks_with(&gzip, WITH_ID);
    let told = world.answers(&mut exchange, &encoded, b"\x1f\x8b...");
    assert_eq!(told, "forebay; fwd=miss; detail=unsuited", "an id can't be put into it");
    assert_eq!(hit(&world.asks(BODY).1), None, "who does not accept it gets another");
}

#[test]
fn min_fresh_holds_on_hits_too() {
    let mut world = World::new("");
    let (mut exchange, _) = world.asks(BODY);
    world.answers(&mut exchange, &FRESH, ANSWER);
    world.host.now_ms.set(NOW_MS + 10_000);
    assert!(hit(&world.asks_with(&[("cache-control", "min-fresh=50")], BODY).1).is_some());
    assert_eq!(hit(&world.asks_with(&[("cache-control", "min-fresh=51")], BODY).1), None);
}

#[test]
fn a_newer_answer_of_another_worker_is_found_behind_a_stale_one_of_this() {
    let mut world = World::new("");
    let (mut exchange, _) = world.asks(BODY);
    world.answers(&mut exchange, &FRESH, ANSWER);
    world.host.now_ms.set(NOW_MS + 61_000);
    let mut other = Worker::new(Config::parse(br#"{"service": "demo"}"#).unwrap());
    other.on_start(&world.host, 2);
    std::mem::swap(&mut world.worker, &mut other);
    let (mut exchange, acts) = world.asks(BODY);
    assert_eq!(acts, Acts::go(), "stale in the slots too");
    world.answers(&mut exchange, &FRESH, ANSWER);
    std::mem::swap(&mut world.worker, &mut other);
    let acts = world.asks(BODY).1;
    assert_eq!(hit(&acts), Some(("forebay; hit; ttl=60; detail=shared".into(), "")));
}

#[test]
fn an_entry_of_the_pool_that_is_too_large_is_given_and_not_kept() {
    let mut world = World::new(r#", "gate": {"cluster": "gate"}, "l1": {"max_entry_bytes": 10}"#);
    for _ in 0..2 {
        let (mut exchange, acts) = world.asks(BODY);
        assert!(call(&acts).is_some());
        assert!(hit(&world.gate_says(&mut exchange, "200", &entry(5))).is_some());
    }
}

#[test]
fn answers_are_collected_within_the_worker_s_memory() {
    let mut world = World::new(r#", "max_held_bytes": 1100000"#);
    let body = vec![b' '; 600_000];
    let (mut one, _) = world.asks(BODY);
    let another: Vec<u8> = BODY.iter().map(|byte| if *byte == b'7' { b'8' } else { *byte }).collect();
    let (mut other, _) = world.asks(&another);
    for exchange in [&mut one, &mut other] {
        world.begins(exchange, &FRESH);
        world.host.shows(Of::Response, &[], &body);
        exchange.on_response_body(&mut world.worker, &world.host, body.len(), false);
    }
    let held = world.worker.memory.held();
    assert!((600_000..1_100_000).contains(&held), "the second was not collected: {held}");
    world.leaves(one);
    assert_eq!(world.worker.memory.held(), 0);
    world.worker.on_tick(&world.host);
    assert_eq!(world.host.metrics.borrow().get("forebay_events.event=out_of_memory"), Some(&1));
}

#[test]
fn what_asks_for_its_turn_wrongly_is_the_backends_to_refuse() {
    let mut world = World::new("");
    let (mut exchange, _) = world.asks(BODY);
    world.answers(&mut exchange, &FRESH, ANSWER);
    let with = |parameters: &str| {
        let head = format!(r#"{{"parameters":{{{parameters}}},"#);
        [head.as_bytes(), &BODY[1..]].concat()
    };
    for right in [r#""priority":1"#, r#""timeout":0"#, r#""priority":18446744073709551615"#] {
        assert!(hit(&world.asks(&with(right)).1).is_some(), "{right}");
    }
    for wrong in [r#""priority":"1""#, r#""priority":-1"#, r#""timeout":1.5"#, r#""timeout":true"#] {
        let (mut exchange, acts) = world.asks(&with(wrong));
        assert_eq!(acts, Acts::go(), "{wrong}");
        let told = world.answers(&mut exchange, &[(":status", "400")], b"{}");
        assert_eq!(told, "forebay; fwd=bypass; detail=malformed", "{wrong}");
    }
}
