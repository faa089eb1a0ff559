//! A filter that answers gRPC's calls, as its settings may say, needs two things of its proxy: a route that answers in its place, and a
//! filter that puts the status behind a hit's message. Without the first hits are computed anew, without the second a call fails.

use serde_json::Value;

use super::filter::each_settings;
use crate::failure::Failure;
use crate::object::Object;
use crate::path;

/// The filter that puts a status behind a message.
const BRIDGE: &str =
    "type.googleapis.com/envoy.extensions.filters.http.grpc_http1_reverse_bridge.v3.FilterConfig";
/// The filter state that the route matches.
const HIT: &str = "wasm.forebay.hit";

/// Settings in `value` that have calls answered, where what tells the same proxy (`told`) lacks something.
pub(super) fn check(object: &Object, value: &Value, told: &[&Value], failures: &mut Vec<Failure>) {
    each_settings(value, "", &mut |at, settings| {
        judge(object, settings, &path::key(at, "value"), told, failures);
    });
}

/// The same of one filter's settings.
pub(super) fn judge(
    object: &Object,
    settings: &Value,
    at: &str,
    told: &[&Value],
    failures: &mut Vec<Failure>,
) {
    if settings.get("grpc").and_then(Value::as_str) != Some("answer") {
        return;
    }
    if !told.iter().any(|value| has(value, &is_bridge)) {
        let wrong = "grpc is `answer`, and no filter puts a status behind hits of calls: the first fails, and all pass";
        let right =
            "`grpc_http1_reverse_bridge` behind the filter, as envoy/forebay.yaml has it, or grpc `pass`";
        failures.push(object.failure(at, wrong, right));
    }
    if !told.iter().any(|value| has(value, &is_route)) {
        let wrong = "grpc is `answer`, and no route gives hits of calls: each is computed anew";
        let right = format!(
            "a first route that matches filter_state `{HIT}`, as envoy/forebay.yaml has it, or grpc `pass`"
        );
        failures.push(object.failure(at, wrong, right));
    }
}

fn is_bridge(key: &str, value: &Value) -> bool {
    key == "@type" && value == BRIDGE
}

fn is_route(key: &str, value: &Value) -> bool {
    let matchers = value.as_array().filter(|_| key == "filter_state");
    matchers.into_iter().flatten().any(|matcher| matcher.get("key").is_some_and(|key| key == HIT))
}

/// Whether a member somewhere below is so.
fn has(value: &Value, is: &impl Fn(&str, &Value) -> bool) -> bool {
    match value {
        Value::Object(members) => members.iter().any(|(key, value)| is(key, value) || has(value, is)),
        Value::Array(items) => items.iter().any(|item| has(item, is)),
        _ => false,
    }
}
