//! Envoys that send requests to a gate while no backend is there: their routes wait as long as the gate holds.

use serde_json::Value;

use super::{Gate, seconds};
use crate::rules::field::Field;
use crate::{Failure, World, read};

/// What a route of Envoy's has if nobody says it.
const BY_DEFAULT: f64 = 15.0;

pub(super) fn check(world: &World, gate: &Gate<'_>, failures: &mut Vec<Failure>) {
    let names: Vec<&str> = world
        .of("", "Service")
        .filter(|service| gate.is_behind(service))
        .map(|service| service.name.as_str())
        .collect();
    for object in world.of("", "ConfigMap") {
        for (_, text) in Field::root(object).at("data").map() {
            let documents = read::documents(text.text_or_empty()).0;
            for document in
                documents.iter().filter(|document| document.value.get("static_resources").is_some())
            {
                let clusters = clusters(&document.value, &names);
                let mut found = Vec::new();
                routes(&document.value, &clusters, &mut found);
                if let Some((cluster, waits)) =
                    found.into_iter().find(|(_, waits)| *waits > 0.0 && *waits <= gate.longest())
                {
                    let wrong = format!(
                        "a route to {cluster} waits {waits} s, and the gate holds for {} s",
                        gate.longest()
                    );
                    text.fail(failures, wrong, "a longer `timeout`, or a shorter FOREBAY_HOLD_TIMEOUT_SECS");
                }
            }
        }
    }
}

/// Clusters that have one of those Services behind their backends.
fn clusters<'a>(config: &'a Value, names: &[&str]) -> Vec<&'a str> {
    let clusters = config.pointer("/static_resources/clusters").and_then(Value::as_array);
    let holds = |cluster: &&Value| {
        let parts = cluster.pointer("/load_assignment/endpoints").and_then(Value::as_array);
        let later =
            |part: &&Value| part.get("priority").and_then(Value::as_u64).is_some_and(|priority| priority > 0);
        parts.into_iter().flatten().filter(later).any(|part| {
            let points = part.get("lb_endpoints").and_then(Value::as_array);
            points.into_iter().flatten().any(|point| {
                let host = point.pointer("/endpoint/address/socket_address/address").and_then(Value::as_str);
                host.is_some_and(|host| names.contains(&host.split('.').next().unwrap_or_default()))
            })
        })
    };
    let names = clusters.into_iter().flatten().filter(holds).map(|cluster| cluster.get("name")?.as_str());
    names.flatten().collect()
}

/// Routes of inferences to those clusters, with the seconds that each waits.
fn routes<'a>(value: &'a Value, clusters: &[&str], found: &mut Vec<(&'a str, f64)>) {
    match value {
        Value::Object(members) => {
            let to = members
                .get("route")
                .and_then(|route| Some((route.get("cluster")?.as_str()?, route.get("timeout"))));
            if let Some((cluster, timeout)) = to.filter(|(cluster, _)| clusters.contains(cluster))
                && members.get("match").is_some_and(is_an_inference)
            {
                found.push((cluster, seconds(timeout).unwrap_or(BY_DEFAULT)));
            }
            members.values().for_each(|value| routes(value, clusters, found));
        }
        Value::Array(items) => items.iter().for_each(|item| routes(item, clusters, found)),
        _ => {}
    }
}

/// What is asked of the rest is not held.
fn is_an_inference(matched: &Value) -> bool {
    let text = matched.to_string();
    ["/infer\"", "Infer\"", ":predict\"", "\"prefix\":\"/\""].iter().any(|end| text.contains(end))
}
