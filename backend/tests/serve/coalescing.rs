//! Equal requests at the same time: one computes, the others get what it computed.

use std::thread::ScopedJoinHandle;

use rig::http::{Answer, post};
use rig::process::until;
use serde_json::{Value, json};

use crate::client::{begun, fp32};
use crate::process::{Forebay, repository_with};

const MODEL: &str = "identity_fp32";
const COLLAPSED: &str = "forebay-serve; fwd=uri-miss; collapsed";

/// One that computes nothing before two rows wait.
fn serve(more: &str) -> Forebay {
    let config = format!(
        "max_batch_size: 8 response_cache {{ enable: true }} dynamic_batching {{ preferred_batch_size: [ 2 ] max_queue_delay_microseconds: 60000000 {more} }}"
    );
    let root = repository_with(MODEL, &config);
    Forebay::serve_from(root.path(), &["--instances", "1"])
}

fn ask(forebay: &Forebay, value: f32, more: &Value) -> Answer {
    let mut body = fp32(&[value]);
    body["parameters"] = more.clone();
    forebay.infer(MODEL, &[], &body)
}

fn waiters(forebay: &Forebay, wanted: u64) {
    until("they wait", || (forebay.metric("forebay_waiters", MODEL) == wanted).then_some(()));
}

fn in_progress(forebay: &Forebay, wanted: u64) {
    let in_progress = || forebay.metric("forebay_requests_in_progress", MODEL);
    until("they are in progress", || (in_progress() == wanted).then_some(()));
}

fn ended(asked: ScopedJoinHandle<'_, Answer>) -> Answer {
    let answer = asked.join().unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    answer
}

#[test]
fn equal_requests_are_computed_once() {
    let forebay = serve("");
    let forebay = &forebay;
    let answers: Vec<Answer> = std::thread::scope(|scope| {
        let equal: Vec<_> = (0..4).map(|_| scope.spawn(|| ask(forebay, 1.0, &json!({})))).collect();
        waiters(forebay, 3);
        assert_eq!(ask(forebay, 2.0, &json!({})).status, 200);
        equal.into_iter().map(ended).collect()
    });
    let collapsed = answers.iter().filter(|answer| answer.header("cache-status") == COLLAPSED).count();
    assert_eq!(collapsed, 3, "{answers:?}");
    assert!(answers.iter().all(|answer| answer.json()["outputs"][0]["data"] == json!([1.0])));
    assert!(answers.iter().all(|answer| answer.header("cache-control") == "max-age=300"), "{answers:?}");
    assert_eq!(forebay.metric("nv_inference_count", MODEL), 2);
    assert_eq!(forebay.metric("nv_inference_request_success", MODEL), 5);
    assert_eq!(forebay.metric("forebay_requests_collapsed", MODEL), 3);
    assert_eq!(forebay.metric("forebay_waiters", MODEL), 0);
    assert!(ask(forebay, 1.0, &json!({})).is_hit());
}

#[test]
fn who_waits_takes_over_when_the_one_that_computes_leaves() {
    let forebay = serve("");
    let forebay = &forebay;
    let asked = post(&format!("/v2/models/{MODEL}/infer"), &[], fp32(&[1.0]).to_string().as_bytes());
    let leads = begun(forebay.http_port, &asked);
    in_progress(forebay, 1);
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| ask(forebay, 1.0, &json!({})));
        waiters(forebay, 1);
        drop(leads);
        waiters(forebay, 0);
        assert_eq!(ask(forebay, 2.0, &json!({})).status, 200);
        assert_ne!(ended(waits).header("cache-status"), COLLAPSED);
    });
    assert_eq!(forebay.metric("nv_inference_count", MODEL), 2);
    let canceled =
        format!("nv_inference_request_failure{{model=\"{MODEL}\",version=\"1\",reason=\"CANCELED\"}}");
    assert_eq!(forebay.metric_line(&canceled), 1, "the one that left");
}

#[test]
fn urgent_impatient_and_uncached_requests_dont_wait_for_others() {
    let forebay = serve("priority_levels: 2 default_priority_level: 2");
    let forebay = &forebay;
    for (value, parameters, directive) in [
        (1.0, json!({ "priority": 1 }), "max-age=60"),
        (2.0, json!({ "timeout": 60_000_000 }), "max-age=60"),
        (3.0, json!({}), "no-store"),
        (4.0, json!({}), "no-cache"),
    ] {
        std::thread::scope(|scope| {
            // Two rows make the batch: had the second joined the first, neither would ever run.
            let first = scope.spawn(move || ask(forebay, value, &json!({})));
            in_progress(forebay, 1);
            let mut body = fp32(&[value]);
            body["parameters"] = parameters;
            let second = forebay.infer(MODEL, &[("cache-control", directive)], &body);
            assert_eq!((second.status, second.is_hit()), (200, false), "{second:?}");
            ended(first);
        });
    }
}
