//! A server that says neither how long its answers may be kept nor who computed them, and the operator's word for one of its models.

use super::{HIT, STORED, is};
use e2e::stack::Stack;
use rig::v2::{JSON, binary, fp32, fp32_binary};
use serde_json::json;

/// Where Envoy forgets what the server says.
const ROUTES: &str = "                  name: forebay\n                  virtual_hosts:\n";
const SILENT: &str = "                  name: forebay\n                  response_headers_to_remove: [cache-control, x-forebay-generation]\n                  virtual_hosts:\n";

#[test]
fn a_model_that_the_operator_lists_is_kept_in_the_proxy_and_no_other_is() {
    let policy = json!({ "generation": "2026-11-30", "max_age_s": 60 });
    let policies = json!({ "policies": { "demo": { "identity_fp32": policy } } });
    let stack = Stack::new().models(&["identity_fp32", "slow"]).with(ROUTES, SILENT).filter(policies).start();
    let first = stack.infer("identity_fp32", &JSON, &fp32(&[1.0]));
    is(&first, STORED);
    assert_eq!(first.header("cache-control"), "");
    let again = stack.infer("identity_fp32", &JSON, &fp32(&[1.0]));
    is(&again, HIT);
    assert!(again.nearest_cache().contains("ttl=60"), "{again:?}");
    assert_eq!((&again.body, again.header("x-forebay-generation")), (&first.body, ""));
    let wrong = stack.infer("identity_fp32", &JSON, br#"{"inputs":[]}"#);
    assert_eq!((wrong.status, wrong.nearest_cache().as_str()), (400, "forebay; fwd=miss; detail=status"));
    let (length, body) = fp32_binary(&[2.0]);
    is(&stack.infer("slow", &binary(&length), &body), "forebay; fwd=miss; detail=uncacheable");
    stack.sound();
}
