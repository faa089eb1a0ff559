//! Misses and hits, in every encoding and across workers, and what ends a hit.

use super::{HIT, STORED, is};
use e2e::stack::{Pool, Running, Stack};
use rig::http::{Connection, head as head_of, post};
use rig::installed::{checkout, installed};
use rig::process::{printed, until};
use rig::v2::{JSON, binary, fp32, fp32_binary, request};
use serde_json::json;
use std::process::Command;
use std::time::{Duration, Instant};

const MODEL: &str = "identity_fp32";

#[test]
fn a_miss_then_hits_in_both_encodings() {
    let stack = Stack::new().start();
    let first = stack.infer(MODEL, &JSON, &fp32(&[1.0]));
    is(&first, STORED);
    for _ in 0..2 {
        let again = stack.infer(MODEL, &JSON, &fp32(&[1.0]));
        is(&again, HIT);
        assert_eq!(again.body, first.body);
        assert!(!again.header("age").is_empty());
    }
    let (length, body) = fp32_binary(&[2.0]);
    let first = stack.infer(MODEL, &binary(&length), &body);
    is(&first, STORED);
    let again = stack.infer(MODEL, &binary(&length), &body);
    is(&again, HIT);
    assert_eq!(again.body, first.body);
    let json_bytes: usize = again.header("inference-header-content-length").parse().expect("a length");
    assert_eq!(again.body[json_bytes..], 2.0_f32.to_le_bytes());
    assert_eq!(stack.inferences(MODEL), 2);
    stack.sound();
}

#[test]
fn what_was_computed_for_one_encoding_is_a_hit_in_the_other() {
    for pool in [Pool::Memory, Pool::Redis, Pool::Memcached] {
        let stack = Stack::new().pool(pool).start();
        is(&stack.infer(MODEL, &JSON, &fp32(&[1.0, f32::MIN_POSITIVE])), STORED);
        let (length, body) = fp32_binary(&[1.0, f32::MIN_POSITIVE]);
        // With a pool that is shared, the backend writes after it has answered.
        let hit = until("the pool has the answer", || {
            let answer = stack.infer(MODEL, &binary(&length), &body);
            answer.is_filters_hit().then_some(answer)
        });
        let json_bytes: usize = hit.header("inference-header-content-length").parse().expect("a length");
        let values = [1.0_f32.to_le_bytes(), f32::MIN_POSITIVE.to_le_bytes()].concat();
        assert_eq!(hit.body[json_bytes..], values);
        let (length, body) = fp32_binary(&[3.0]);
        is(&stack.infer(MODEL, &binary(&length), &body), STORED);
        let back = until("the pool has the answer", || {
            let answer = stack.infer(MODEL, &JSON, &fp32(&[3.0]));
            answer.is_filters_hit().then_some(answer)
        });
        assert_eq!(back.json()["outputs"][0]["data"], json!([3.0]));
        if pool == Pool::Memory {
            assert_eq!(stack.inferences(MODEL), 2);
        }
        stack.sound();
    }
}

#[test]
fn each_client_gets_its_own_id() {
    let stack = Stack::new().start();
    let ask = |id: Option<&str>| {
        let mut body = request(&[1.0]);
        if let Some(id) = id {
            body["id"] = json!(id);
        }
        stack.infer(MODEL, &JSON, body.to_string().as_bytes())
    };
    assert_eq!(ask(Some("a")).json()["id"], "a");
    for id in ["b", "a", "\u{fc}ber \"quoted\" \\ \n"] {
        let answer = ask(Some(id));
        is(&answer, HIT);
        assert_eq!(answer.json()["id"], id);
    }
    let without = ask(None);
    is(&without, HIT);
    assert_eq!(without.json().get("id"), None);
    assert_eq!(stack.inferences(MODEL), 1);
}

#[test]
fn two_workers_share_what_each_of_them_stored() {
    let stack = Stack::new().workers(2).start();
    let bodies: Vec<_> = (0..20_u8).map(|value| fp32(&[f32::from(value)])).collect();
    for body in &bodies {
        assert_eq!(stack.infer(MODEL, &JSON, body).status, 200);
    }
    // The tick makes the workers agree on where answers are kept; until then each finds its own.
    stack.until_polled();
    let mut hits = 0;
    for round in 0..5 {
        for body in &bodies {
            let answer = stack.infer(MODEL, &JSON, body);
            assert_eq!(answer.status, 200);
            hits += usize::from(answer.is_filters_hit());
        }
        assert!(round == 0 || hits > 0);
    }
    assert_eq!(hits, 100, "hits of 100 repeats, each on a connection of its own");
    assert!(stack.inferences(MODEL) <= 2 * bodies.len() as u64);
    stack.sound();
}

#[test]
fn directives_of_requests_are_obeyed() {
    let stack = Stack::new().start();
    let with = |directive: &str, value: f32| {
        stack.infer(
            MODEL,
            &[("content-type", "application/json"), ("cache-control", directive)],
            &fp32(&[value]),
        )
    };
    let missing = with("only-if-cached", 1.0);
    assert_eq!(missing.status, 504);
    assert!(missing.error().contains("only-if-cached"));
    is(&with("no-store", 1.0), "forebay; fwd=bypass; detail=no-store");
    is(&with("no-cache", 2.0), "forebay; fwd=request; stored");
    is(&with("only-if-cached", 2.0), HIT);
    is(&with("no-cache", 2.0), "forebay; fwd=request; stored");
    is(&with("max-age=60", 2.0), HIT);
}

#[test]
fn a_model_without_response_cache_is_never_stored() {
    let stack = Stack::new().models(&["uncached"]).start();
    for _ in 0..3 {
        let answer = stack.infer("uncached", &JSON, &fp32(&[1.0]));
        is(&answer, "forebay; fwd=miss; detail=");
        assert_eq!(answer.header("cache-control"), "no-store");
    }
    assert_eq!(stack.inferences("uncached"), 3);
}

#[test]
fn a_body_over_the_cap_is_served_uncached_and_equal() {
    // A cap of the test's own; and the default one with a body that is over every buffer on the way, too.
    for (settings, count) in [(json!({"max_body_bytes": 100_000}), 50_000), (json!({}), 2_500_000_u32)] {
        let stack = Stack::new().filter(settings).start();
        let values: Vec<f32> = (0..count).map(|value| value as f32).collect();
        let (length, body) = fp32_binary(&values);
        let sent = &body[length.parse::<usize>().expect("a number")..];
        let known = stack.infer(MODEL, &binary(&length), &body);
        let head = [&binary(&length)[..], &[("transfer-encoding", "chunked")]].concat();
        let mut chunked = head_of("POST", "/v2/models/identity_fp32/infer", &head);
        for chunk in body.chunks(7000) {
            chunked.extend(format!("{:x}\r\n", chunk.len()).bytes());
            chunked.extend([chunk, b"\r\n"].concat());
        }
        chunked.extend(b"0\r\n\r\n");
        for answer in [known, stack.send(&chunked)] {
            is(&answer, "forebay; fwd=bypass; detail=body-too-large");
            let json_bytes: usize =
                answer.header("inference-header-content-length").parse().expect("a length");
            assert!(answer.body[json_bytes..] == *sent, "other bytes came back");
        }
        stack.sound();
    }
}

#[test]
fn a_chunked_body_with_trailers_is_a_hit() {
    let stack = Stack::new().start();
    is(&stack.infer(MODEL, &JSON, &fp32(&[1.0])), STORED);
    let head = [("content-type", "application/json"), ("transfer-encoding", "chunked"), ("trailer", "x-sum")];
    let mut bytes = head_of("POST", "/v2/models/identity_fp32/infer", &head);
    let body = fp32(&[1.0]);
    bytes.extend(format!("{:x}\r\n", body.len()).bytes());
    bytes.extend([&body[..], b"\r\n0\r\nx-sum: 1\r\n\r\n"].concat());
    is(&stack.send(&bytes), HIT);
    stack.sound();
}

#[test]
fn requests_on_one_connection_follow_each_other() {
    let stack = Stack::new().start();
    let mut connection = Connection::open(stack.port).expect("Envoy listens");
    for value in [1.0, 2.0, 1.0, 3.0, 2.0_f32] {
        connection.write(&post("/v2/models/identity_fp32/infer", &JSON, &fp32(&[value]))).expect("sent");
        let answer = connection.read().expect("an answer");
        assert_eq!(answer.json()["outputs"][0]["data"], json!([value]));
    }
    assert_eq!(stack.inferences(MODEL), 3);
}

#[test]
fn pipelined_requests_are_all_answered_in_their_order() {
    let stack = Stack::new().start();
    let mut connection = Connection::open(stack.port).expect("Envoy listens");
    // Hits behind hits, behind a miss in the same write, and behind one whose answer was read.
    let sequences: [&[f32]; 4] = [
        &[1.0, 1.0, 1.0, 1.0, 1.0],
        &[2.0, 3.0, 4.0],
        &[1.0],
        &[1.0, 5.0, 1.0, 1.0, 1.0, 6.0, 5.0, 1.0, 1.0, 1.0],
    ];
    for values in sequences {
        let requests =
            values.iter().map(|value| post("/v2/models/identity_fp32/infer", &JSON, &fp32(&[*value])));
        connection.write(&requests.collect::<Vec<_>>().concat()).expect("sent");
        for value in values {
            let answer = connection.read().expect("an answer");
            assert_eq!(answer.json()["outputs"][0]["data"], json!([value]), "{}", answer.error());
        }
    }
    assert_eq!(stack.inferences(MODEL), 6);
    stack.sound();
}

/// How long old answers may be given after a new one.
const ALLOWED: Duration = Duration::from_secs(2);

/// Puts another model where the identity is: one that doubles.
fn replace_model(stack: &Running) {
    let to = stack.backends[0].repository.join(MODEL).join("1/model.onnx");
    let new = stack.folder().join("doubling.onnx");
    let script = checkout().join("tests/clients/doubling_model.py");
    printed(Command::new(installed("venv/bin/python")).arg(script).arg(&new));
    std::fs::rename(&new, to).expect("the model is replaced");
}

#[test]
fn a_replaced_models_old_answers_are_gone_within_two_seconds_of_its_first_new_one() {
    for pool in [Pool::Memory, Pool::Redis, Pool::Memcached] {
        let stack = Stack::new().pool(pool).workers(2).start();
        let ask = |value: f32| stack.infer(MODEL, &JSON, &fp32(&[value]));
        for _ in 0..10 {
            assert_eq!(ask(1.0).json()["outputs"][0]["data"], json!([1.0]));
        }
        stack.until_polled();
        is(&ask(1.0), HIT);
        replace_model(&stack);
        // The backend looks for new models every second; a value never asked before shows when it has found one.
        let mut value = 100.0;
        until("the new model answers", || {
            value += 1.0;
            (ask(value).json()["outputs"][0]["data"] == json!([2.0 * value])).then_some(())
        });
        let new = Instant::now();
        let mut last_old = Duration::ZERO;
        while new.elapsed() < ALLOWED + Duration::from_secs(1) {
            let since = new.elapsed();
            match ask(1.0).json()["outputs"][0]["data"][0].as_f64() {
                Some(1.0) => last_old = since,
                answer => assert_eq!(answer, Some(2.0)),
            }
        }
        assert!(last_old < ALLOWED, "an old answer was given {last_old:?} after a new one");
        stack.sound();
    }
}
