//! What goes past the cache untouched.

use super::{FRESH, INFER, answering, asking, bypassed, forwarded, hit, host, infer, miss, sound};
use e2e::wasm_host::Request;
use serde_json::json;
use std::time::Duration;

#[test]
fn other_paths_and_methods_pass_at_their_headers() {
    let mut host = host(&json!({}));
    let worker = host.worker(0);
    for (method, path) in [
        ("GET", "/v2/health/ready"),
        ("GET", INFER),
        ("POST", "/v2/repository/index"),
        ("POST", "/v2/models/m"),
        ("POST", "/v2/models/m/infer/"),
        ("POST", "/v2/models/m%2Finfer"),
        ("POST", "/v2/models/m/%69nfer"),
        ("POST", "/v2/models/%2e%2e/infer"),
        ("POST", "/v2/models/m%/infer"),
        ("POST", "/v2/models/%ff/infer"),
        ("POST", "/v2//models/m/infer"),
        ("POST", "/v2/models/../models/m/infer"),
        ("POST", "/V2/models/m/infer"),
    ] {
        let id = worker.open(Request::new(method, path).chunked());
        assert!(worker.forwarded(id).is_some_and(|seen| !seen.ended), "{method} {path}");
        worker.body(id, "abcd", true);
        assert_eq!(worker.forwarded(id).map(|seen| seen.body.as_slice()), Some(&b"abcd"[..]), "{path}");
        worker.respond(id, 200, &FRESH, &answering(1));
        assert_eq!(worker.response(id).cache_status(), "", "{path}");
    }
    sound(worker);
}

#[test]
fn a_body_known_to_be_over_the_cap_streams_through() {
    let mut host = host(&json!({"max_body_bytes": 100}));
    let worker = host.worker(0);
    let id = worker.open(infer(vec![b'x'; 101]));
    assert!(worker.forwarded(id).is_some_and(|seen| seen.body.is_empty()), "it is held");
    worker.body(id, vec![b'x'; 50], false);
    assert_eq!(worker.forwarded(id).map(|seen| seen.body.len()), Some(50), "it does not stream");
    worker.body(id, vec![b'x'; 51], true);
    worker.respond(id, 400, &[], b"no");
    let seen = worker.forwarded(id).expect("forwarded");
    assert!(seen.ended && seen.body == vec![b'x'; 101]);
    assert_eq!(worker.response(id).cache_status(), "forebay; fwd=bypass; detail=body-too-large");
    sound(worker);
}

#[test]
fn a_chunked_body_that_outgrows_the_cap_is_let_go_whole() {
    let mut host = host(&json!({"max_body_bytes": 100}));
    let worker = host.worker(0);
    let body: Vec<u8> = (0..=255).collect();
    let id = worker.open(infer(body.clone()).chunked());
    worker.body(id, &body[..60], false);
    assert!(worker.is_held(id));
    worker.body(id, &body[60..120], false);
    assert_eq!(worker.forwarded(id).map(|seen| seen.body.clone()), Some(body[..120].to_vec()));
    worker.body(id, &body[120..], true);
    let seen = worker.forwarded(id).expect("forwarded");
    assert!(seen.ended && seen.body == body, "{} bytes", seen.body.len());
    worker.respond(id, 200, &FRESH, &answering(1));
    assert_eq!(worker.response(id).cache_status(), "forebay; fwd=bypass; detail=body-too-large");
    sound(worker);
}

#[test]
fn a_body_that_stops_coming_is_let_go_and_says_who_asks() {
    let mut host = host(&json!({"tenancy": "required", "tenant": "a"}));
    let body = asking(7);
    let worker = host.worker(0);
    let id = worker.open(infer(body.clone()).chunked());
    worker.body(id, &body[..10], false);
    host.advance(Duration::from_secs(10));
    host.tick();
    assert!(host.worker(0).is_held(id));
    host.advance(Duration::from_millis(1));
    host.tick();
    let worker = host.worker(0);
    let seen = worker.forwarded(id).expect("it is held on");
    assert_eq!((seen.header("x-forebay-tenant").as_deref(), &seen.body[..]), (Some("a"), &body[..10]));
    worker.body(id, &body[10..], true);
    assert_eq!(worker.forwarded(id).map(|seen| seen.body.clone()), Some(body));
    worker.respond(id, 200, &FRESH, &answering(7));
    assert_eq!(worker.response(id).cache_status(), "forebay; fwd=bypass; detail=body-too-slow");
    sound(worker);
}

#[test]
fn a_body_of_exactly_the_cap_is_cached() {
    let body = asking(7);
    let mut host = host(&json!({"max_body_bytes": body.len()}));
    let worker = host.worker(0);
    miss(worker, 7);
    hit(worker, infer(body));
    sound(worker);
}

#[test]
fn a_request_that_ends_with_trailers_is_cached() {
    let mut host = host(&json!({}));
    let worker = host.worker(0);
    miss(worker, 7);
    let id = worker.open(infer(asking(7)).chunked());
    worker.body(id, asking(7), false);
    assert!(worker.is_held(id));
    worker.trailers(id, &[("checksum", "1")]);
    assert!(worker.response(id).cache_status().starts_with("forebay; hit"));
    let other = worker.open(infer(asking(8)).chunked());
    worker.body(other, asking(8), false);
    worker.trailers(other, &[("checksum", "2")]);
    let seen = worker.forwarded(other).expect("forwarded");
    assert!(seen.ended && seen.body == asking(8));
    assert_eq!(seen.trailers, [("checksum".to_owned(), b"2".to_vec())]);
    sound(worker);
}

#[test]
fn a_body_in_single_bytes_is_read_whole() {
    let mut host = host(&json!({}));
    let worker = host.worker(0);
    miss(worker, 7);
    let id = worker.open(infer(asking(7)));
    for byte in asking(7) {
        worker.body(id, [byte], false);
    }
    assert!(worker.is_held(id));
    worker.body(id, [], true);
    assert!(worker.response(id).cache_status().starts_with("forebay; hit"));
    sound(worker);
}

#[test]
fn what_can_not_be_read_without_doubt_passes() {
    let mut host = host(&json!({}));
    let worker = host.worker(0);
    bypassed(worker, infer(asking(1)).header("content-encoding", "gzip"), "content-encoding");
    let twice = infer(asking(1)).header("content-type", "application/json");
    bypassed(worker, twice, "ambiguous-headers");
    let length = "inference-header-content-length";
    for values in [&["1", "1"][..], &["+1"], &["1, 1"], &["-1"], &["99999999999999999999999"], &[""]] {
        let request = values.iter().fold(infer(asking(1)), |request, value| request.header(length, value));
        bypassed(worker, request, "ambiguous-headers");
    }
    bypassed(worker, infer(asking(1)).header(length, "999999"), "malformed");
    sound(worker);
}

#[test]
fn a_body_that_is_no_request_passes_as_it_is() {
    let mut host = host(&json!({}));
    let worker = host.worker(0);
    let nested = [vec![b'['; 1_000_000], vec![b']'; 1_000_000]].concat();
    let huge_number = br#"{"inputs":[{"name":"x","shape":[1],"datatype":"INT64","data":[1e999999999]}]}"#;
    let overflow = br#"{"inputs":[{"name":"x","shape":[9223372036854775807,9223372036854775807],"datatype":"FP32","data":[1]}]}"#;
    let duplicate = br#"{"inputs":[],"inputs":[{"name":"x","shape":[1],"datatype":"INT32","data":[1]}]}"#;
    for body in [
        b"{".to_vec(),
        b"null".to_vec(),
        b"\xff\xfe\x00".to_vec(),
        br#"{"inputs":[{"name":"\ud800","shape":[1],"datatype":"INT32","data":[1]}]}"#.to_vec(),
        asking(1)[..20].to_vec(),
        huge_number.to_vec(),
        overflow.to_vec(),
        duplicate.to_vec(),
        nested[..200_000].to_vec(),
    ] {
        bypassed(worker, infer(body), "malformed");
    }
    // Larger than what is parsed here: it has no id, so it goes as an exact-repeat candidate, and comes back as an error.
    let id = forwarded(worker, infer(nested));
    worker.respond(id, 400, &[("content-type", "application/json")], br#"{"error":"too deep"}"#);
    assert_eq!(worker.response(id).status, 400);
    sound(worker);
}

#[test]
fn headers_of_any_bytes_neither_trap_nor_mix_requests() {
    let mut host = host(&json!({}));
    let worker = host.worker(0);
    miss(worker, 7);
    let hostile =
        || infer(asking(7)).header("x-odd", b"\xff\x00\xfe").header("cookie", b"\x80").header("a", "");
    hit(worker, hostile());
    let path = [INFER.as_bytes(), b"\xff"].concat();
    let mut odd = Request::new("POST", "").body(asking(7));
    odd.set(":path", path);
    forwarded(worker, odd);
    for (name, value) in [
        ("cache-control", b"\xff\xff".as_slice()),
        ("accept", b"\xff"),
        ("content-type", b"\xfe"),
        ("inference-header-content-length", b"\xff"),
        ("content-length", b"\xff"),
        ("x-forebay-tenant", b"\xff"),
    ] {
        let id = worker.send(Request::post(INFER).chunked().header(name, value).body(asking(9)));
        if worker.forwarded(id).is_some() {
            worker.respond(id, 200, &FRESH, &answering(9));
        }
        assert_eq!(worker.response(id).status, 200, "{name}");
    }
    for value in [b"\xff".as_slice(), b"max-age=\xff", b"\x00"] {
        let id = forwarded(worker, infer(asking(10)));
        let text = String::from_utf8_lossy(value).into_owned();
        worker.respond(id, 200, &[("cache-control", &text), ("age", "\u{fffd}")], &answering(10));
    }
    sound(worker);
}

#[test]
fn a_clients_own_headers_of_ours_never_reach_the_upstream_nor_count() {
    let mut host = host(&json!({}));
    let worker = host.worker(0);
    let spoofed = |body: Vec<u8>| {
        infer(body)
            .header("x-forebay-tenant", "victim")
            .header("x-forebay-service", "other")
            .header("x-forebay-digest", "00")
            .header("x-forebay-token", "guess")
            .header("x-forebay-token", "guess again")
            .header("x-forebay-generation", super::GENERATION)
    };
    let none_of_ours = |worker: &e2e::wasm_host::Worker, id| {
        let seen = worker.forwarded(id).expect("forwarded");
        assert!(!seen.headers.iter().any(|(name, _)| name.starts_with("x-forebay-")), "{:?}", seen.headers);
    };
    let id = forwarded(worker, spoofed(asking(7)));
    none_of_ours(worker, id);
    worker.respond(id, 200, &FRESH, &answering(7));
    hit(worker, infer(asking(7)));
    for request in [
        Request::new("GET", "/v2/health/live").header("x-forebay-token", "guess"),
        spoofed(b"{".to_vec()),
        spoofed(asking(1)).header("cache-control", "no-store"),
    ] {
        let id = forwarded(worker, request);
        none_of_ours(worker, id);
    }
    sound(worker);
}

#[test]
fn the_tenant_that_the_upstream_sees_is_the_filters() {
    let tenants = json!({"tenancy": "required", "tenant": "mine"});
    let mut host = host(&tenants);
    let worker = host.worker(0);
    let claiming = |request: Request| {
        request
            .header("x-forebay-tenant", "theirs")
            .header("x-forebay-tenancy", "none")
            .header("x-forebay-token", "x")
    };
    // What is no inference, and what is not looked at, may be the tenant's too.
    for request in
        [infer(asking(1)), infer("{"), Request::new("GET", "/v2"), Request::post("/v2/models/m/load")]
    {
        let id = forwarded(worker, claiming(request));
        let seen = worker.forwarded(id).expect("forwarded");
        assert_eq!(seen.header("x-forebay-tenancy").as_deref(), Some("required"));
        assert_eq!(seen.header("x-forebay-tenant").as_deref(), Some("mine"));
        let ours = seen.headers.iter().filter(|(name, _)| name.starts_with("x-forebay-")).count();
        assert_eq!(ours, 2, "{:?}", seen.headers);
    }
    sound(worker);
}

#[test]
fn shared_memory_and_sequences_are_never_cached() {
    let mut host = host(&json!({}));
    let worker = host.worker(0);
    let shared = br#"{"inputs":[{"name":"x","shape":[1],"datatype":"INT32","parameters":{"shared_memory_region":"r","shared_memory_byte_size":4}}]}"#;
    bypassed(worker, infer(shared.as_slice()), "shared-memory");
    for sequence in [json!(1), json!("a")] {
        let body = json!({
            "parameters": {"sequence_id": sequence, "sequence_start": true},
            "inputs": [{"name": "x", "shape": [1], "datatype": "INT32", "data": [1]}]
        });
        bypassed(worker, infer(body.to_string()), "sequence");
    }
    sound(worker);
}

#[test]
fn mode_off_lets_all_pass_untouched() {
    let mut host = host(&json!({"mode": "off", "routes": {"r": {"service": "s", "mode": "on"}}}));
    let worker = host.worker(0);
    for _ in 0..2 {
        let id = worker.open(infer(asking(7)).property("xds.route_name", "r"));
        assert!(worker.forwarded(id).is_some(), "held in mode off");
        worker.body(id, asking(7), true);
        worker.respond(id, 200, &FRESH, &answering(7));
        assert_eq!(worker.response(id).cache_status(), "");
    }
    sound(worker);
}
