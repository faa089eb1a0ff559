//! The shared pool in Redis: what is in it outlives backends, and is believed only when it is whole.

use super::{HIT, STORED, is};
use e2e::stack::{Pool, Running, Stack};
use rig::process::until;
use rig::v2::{JSON, binary, fp32, fp32_binary};
use serde_json::json;

const MODEL: &str = "identity_fp32";

/// Turns the last byte of every entry into another, and says how many there are.
const SPOIL: &str = "local keys = redis.call('KEYS', 'forebay:e:*') \
     for _, key in ipairs(keys) do \
       local entry = redis.call('GET', key) \
       redis.call('SETRANGE', key, #entry - 1, string.char((string.byte(entry, #entry) + 1) % 256)) \
     end return #keys";

/// Runs a Lua script in Redis; the number that it returns.
fn script(stack: &Running, lua: &str) -> usize {
    let said = stack.servers[0].tell(&format!("EVAL \"{lua}\" 0"));
    said.strip_prefix(':').and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{said}"))
}

/// How many entries Redis has.
fn entries(stack: &Running) -> usize {
    script(stack, "return #redis.call('KEYS', 'forebay:e:*')")
}

/// Asks in the encoding that L1 does not have.
fn in_binary(stack: &Running, value: f32) -> rig::http::Answer {
    let (length, body) = fp32_binary(&[value]);
    stack.infer(MODEL, &binary(&length), &body)
}

#[test]
fn what_is_in_the_pool_is_answered_without_any_backend() {
    let mut stack = Stack::new().pool(Pool::Redis).start();
    for value in 1..=5_u8 {
        is(&stack.infer(MODEL, &JSON, &fp32(&[f32::from(value)])), STORED);
    }
    until("Redis has them", || (entries(&stack) == 5).then_some(()));
    stack.until_polled();
    stack.backends[0].process.kill();
    for value in 1..=5_u8 {
        let hit = in_binary(&stack, f32::from(value));
        is(&hit, HIT);
        assert!(hit.body.ends_with(&f32::from(value).to_le_bytes()));
    }
    assert_eq!(in_binary(&stack, 6.0).status, 503);
    stack.sound();
}

#[test]
fn results_in_the_queue_are_written_before_a_backend_ends() {
    // All are asked for at the gate, though nothing was found there before.
    let mut stack = Stack::new().pool(Pool::Redis).filter(json!({"gate": {"ask": "always"}})).start();
    for value in 0..50_u8 {
        is(&stack.infer(MODEL, &JSON, &fp32(&[f32::from(value)])), STORED);
    }
    assert!(stack.backends[0].process.terminate().success());
    assert_eq!(entries(&stack), 50);
    for value in 0..50_u8 {
        is(&in_binary(&stack, f32::from(value)), HIT);
    }
    assert!(stack.gate().expect("a gate").terminate().success());
}

#[test]
fn an_entry_that_was_tampered_with_is_a_miss() {
    let stack = Stack::new().pool(Pool::Redis).start();
    is(&stack.infer(MODEL, &JSON, &fp32(&[1.0])), STORED);
    until("Redis has it", || (entries(&stack) == 1).then_some(()));
    assert_eq!(script(&stack, SPOIL), 1);
    let answer = in_binary(&stack, 1.0);
    is(&answer, STORED);
    assert!(answer.body.ends_with(&1.0_f32.to_le_bytes()));
    assert_eq!(stack.inferences(MODEL), 2);
    assert!(stack.backend_metric(0, "forebay_pool_bad_entries", "") > 0);
    stack.sound();
}

#[test]
fn without_a_gate_there_is_l1_alone() {
    let stack = Stack::new().filter(json!({"gate": null})).start();
    is(&stack.infer(MODEL, &JSON, &fp32(&[1.0])), STORED);
    is(&stack.infer(MODEL, &JSON, &fp32(&[1.0])), HIT);
    let other = in_binary(&stack, 1.0);
    is(&other, STORED);
    // The backend has a pool of its own.
    assert!(other.cache_status().contains("forebay-serve; hit"), "{}", other.cache_status());
    assert_eq!(
        stack.stats("cluster.forebay-gate.upstream_rq_total"),
        [("cluster.forebay-gate.upstream_rq_total".to_owned(), 0)]
    );
    stack.sound();
}
