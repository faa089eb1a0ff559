//! A filter that says where equal requests meet, as its settings may, needs routes that look at what it says and clusters that choose by
//! it. Without them what is equal goes anywhere, and each backend computes it, or waits for another that does.

use serde_json::Value;

use super::filter::each_settings;
use crate::failure::Failure;
use crate::object::Object;
use crate::path;

/// What the filter says it by.
const HASH: &str = "x-forebay-hash";
/// Policies that choose by a hash.
const HASHING: [&str; 2] = ["RING_HASH", "MAGLEV"];

/// A whole configuration of Envoy's, one of whose filters may say it.
pub(super) fn check(object: &Object, config: &Value, failures: &mut Vec<Failure>) {
    let Some(clusters) = config.pointer("/static_resources/clusters").and_then(Value::as_array) else {
        return;
    };
    let mut told = None;
    each_settings(config, "", &mut |at, settings| {
        let says = settings.pointer("/backends/hash") == Some(&Value::Bool(true));
        told = told.take().or_else(|| says.then(|| at.to_owned()));
    });
    let Some(at) = told else { return };
    let mut asked = Vec::new();
    routes(config, &mut asked);
    if asked.is_empty() {
        let wrong = format!(
            "backends.hash is true, and no route has a hash_policy of `{HASH}`: equal requests go anywhere"
        );
        failures.push(object.failure(
            &at,
            wrong,
            "hash_policy in each route of an inference, as envoy/forebay.yaml has it",
        ));
    }
    for (index, cluster) in clusters.iter().enumerate() {
        let text = |field: &str| cluster.get(field).and_then(Value::as_str).unwrap_or_default();
        if asked.contains(&text("name")) && !HASHING.contains(&text("lb_policy")) {
            let at = path::item("static_resources.clusters", index);
            let wrong = format!("does not choose by `{HASH}`, as its route says: equal requests go anywhere");
            failures.push(object.failure(&format!("{at}.lb_policy"), wrong, HASHING.join(" or ")));
        }
    }
}

/// Clusters of the routes that look at the header.
fn routes<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(members) => {
            let policies = members.get("hash_policy").and_then(Value::as_array).into_iter().flatten();
            let mut names = policies.filter_map(|policy| policy.pointer("/header/header_name")?.as_str());
            if names.any(|name| name == HASH) {
                found.extend(members.get("cluster").and_then(Value::as_str));
            }
            members.values().for_each(|value| routes(value, found));
        }
        Value::Array(items) => items.iter().for_each(|item| routes(item, found)),
        _ => {}
    }
}
