//! What is answered from L1, and how it looks.

use super::{
    FRESH, INFER, answered, answering, answering_as, asking, asking_as, forwarded, hit, host, hosts, infer,
    miss, sound,
};
use e2e::wasm_host::Request;
use serde_json::json;
use std::time::Duration;

#[test]
fn a_repeat_is_answered_without_the_upstream() {
    let mut host = host(&json!({}));
    let worker = host.worker(0);
    let first = miss(worker, 7);
    assert_eq!(worker.response(first).cache_status(), "forebay; fwd=miss; stored");
    assert_eq!(worker.response(first).body, answering(7));
    let second = hit(worker, infer(asking(7)));
    let response = worker.response(second);
    assert_eq!((response.status, &response.body), (200, &answering(7)));
    assert_eq!(response.header("content-type").as_deref(), Some("application/json"));
    sound(worker);
}

#[test]
fn the_same_tensors_written_otherwise_are_a_hit() {
    let mut host = host(&json!({}));
    let worker = host.worker(0);
    miss(worker, 7);
    let written_otherwise =
        br#" {"inputs":[ {"data":[[7]] ,"datatype":"INT32","shape":[1,1],"name":"x"}], "model_name":"m"}"#;
    let id = hit(worker, infer(written_otherwise.as_slice()));
    assert_eq!(worker.response(id).body, answering(7));
    sound(worker);
}

#[test]
fn another_value_shape_type_name_output_parameter_model_or_version_is_a_miss() {
    let mut host = host(&json!({}));
    let worker = host.worker(0);
    let base =
        json!({"inputs": [{"name": "x", "shape": [2, 3], "datatype": "INT32", "data": [1, 2, 3, 4, 5, 6]}]});
    let first = forwarded(worker, infer(base.to_string()));
    worker.respond(first, 200, &FRESH, &answering(1));
    hit(worker, infer(base.to_string()));
    let with = |pointer: &str, value| {
        let mut changed = base.clone();
        *changed.pointer_mut(pointer).expect("there") = value;
        changed
    };
    let mut asked = base.clone();
    asked["outputs"] = json!([{"name": "y"}]);
    let mut parameter = base.clone();
    parameter["parameters"] = json!({"temperature": 1});
    for changed in [
        with("/inputs/0/data/0", json!(9)),
        with("/inputs/0/shape", json!([3, 2])),
        with("/inputs/0/datatype", json!("INT64")),
        with("/inputs/0/name", json!("z")),
        asked,
        parameter,
    ] {
        let id = worker.send(infer(changed.to_string()));
        assert!(worker.forwarded(id).is_some(), "answered from another's: {changed}");
        worker.reset(id);
    }
    for path in ["/v2/models/n/infer", "/v2/models/m/versions/1/infer"] {
        let id = worker.send(Request::post(path).body(base.to_string()));
        assert!(worker.forwarded(id).is_some(), "answered from another's: {path}");
        worker.reset(id);
    }
    sound(worker);
}

#[test]
fn each_client_gets_its_own_id_and_none_gets_none() {
    let mut host = host(&json!({}));
    let worker = host.worker(0);
    let first = forwarded(worker, infer(asking_as("one", 7)));
    worker.respond(first, 200, &FRESH, &answering_as("one", 7));
    assert_eq!(worker.response(first).json()["id"], "one");
    for id in ["two", "one", "with \\\" quotes and \\u00e4"] {
        let again = hit(worker, infer(asking_as(&id.replace("\\\"", "\"").replace("\\u00e4", "ä"), 7)));
        assert_eq!(
            worker.response(again).json()["id"],
            id.replace("\\\"", "\"").replace("\\u00e4", "ä").as_str()
        );
    }
    let without = hit(worker, infer(asking(7)));
    assert_eq!(worker.response(without).json().get("id"), None);
    assert_eq!(worker.response(without).body, answering(7));
    sound(worker);
}

#[test]
fn age_grows_and_freshness_ends() {
    let mut host = host(&json!({}));
    miss(host.worker(0), 7);
    host.advance(Duration::from_secs(20));
    let worker = host.worker(0);
    let id = hit(worker, infer(asking(7)));
    assert_eq!(worker.response(id).header("age").as_deref(), Some("20"));
    assert!(worker.response(id).cache_status().starts_with("forebay; hit; ttl=40"));
    host.advance(Duration::from_secs(40));
    let worker = host.worker(0);
    let stale = miss(worker, 7);
    assert_eq!(worker.response(stale).cache_status(), "forebay; fwd=stale; stored");
    sound(worker);
}

#[test]
fn an_age_from_the_upstream_counts() {
    let mut host = host(&json!({}));
    let worker = host.worker(0);
    let first = forwarded(worker, infer(asking(7)));
    worker.respond(first, 200, &[&FRESH[..], &[("age", "50")]].concat(), &answering(7));
    let id = hit(worker, infer(asking(7)));
    assert_eq!(worker.response(id).header("age").as_deref(), Some("50"));
    host.advance(Duration::from_secs(10));
    forwarded(host.worker(0), infer(asking(7)));
}

#[test]
fn a_cache_further_on_keeps_its_place_in_the_list() {
    let mut host = host(&json!({}));
    let worker = host.worker(0);
    let first = forwarded(worker, infer(asking(7)));
    worker.respond(first, 200, &[&FRESH[..], &[("cache-status", "inner; hit")]].concat(), &answering(7));
    assert_eq!(worker.response(first).cache_status(), "inner; hit, forebay; fwd=miss; stored");
}

#[test]
fn what_one_worker_used_again_another_finds() {
    let mut host = hosts(&json!({}), 2);
    miss(host.worker(0), 7);
    assert_eq!(host.shared_bytes("forebay.slot.0"), 0, "most that are asked for once never are again");
    hit(host.worker(0), infer(asking(7)));
    let other = host.worker(1);
    let (id, status) = answered(other, infer(asking(7)));
    assert!(status.ends_with("detail=shared"), "{status}");
    assert_eq!(other.response(id).body, answering(7));
    sound(other);
}

#[test]
fn what_two_workers_missed_all_others_find() {
    let mut host = hosts(&json!({}), 3);
    miss(host.worker(0), 7);
    miss(host.worker(1), 7);
    let (_, status) = answered(host.worker(2), infer(asking(7)));
    assert!(status.ends_with("detail=shared"), "{status}");
}

#[test]
fn binary_tensors_are_answered_in_binary_and_apart_from_json() {
    let mut host = host(&json!({}));
    let worker = host.worker(0);
    miss(worker, 7);
    let json = br#"{"inputs":[{"name":"x","shape":[1,1],"datatype":"INT32","parameters":{"binary_data_size":4}}],"outputs":[{"name":"y","parameters":{"binary_data":true}}]}"#;
    let body = [&json[..], &7_i32.to_le_bytes()].concat();
    let binary = || {
        Request::post(INFER)
            .header("content-type", "application/octet-stream")
            .header("inference-header-content-length", json.len().to_string())
            .body(body.clone())
    };
    let first = forwarded(worker, binary());
    let head = br#"{"model_name":"m","model_version":"1","outputs":[{"name":"y","datatype":"INT32","shape":[1,1],"parameters":{"binary_data_size":4}}]}"#;
    let answer = [&head[..], &7_i32.to_le_bytes()].concat();
    let length = head.len().to_string();
    let headers = [
        ("content-type", "application/octet-stream"),
        ("inference-header-content-length", length.as_str()),
        ("cache-control", "max-age=60"),
    ];
    worker.respond(first, 200, &headers, &answer);
    let again = hit(worker, binary());
    let response = worker.response(again);
    assert_eq!(response.body, answer);
    assert_eq!(response.header("inference-header-content-length"), Some(length));
    assert_eq!(response.header("content-type").as_deref(), Some("application/octet-stream"));
    sound(worker);
}

#[test]
fn routes_with_other_services_never_share() {
    let routes = json!({"routes": {"a": {"service": "team-a"}, "b": {"service": "team-b"}}});
    let mut host = host(&routes);
    let worker = host.worker(0);
    let on = |route: &str| infer(asking(7)).property("xds.route_name", route);
    let first = forwarded(worker, on("a"));
    worker.respond(first, 200, &FRESH, &answering(7));
    hit(worker, on("a"));
    let other = forwarded(worker, on("b"));
    worker.respond(other, 200, &FRESH, &answering(8));
    let again = hit(worker, on("b"));
    assert_eq!(worker.response(again).body, answering(8));
    forwarded(worker, on("c"));
    sound(worker);
}

#[test]
fn only_a_whole_200_that_says_how_long_is_stored() {
    let plain = [("content-type", "application/json")];
    let long = "x".repeat(8 << 10);
    for (status, headers, why) in [
        (200, &plain[..], "uncacheable"),
        (200, &[("cache-control", "private, max-age=60")], "uncacheable"),
        (200, &[("cache-control", "max-age=0")], "uncacheable"),
        (200, &[("cache-control", "max-age=60"), ("vary", "accept")], "varies"),
        (200, &[("cache-control", "max-age=60"), ("vary", "*")], "varies"),
        (200, &[("cache-control", "max-age=60"), ("set-cookie", "a=b")], "fields"),
        (200, &[("cache-control", "max-age=60"), ("x-long", long.as_str())], "fields"),
        (500, &FRESH, "status"),
        (203, &FRESH, "status"),
    ] {
        let mut host = host(&json!({}));
        let worker = host.worker(0);
        let first = forwarded(worker, infer(asking(7)));
        worker.respond_head(first, status, headers, false);
        worker.respond_piece(first, &answering(7), true);
        assert_eq!(worker.response(first).body, answering(7), "{why}");
        assert_eq!(worker.response(first).cache_status(), format!("forebay; fwd=miss; detail={why}"));
        let again = worker.send(infer(asking(7)));
        assert!(worker.forwarded(again).is_some(), "stored: {why}");
        sound(worker);
    }
}

#[test]
fn an_answer_cut_short_is_not_stored() {
    let mut host = host(&json!({}));
    let worker = host.worker(0);
    let first = forwarded(worker, infer(asking(7)));
    worker.respond_head(first, 200, &[&FRESH[..], &[("content-length", "9999")]].concat(), false);
    worker.respond_piece(first, &answering(7), true);
    forwarded(worker, infer(asking(7)));
    sound(worker);
}

#[test]
fn a_hit_has_the_fields_of_the_answer_that_was_stored() {
    let mut host = hosts(&json!({}), 2);
    let kept = [
        ("content-type", "application/json; charset=utf-8"),
        ("cache-control", "max-age=5, s-maxage=600, must-revalidate"),
        ("etag", "\"a\""),
        ("access-control-allow-origin", "*"),
        ("x-custom", "one"),
        ("x-custom", "two"),
        ("vary", "Accept-Encoding"),
    ];
    let left = [
        ("connection", "x-hop"),
        ("x-hop", "1"),
        ("date", "then"),
        ("server", "it"),
        ("x-forebay-cost-us", "9"),
        ("x-envoy-a", "b"),
    ];
    let worker = host.worker(0);
    let first = forwarded(worker, infer(asking(7)));
    worker.respond(first, 200, &[&kept[..], &left[..]].concat(), &answering(7));
    // From the map, from the slots, and as an exact repeat.
    for number in [0, 1, 0, 1] {
        let worker = host.worker(number);
        let id = hit(worker, infer(asking(7)));
        let headers = &worker.response(id).headers;
        for (name, value) in kept {
            let pair = (name.to_owned(), value.as_bytes().to_vec());
            assert_eq!(headers.iter().filter(|held| **held == pair).count(), 1, "{name} of {headers:?}");
        }
        assert!(left.iter().all(|(name, _)| !headers.iter().any(|(held, _)| held == name)), "{headers:?}");
        assert!(worker.response(id).cache_status().contains("ttl=600;"), "for a shared cache it is s-maxage");
        sound(worker);
    }
}

#[test]
fn encoded_bytes_are_kept_for_those_who_accept_the_same() {
    let mut host = host(&json!({}));
    let worker = host.worker(0);
    let accepting = |body: Vec<u8>, encodings: &str| infer(body).header("accept-encoding", encodings);
    let gzip = [&FRESH[..], &[("content-encoding", "gzip"), ("vary", "accept-encoding")]].concat();
    let first = forwarded(worker, accepting(asking(7), "gzip"));
    worker.respond(first, 200, &gzip, b"\x1f\x8b bytes");
    assert_eq!(worker.response(first).cache_status(), "forebay; fwd=miss; stored");
    for body in [asking(7), [&asking(7)[..], b" "].concat()] {
        let id = hit(worker, accepting(body, "gzip"));
        assert_eq!(worker.response(id).body, b"\x1f\x8b bytes");
        assert_eq!(worker.response(id).header("content-encoding").as_deref(), Some("gzip"));
    }
    // Not for others, nor with an id, which can't be put into encoded bytes.
    for other in [infer(asking(7)), accepting(asking(7), "br")] {
        let id = forwarded(worker, other);
        worker.respond(id, 200, &FRESH, &answering(7));
    }
    let with_id = forwarded(worker, accepting(asking_as("one", 7), "gzip"));
    worker.respond(with_id, 200, &gzip, b"\x1f\x8b more");
    assert_eq!(worker.response(with_id).cache_status(), "forebay; fwd=miss; detail=unsuited");
    let with_id = forwarded(worker, accepting(asking_as("one", 8), "gzip"));
    worker.respond(with_id, 200, &gzip, b"\x1f\x8b more");
    assert_eq!(worker.response(with_id).cache_status(), "forebay; fwd=miss; detail=content-encoding");
    sound(worker);
}

#[test]
fn an_answer_in_pieces_or_with_trailers_is_stored_whole() {
    let mut host = host(&json!({}));
    let worker = host.worker(0);
    let pieces = forwarded(worker, infer(asking(1)));
    worker.respond_head(pieces, 200, &FRESH, false);
    for byte in answering(1) {
        worker.respond_piece(pieces, &[byte], false);
    }
    worker.respond_piece(pieces, &[], true);
    let again = hit(worker, infer(asking(1)));
    assert_eq!(worker.response(again).body, answering(1));
    let trailers = forwarded(worker, infer(asking(2)));
    worker.respond_head(trailers, 200, &FRESH, false);
    worker.respond_piece(trailers, &answering(2), false);
    worker.respond_trailers(trailers, &[("x", "y")]);
    let again = hit(worker, infer(asking(2)));
    assert_eq!(worker.response(again).body, answering(2));
    sound(worker);
}

#[test]
fn an_answer_larger_than_an_entry_passes_and_is_not_stored() {
    let mut host = host(&json!({"l1": {"max_entry_bytes": 1000}}));
    let worker = host.worker(0);
    let large = vec![b'x'; 1001];
    let known = forwarded(worker, infer(asking(1)));
    worker.respond(known, 200, &FRESH, &large);
    assert_eq!(worker.response(known).body, large);
    let status = worker.response(known).cache_status();
    assert_eq!(status, "forebay; fwd=miss; detail=answer-too-large");
    let unknown = forwarded(worker, infer(asking(1)));
    worker.respond_head(unknown, 200, &FRESH, false);
    worker.respond_piece(unknown, &large[..600], false);
    worker.respond_piece(unknown, &large[600..], true);
    assert_eq!(worker.response(unknown).body, large);
    forwarded(worker, infer(asking(1)));
    sound(worker);
}

#[test]
fn l1_stays_within_its_bytes() {
    let (vm, shared) = (64 << 10, 256 << 10);
    let mut host = host(&json!({"l1": {"vm_bytes": vm, "shared_bytes": shared}}));
    for value in 0..2000 {
        miss(host.worker(0), value);
    }
    assert!(host.metric("forebay_l1_vm_bytes") <= vm);
    assert!(host.shared_bytes("forebay.slot.") <= usize::try_from(shared).expect("small"));
    sound(host.worker(0));
}

#[test]
fn large_json_is_answered_only_to_an_exact_repeat() {
    let mut host = host(&json!({"max_json_bytes": 50}));
    let worker = host.worker(0);
    let body = || infer(asking(7));
    let first = forwarded(worker, body());
    worker.respond(first, 200, &FRESH, &answering(7));
    let again = hit(worker, body());
    assert_eq!(worker.response(again).body, answering(7));
    let spaced = [&asking(7)[..], b" "].concat();
    let other = forwarded(worker, infer(spaced));
    worker.reset(other);
    super::bypassed(worker, infer(asking_as("an id", 7)), "json-too-large");
    sound(worker);
}
