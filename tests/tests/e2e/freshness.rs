//! How old an answer is, how long it may be given, and what the answer's own headers say of it.

use super::{HIT, STORED, is};
use e2e::grpc::{SERVICE, infer_request};
use e2e::stack::{Pool, Running, Stack};
use rig::http::Answer;
use rig::process::until;
use rig::v2::{JSON, binary, fp32, fp32_binary};
use serde_json::json;
use std::collections::BTreeSet;
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
    short_lived(&stack, &[]);
    until("the new max-age holds", || (ask().header("cache-control") == "max-age=1").then_some(()));
    let stored = Instant::now();
    until("the answer is stale", || {
        let answer = ask();
        assert_eq!(answer.status, 200);
        answer.nearest_cache().starts_with("forebay; fwd=stale; stored").then_some(())
    });
    assert!(stored.elapsed() >= Duration::from_millis(900), "stale after {:?}", stored.elapsed());
}

/// Answers of a stack are fresh for a second from now on, and of use for ten minutes more for what is named.
fn short_lived(stack: &Running, stale: &[&str]) {
    let configs: BTreeSet<_> =
        stack.backends.iter().map(|backend| backend.repository.join(MODEL).join("config.pbtxt")).collect();
    let parameter =
        |name: &&str| format!("parameters {{ key: \"forebay_{name}_s\" value {{ string_value: \"600\" }} }}");
    let more: String = stale.iter().map(parameter).collect();
    for config in configs {
        let text = std::fs::read_to_string(&config).expect("config.pbtxt");
        std::fs::write(&config, text.replace("\"60\"", "\"1\"") + &more).expect("config.pbtxt is written");
    }
    let anew = [JSON[0], ("cache-control", "no-cache")];
    let request = rig::http::post(&format!("/v2/models/{MODEL}/infer"), &anew, &fp32(&[0.0]));
    for (backend, _) in stack.backends.iter().enumerate() {
        let port = stack.backend_ports(backend).0;
        until("the new times hold", || {
            let answer = rig::http::send(port, &request).expect("the backend answers");
            answer.header("cache-control").starts_with("max-age=1").then_some(())
        });
    }
}

/// One with both.
fn stale_for_both() -> Running {
    let stack = Stack::new().pool(Pool::Redis).start();
    short_lived(&stack, &["stale_while_revalidate", "stale_if_error"]);
    stack.until_polled();
    stack
}

const REVALIDATED: &str = "forebay; hit; ttl=-";

#[test]
fn a_stale_answer_goes_out_at_once_in_each_encoding_and_is_made_anew_behind_it() {
    let stack = stale_for_both();
    let (length, body) = fp32_binary(&[3.0]);
    let connection = e2e::http2::Connection::open(stack.port).expect("Envoy accepts");
    let call = || e2e::grpc::call(&connection, &format!("{SERVICE}/ModelInfer"), &infer_request(MODEL, 4.0));
    let in_json = || stack.infer(MODEL, &JSON, &fp32(&[2.0]));
    let in_binary = || stack.infer(MODEL, &binary(&length), &body);
    for ask in [&in_json as &dyn Fn() -> Answer, &in_binary, &call] {
        is(&ask(), "forebay; fwd=");
        let inferences = stack.inferences(MODEL);
        let (mut stale, began) = (0, Instant::now());
        // As often as it grows stale it is computed once, whoever asks meanwhile.
        while stack.inferences(MODEL) < inferences + 2 {
            let answer = ask();
            is(&answer, "forebay; hit; ttl=");
            stale += u64::from(answer.nearest_cache().starts_with(REVALIDATED));
            assert!(began.elapsed() < Duration::from_mins(1), "{stale} were stale");
        }
        assert!(stale >= 2, "{stale}");
        assert!(began.elapsed() >= Duration::from_millis(1900), "{:?}", began.elapsed());
        until("it is fresh again", || {
            let is_fresh = !ask().nearest_cache().starts_with(REVALIDATED);
            is_fresh.then_some(())
        });
    }
    stack.sound();
}

#[test]
fn where_the_backend_is_lost_what_is_stale_is_given_in_each_encoding() {
    let mut stack = stale_for_both();
    let connection = e2e::http2::Connection::open(stack.port).expect("Envoy accepts");
    let call = || e2e::grpc::call(&connection, &format!("{SERVICE}/ModelInfer"), &infer_request(MODEL, 4.0));
    is(&stack.infer(MODEL, &JSON, &fp32(&[2.0])), "forebay; fwd=");
    is(&call(), "forebay; fwd=");
    let kept = Instant::now();
    stack.backends[0].process.kill();
    // Nothing of it is kept.
    assert_eq!(stack.infer(MODEL, &JSON, &fp32(&[5.0])).status, 503);
    until("it is stale", || {
        let answer = stack.infer(MODEL, &JSON, &fp32(&[2.0]));
        is(&answer, "forebay; ");
        (kept.elapsed() > Duration::from_secs(2)).then_some(())
    });
    for answer in [stack.infer(MODEL, &JSON, &fp32(&[2.0])), call()] {
        is(&answer, "forebay; fwd=stale; detail=no-backend");
        assert!(answer.header("age").parse::<u64>().is_ok_and(|age| age >= 1), "{answer:?}");
    }
    // In an encoding that this proxy has not seen yet the pool has it.
    let (length, body) = fp32_binary(&[2.0]);
    let answer = stack.infer(MODEL, &binary(&length), &body);
    is(&answer, "forebay; fwd=stale; detail=no-backend");
    assert!(answer.body.ends_with(&body[body.len() - 4..]), "{answer:?}");
    assert!(stack.gate_metric("forebay_gate_lookups{result=\"stale\"") >= 1);
    stack.sound();
}

#[test]
fn an_error_is_replaced_by_what_is_stale() {
    // Without a gate nothing is known of backends: each miss goes to one.
    let mut stack = Stack::new().filter(json!({"gate": null, "refresh": null})).start();
    short_lived(&stack, &["stale_if_error"]);
    let ask = |stack: &Running, id: &str| {
        let body =
            format!(r#"{{"id":"{id}",{}"#, String::from_utf8(fp32(&[2.0])).unwrap().trim_start_matches('{'));
        stack.infer(MODEL, &JSON, body.as_bytes())
    };
    is(&ask(&stack, "a"), STORED);
    stack.backends[0].process.kill();
    let given = until("what is stale is given", || {
        let answer = ask(&stack, "mine");
        is(&answer, "forebay; ");
        answer.nearest_cache().ends_with("fwd=stale; detail=stale-if-error").then_some(answer)
    });
    assert_eq!(
        (given.json()["id"].as_str(), given.json()["outputs"][0]["data"][0].as_f64()),
        (Some("mine"), Some(2.0))
    );
    assert!(given.header("age").parse::<u64>().is_ok_and(|age| age >= 1), "{given:?}");
    assert_eq!(stack.infer(MODEL, &JSON, &fp32(&[5.0])).status, 503, "nothing of it is kept");
    stack.sound();
}

#[test]
fn a_call_that_would_fail_has_what_is_stale_instead_and_one_that_would_not_what_is_new() {
    let mut stack = Stack::new().filter(json!({"gate": null})).start();
    short_lived(&stack, &["stale_if_error"]);
    let connection = e2e::http2::Connection::open(stack.port).expect("Envoy accepts");
    let call =
        |value| e2e::grpc::call(&connection, &format!("{SERVICE}/ModelInfer"), &infer_request(MODEL, value));
    let told = |answer: &Answer, told: &str| {
        is(answer, "forebay; ");
        assert_eq!(answer.header("grpc-status"), "0", "{answer:?}");
        answer.nearest_cache() == told
    };
    is(&call(2.0), "forebay; fwd=");
    let computed = stack.inferences(MODEL);
    until("it is made anew", || told(&call(2.0), "forebay; fwd=stale; stored").then_some(()));
    assert_eq!(stack.inferences(MODEL), computed + 1);
    stack.backends[0].process.kill();
    let given = until("what is stale is given", || {
        let answer = call(2.0);
        told(&answer, "forebay; fwd=stale; detail=stale-if-error").then_some(answer)
    });
    assert!(given.body.ends_with(&2_f32.to_le_bytes()), "{given:?}");
    assert!(given.header("age").parse::<u64>().is_ok_and(|age| age >= 1), "{given:?}");
    assert_eq!(call(5.0).header("grpc-status"), "14", "nothing of it is kept");
    stack.sound();
}
