//! How old an answer is, how long it may be given, and what the answer's own headers say of it.

use super::{HIT, STORED, is};
use e2e::stack::Stack;
use rig::http::Answer;
use rig::process::until;
use rig::v2::{JSON, binary, fp32, fp32_binary};
use std::time::{Duration, Instant};

const MODEL: &str = "identity_fp32";
/// Freshness of the tests' models in seconds, as their config.pbtxt has it.
const MAX_AGE_S: u64 = 60;

/// `Age` and `ttl` of a hit, in seconds.
fn age_and_ttl(hit: &Answer) -> (u64, u64) {
    is(hit, HIT);
    let ttl = hit.nearest_cache().split("; ").find_map(|part| part.strip_prefix("ttl=")?.parse().ok());
    (hit.header("age").parse().expect("an Age"), ttl.expect("a ttl"))
}

#[test]
fn age_and_ttl_of_a_hit_count_from_the_inference_in_every_tier() {
    let stack = Stack::new().start();
    let asked = Instant::now();
    let miss = stack.infer(MODEL, &JSON, &fp32(&[1.0]));
    is(&miss, STORED);
    assert_eq!((miss.header("cache-control"), miss.header("age")), ("max-age=60", ""));
    let older = until("an answer older than a second", || {
        let hit = stack.infer(MODEL, &JSON, &fp32(&[1.0]));
        (age_and_ttl(&hit).0 > 0).then_some(hit)
    });
    let (length, body) = fp32_binary(&[1.0]);
    // Asked for in this encoding for the first time: new in the proxy, but not newly computed.
    let pooled = stack.infer(MODEL, &binary(&length), &body);
    assert!(pooled.nearest_cache().ends_with("detail=l2"), "{}", pooled.cache_status());
    for hit in [older, pooled] {
        let (age, ttl) = age_and_ttl(&hit);
        assert!((1..=asked.elapsed().as_secs() + 1).contains(&age), "{age} s old");
        assert_eq!(age + ttl, MAX_AGE_S);
        assert_eq!(hit.headers.iter().filter(|(name, _)| name == "cache-status").count(), 1);
    }
    assert_eq!(stack.inferences(MODEL), 1);
}

#[test]
fn a_client_that_wants_it_younger_gets_a_new_answer() {
    let stack = Stack::new().start();
    let at_most = |directive: &str| {
        let headers = [JSON[0], ("cache-control", directive)];
        stack.infer(MODEL, &headers, &fp32(&[1.0]))
    };
    is(&at_most("max-age=0"), STORED);
    until("the answer is a second old", || {
        let answer = at_most("max-age=0");
        answer.nearest_cache().starts_with("forebay; fwd=request").then_some(())
    });
    is(&at_most("max-age=30"), HIT);
}

#[test]
fn an_answer_is_given_no_longer_than_its_max_age() {
    let stack = Stack::new().start();
    let ask = || stack.infer(MODEL, &JSON, &fp32(&[1.0]));
    is(&ask(), STORED);
    let config = stack.backends[0].repository.join(MODEL).join("config.pbtxt");
    let text = std::fs::read_to_string(&config).expect("config.pbtxt");
    std::fs::write(&config, text.replace("\"60\"", "\"1\"")).expect("config.pbtxt is written");
    until("the new max-age holds", || (ask().header("cache-control") == "max-age=1").then_some(()));
    let stored = Instant::now();
    until("the answer is stale", || {
        let answer = ask();
        assert_eq!(answer.status, 200);
        answer.nearest_cache().starts_with("forebay; fwd=stale; stored").then_some(())
    });
    assert!(stored.elapsed() >= Duration::from_millis(900), "stale after {:?}", stored.elapsed());
}
