//! Which misses the filter looks up in the pool: as many as pay, and all where nothing else could answer.

use e2e::stack::{Pool, Running, Stack};
use rig::http::{Answer, post, send};
use rig::process::until;
use rig::v2::{JSON, request};

use crate::{HIT, is};

const MODEL: &str = "identity_fp32";
const NOT_ASKED: &str = "detail=not-asked";

fn bytes(value: u16) -> Vec<u8> {
    let body = request(&[f32::from(value)]).to_string();
    post(&format!("/v2/models/{MODEL}/infer"), &JSON, body.as_bytes())
}

/// What Envoy answers to values that nobody asked for before.
fn asked(stack: &Running, values: std::ops::Range<u16>) -> Vec<Answer> {
    values.map(|value| stack.send(&bytes(value))).collect()
}

/// The backend computes and keeps them, past Envoy.
pub(crate) fn computed(stack: &Running, values: std::ops::Range<u16>) {
    let (port, _) = stack.backend_ports(0);
    for value in values {
        let again = || Some(send(port, &bytes(value)).ok()?.header("cache-status") == "forebay-serve; hit");
        until("it is kept", || again().filter(|kept| *kept));
    }
}

fn lookups(stack: &Running) -> u64 {
    ["hit", "miss"]
        .iter()
        .map(|of| stack.gate_metric(&format!("forebay_gate_lookups{{result=\"{of}\"")))
        .sum()
}

#[test]
fn lookups_of_a_model_that_is_never_found_are_few_and_come_back_when_it_is() {
    let stack = Stack::new().pool(Pool::Redis).start();
    let before = lookups(&stack);
    let answers = asked(&stack, 0..400);
    let spared = answers.iter().filter(|answer| answer.nearest_cache().ends_with(NOT_ASKED)).count();
    assert!((300..=368).contains(&spared), "{spared}");
    assert_eq!(lookups(&stack) - before, 400 - spared as u64);
    until("it is counted", || {
        let counted = stack.stats("event=lookup_spared");
        (counted.iter().map(|(_, count)| count).sum::<u64>() == spared as u64).then_some(())
    });
    computed(&stack, 1000..1400);
    let answers = asked(&stack, 1000..1400);
    assert!(answers.iter().all(|answer| answer.status == 200));
    let from_the_pool = answers[300..].iter().filter(|answer| answer.nearest_cache().ends_with("detail=l2"));
    assert!(from_the_pool.count() > 90);
    stack.sound();
}

#[test]
fn where_the_backend_is_gone_what_the_pool_has_is_given() {
    let mut stack = Stack::new().pool(Pool::Redis).start();
    computed(&stack, 1000..1020);
    asked(&stack, 0..100);
    stack.backends[0].process.kill();
    until("the filter has seen that nobody is there", || {
        (stack.send(&bytes(200)).status == 503).then_some(())
    });
    for answer in asked(&stack, 1000..1020) {
        is(&answer, HIT);
    }
    stack.sound();
}
