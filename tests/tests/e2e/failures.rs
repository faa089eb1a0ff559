//! What is killed, and what clients see of it.

mod clocks;

use super::{HIT, STORED, is};
use e2e::grpc::{SERVICE, call, infer_request};
use e2e::http2;
use e2e::stack::{Pool, Stack};
use rig::http::{Answer, Connection, get, post, pretend};
use rig::installed::checkout;
use rig::link::Link;
use rig::process::until;
use rig::v2::{JSON, binary, fp32, fp32_binary};
use serde_json::json;
use std::io::Write;
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

const MODEL: &str = "identity_fp32";

#[test]
fn redis_killed_and_back_fails_no_request() {
    let mut stack = Stack::new().pool(Pool::Redis).start();
    let value = AtomicU64::new(0);
    let fresh = || value.fetch_add(1, Ordering::Relaxed) as f32;
    is(&stack.infer(MODEL, &JSON, &fp32(&[fresh()])), STORED);
    stack.servers[0].process.kill();
    for _ in 0..50 {
        let body = fp32(&[fresh()]);
        is(&stack.infer(MODEL, &JSON, &body), "forebay; fwd=miss");
        is(&stack.infer(MODEL, &JSON, &body), "forebay; ");
    }
    stack.servers[0].restart();
    for _ in 0..10 {
        is(&stack.infer(MODEL, &JSON, &fp32(&[fresh()])), "forebay; fwd=miss");
    }
    until("the pool is used again", || {
        let value = fresh();
        is(&stack.infer(MODEL, &JSON, &fp32(&[value])), "forebay; ");
        let (length, body) = fp32_binary(&[value]);
        // In the other encoding only the pool can have it.
        (0..20)
            .any(|_| stack.infer(MODEL, &binary(&length), &body).cache_status().contains("l2"))
            .then_some(())
    });
    stack.sound();
}

#[test]
fn one_of_two_memcacheds_killed_and_back_fails_no_request() {
    // The first one keeps what is live.
    for lost in [1, 0] {
        let mut stack = Stack::new().pool(Pool::Memcached).start();
        let value = AtomicU64::new(0);
        let fresh = || value.fetch_add(1, Ordering::Relaxed) as f32;
        for _ in 0..20 {
            is(&stack.infer(MODEL, &JSON, &fp32(&[fresh()])), STORED);
        }
        stack.servers[lost].process.kill();
        for _ in 0..50 {
            let body = fp32(&[fresh()]);
            is(&stack.infer(MODEL, &JSON, &body), "forebay; fwd=miss");
            is(&stack.infer(MODEL, &JSON, &body), "forebay; ");
        }
        stack.servers[lost].restart();
        let is_found = |_| {
            let value = fresh();
            is(&stack.infer(MODEL, &JSON, &fp32(&[value])), "forebay; ");
            let (length, body) = fp32_binary(&[value]);
            // In the other encoding only the pool can have it.
            (0..20).any(|_| stack.infer(MODEL, &binary(&length), &body).cache_status().contains("l2"))
        };
        until("both are used again", || (0..8).all(is_found).then_some(()));
        stack.sound();
    }
}

#[test]
fn a_redis_that_hangs_fails_no_request() {
    let stack = Stack::new().pool(Pool::Redis).start();
    is(&stack.infer(MODEL, &JSON, &fp32(&[0.0])), STORED);
    let redis = &stack.servers[0].process;
    redis.freeze();
    for value in 1..30_u8 {
        is(&stack.infer(MODEL, &JSON, &fp32(&[f32::from(value)])), STORED);
    }
    redis.thaw();
    let value = AtomicU64::new(100);
    until("the pool is used again", || {
        let value = value.fetch_add(1, Ordering::Relaxed) as f32;
        is(&stack.infer(MODEL, &JSON, &fp32(&[value])), STORED);
        let (length, body) = fp32_binary(&[value]);
        (0..20)
            .any(|_| stack.infer(MODEL, &binary(&length), &body).cache_status().contains("l2"))
            .then_some(())
    });
    stack.sound();
}

#[test]
fn a_killed_backend_leaves_the_hits_and_a_clear_503_for_misses() {
    let mut stack = Stack::new().pool(Pool::Redis).start();
    is(&stack.infer(MODEL, &JSON, &fp32(&[1.0])), STORED);
    let (length, body) = fp32_binary(&[1.0]);
    until("the pool has it", || stack.infer(MODEL, &binary(&length), &body).is_filters_hit().then_some(()));
    stack.until_polled();
    stack.backends[0].process.kill();
    for _ in 0..20 {
        is(&stack.infer(MODEL, &JSON, &fp32(&[1.0])), HIT);
        let miss = stack.infer(MODEL, &JSON, &fp32(&[2.0]));
        assert_eq!(miss.status, 503);
        assert!(!miss.error().is_empty(), "{:?}", String::from_utf8_lossy(&miss.body));
        assert!(!miss.header("retry-after").is_empty());
    }
    stack.restart_backend(0);
    until("the backend is back", || (stack.infer(MODEL, &JSON, &fp32(&[3.0])).status == 200).then_some(()));
    is(&stack.infer(MODEL, &JSON, &fp32(&[1.0])), HIT);
    stack.sound();
}

#[test]
fn a_killed_gate_fails_no_request() {
    let mut stack = Stack::new().pool(Pool::Redis).start();
    is(&stack.infer(MODEL, &JSON, &fp32(&[1.0])), STORED);
    is(&stack.infer(MODEL, &JSON, &fp32(&[1.0])), HIT);
    stack.gate().expect("a gate").kill();
    for value in 2..30_u8 {
        is(&stack.infer(MODEL, &JSON, &fp32(&[f32::from(value)])), STORED);
    }
    until("what is kept is given no more", || {
        let answer = stack.infer(MODEL, &JSON, &fp32(&[1.0]));
        assert_eq!(answer.status, 200);
        (!answer.is_filters_hit()).then_some(())
    });
    let skipped = || stack.stats("gate_skipped").first().map_or(0, |(_, count)| *count);
    until("the breaker is open", || {
        stack.infer(MODEL, &JSON, &fp32(&[-1.0]));
        (skipped() > 0).then_some(())
    });
    stack.sound();
}

#[test]
fn a_gate_that_breaks_off_hangs_or_lies_fails_no_request() {
    let broken_off = |stream: &mut TcpStream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nhalf");
        let _ = stream.shutdown(std::net::Shutdown::Both);
    };
    let hanging = |_: &mut TcpStream| {};
    let lying = |stream: &mut TcpStream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n{}\xff\xfe\x00\x01\x02");
    };
    let not_http = |stream: &mut TcpStream| {
        let _ = stream.write_all(b"\xff\xfe\x00\x00\r\n\r\n");
    };
    for (name, port) in [
        ("broken off", pretend(broken_off)),
        ("hanging", pretend(hanging)),
        ("lying", pretend(lying)),
        ("not HTTP", pretend(not_http)),
    ] {
        let stack = Stack::new().gate_at(port).filter(json!({"gate": {"timeout_ms": 5}})).start();
        for value in 0..15_u8 {
            let body = fp32(&[f32::from(value)]);
            let answer = stack.infer(MODEL, &JSON, &body);
            assert_eq!(
                answer.status,
                200,
                "{name}, request {value}: {:?}",
                String::from_utf8_lossy(&answer.body)
            );
            is(&answer, "forebay; fwd=miss; stored");
            // Nobody has told what is live.
            is(&stack.infer(MODEL, &JSON, &body), "forebay; fwd=miss");
        }
        stack.sound();
    }
}

#[test]
fn a_backend_killed_in_the_middle_gives_all_who_waited_a_clear_503() {
    // Seconds, so that all are seen in flight.
    let mut stack = Stack::new().models(&["products"]).start();
    let bytes = post("/v2/models/products/infer", &JSON, &fp32(&[200_000.0]));
    let mut connections: Vec<_> =
        (0..20).map(|_| Connection::open(stack.port).expect("Envoy accepts")).collect();
    for connection in &mut connections {
        connection.write(&bytes).expect("sent");
    }
    until("all are in flight", || {
        let active = stack.stats("http.forebay.downstream_rq_active");
        (active.first().map(|(_, count)| *count) == Some(20)).then_some(())
    });
    stack.backends[0].process.kill();
    for connection in &mut connections {
        let answer = connection.read().expect("an answer");
        assert!(answer.status == 503 && !answer.error().is_empty(), "{answer:?}");
        assert!(!answer.header("retry-after").is_empty());
    }
    stack.sound();
}

/// Longer than a test waits.
const FOREVER: Duration = Duration::from_mins(10);

#[test]
fn what_waits_on_connections_that_fall_silent_and_what_is_asked_on_them_then_is_answered_on_others() {
    let stack = Stack::new().pool(Pool::Redis).links().start();
    let links = &stack.links.as_ref().expect("links").first_backend;
    let calls = http2::Connection::open(stack.port).expect("Envoy accepts");
    let both_are_answered = |value: f32, meanwhile: &dyn Fn()| {
        let message = infer_request(MODEL, value + 0.5);
        thread::scope(|scope| {
            let asked = scope.spawn(|| stack.infer(MODEL, &JSON, &fp32(&[value])));
            let called = scope.spawn(|| call(&calls, &format!("{SERVICE}/ModelInfer"), &message));
            meanwhile();
            is(&asked.join().expect("an answer"), STORED);
            let called = called.join().expect("an answer");
            is(&called, "forebay; fwd=miss");
            assert_eq!(called.header("grpc-status"), "0");
        });
    };
    both_are_answered(1.0, &|| ());
    // What has reached the link stays there: it was acknowledged, so that its connection waits for nothing but an answer.
    for link in links {
        link.slow(FOREVER);
    }
    both_are_answered(2.0, &|| {
        until("both are on their way", || {
            let active = ["forebay-backend", "forebay-backend-grpc"]
                .map(|cluster| stack.stats(&format!("cluster.{cluster}.upstream_rq_active")));
            let active: u64 = active.iter().flatten().map(|(_, count)| count).sum();
            (active == 2).then_some(())
        });
        for link in links {
            link.silence();
            link.mend();
        }
    });
    links.iter().for_each(Link::silence);
    both_are_answered(3.0, &|| ());
    stack.sound();
}

#[test]
fn requests_in_flight_are_answered_when_the_backend_is_told_to_end() {
    let mut stack = Stack::new().models(&["slow"]).start();
    let mut connections: Vec<_> =
        (0..4).map(|_| Connection::open(stack.port).expect("Envoy accepts")).collect();
    for (number, connection) in connections.iter_mut().enumerate() {
        let body = fp32(&[f32::from(u8::try_from(number).expect("small"))]);
        connection.write(&post("/v2/models/slow/infer", &JSON, &body)).expect("sent");
    }
    until("they are in the backend", || {
        let pending = stack.backend_metric(0, "forebay_requests_in_progress", "slow");
        (pending + stack.inferences("slow") >= 4).then_some(())
    });
    let status = stack.backends[0].process.terminate();
    assert!(status.success(), "{status}");
    for connection in &mut connections {
        assert_eq!(connection.read().expect("an answer").status, 200);
    }
}

#[test]
fn shadow_mode_answers_nothing_and_finds_no_difference() {
    let stack = Stack::new().filter(json!({"mode": "shadow"})).start();
    for _ in 0..5 {
        let answer = stack.infer(MODEL, &JSON, &fp32(&[1.0]));
        assert!(answer.status == 200 && !answer.is_filters_hit(), "{}", answer.cache_status());
    }
    let count = |event: &str| stack.stats(event).iter().map(|(_, count)| count).sum::<u64>();
    until("comparisons are counted", || (count("shadow_match") >= 4).then_some(()));
    assert_eq!(count("shadow_mismatch"), 0);
    stack.sound();
}

#[test]
fn mode_off_is_a_plain_proxy() {
    let stack = Stack::new().filter(json!({"mode": "off"})).start();
    for _ in 0..3 {
        let answer = stack.infer(MODEL, &JSON, &fp32(&[1.0]));
        assert!(answer.status == 200 && !answer.nearest_cache().starts_with("forebay;"), "{answer:?}");
    }
    stack.sound();
}

#[test]
fn what_a_lost_filter_held_ends_with_its_routes_idle_timeout_and_all_else_goes_on() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let module = folder.path().join("holding.wasm");
    let source = checkout().join("tests/tests/e2e/holding.wat");
    std::fs::write(&module, wat::parse_file(source).expect("a module")).expect("written");
    let stack = Stack::new().module(module).with("idle_timeout: 150s", "idle_timeout: 3s").start();
    let mut held = Connection::open(stack.port).expect("Envoy listens");
    held.write(&post("/v2/models/identity_fp32/infer", &JSON, &fp32(&[1.0]))).expect("sent");
    until("the filter holds it", || {
        let active = stack.stats("http.forebay.downstream_rq_active");
        (active.first().map(|(_, count)| *count) == Some(1)).then_some(())
    });
    let says = |answer: &Answer| {
        assert_eq!(answer.status, 503);
        assert!(answer.error().contains("may be sent again"), "{}", answer.error());
        assert_eq!(answer.header("retry-after"), "1");
    };
    // What surely is no inference does not enter it.
    assert_eq!(stack.send(&get("/v2")).status, 200);
    says(&stack.send(&get("/v2/models/identity_fp32/infer")));
    // Envoy waits a little before it makes a new VM, and answers what comes in between.
    let large = fp32(&[1.0; 1000]);
    until("a new VM serves what comes", || (stack.infer(MODEL, &JSON, &large).status == 200).then_some(()));
    says(&held.read().expect("an answer"));
}
