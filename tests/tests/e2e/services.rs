//! Services and the pool that they share.

use super::{HIT, STORED, is};
use e2e::stack::{Pool, Stack};
use rig::process::until;
use rig::v2::{JSON, binary, fp32, fp32_binary};
use serde_json::json;

const MODEL: &str = "identity_fp32";
const SECOND: [(&str, &str); 2] = [("content-type", "application/json"), ("x-test-service", "second")];

#[test]
fn services_with_a_model_of_the_same_name_never_get_each_others_answers() {
    let stack = Stack::new().pool(Pool::Redis).services(&["first", "second"]).start();
    is(&stack.infer(MODEL, &JSON, &fp32(&[1.0])), STORED);
    is(&stack.infer(MODEL, &JSON, &fp32(&[1.0])), HIT);
    is(&stack.infer(MODEL, &SECOND, &fp32(&[1.0])), STORED);
    is(&stack.infer(MODEL, &SECOND, &fp32(&[1.0])), HIT);
    let label = format!("model=\"{MODEL}\"");
    for backend in 0..2 {
        assert_eq!(stack.backend_metric(backend, "nv_inference_count", &label), 1, "backend {backend}");
    }
    // In the other encoding L1 has nothing: only the pool could mix them up.
    let (length, body) = fp32_binary(&[1.0]);
    until("the pool has the first one's", || {
        stack.infer(MODEL, &binary(&length), &body).is_filters_hit().then_some(())
    });
    let new = fp32(&[2.0]);
    is(&stack.infer(MODEL, &JSON, &new), STORED);
    let (length, body) = fp32_binary(&[2.0]);
    let headers = [&binary(&length)[..], &[("x-test-service", "second")]].concat();
    is(&stack.infer(MODEL, &headers, &body), STORED);
    stack.sound();
}

#[test]
fn a_route_of_its_own_mode_leaves_the_others_as_they_are() {
    let routes = json!({"routes": {"second": {"mode": "shadow"}, "third": {"mode": "off"}}});
    let services = ["first", "second", "third"];
    let stack = Stack::new().pool(Pool::Redis).services(&services).filter(routes).start();
    let third = [JSON[0], ("x-test-service", "third")];
    for headers in [&JSON[..], &SECOND, &third] {
        assert_eq!(stack.infer(MODEL, headers, &fp32(&[1.0])).status, 200);
    }
    is(&stack.infer(MODEL, &JSON, &fp32(&[1.0])), HIT);
    is(&stack.infer(MODEL, &SECOND, &fp32(&[1.0])), "forebay; fwd=miss; stored");
    // Without the filter, the backend's is the only cache that says something.
    assert!(stack.infer(MODEL, &third, &fp32(&[1.0])).nearest_cache().starts_with("forebay-serve; "));
    stack.sound();
}
