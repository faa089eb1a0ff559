//! Envoys that send requests to a gate while no backend is there: all that ask the backends do, and their routes wait as long as the gate
//! holds.

use serde_json::Value;

use super::{Gate, seconds};
use crate::rules::field::Field;
use crate::rules::known::reaches;
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
                if reaches(object.namespace.as_deref(), gate.namespace()) {
                    asked_past(&document.value, gate, &names, &text, failures);
                }
                waits(&document.value, gate, &names, &text, failures);
            }
        }
    }
}

/// Who asks the backends asks the gate too.
fn asked_past(
    config: &Value,
    gate: &Gate<'_>,
    names: &[&str],
    text: &Field<'_>,
    failures: &mut Vec<Failure>,
) {
    let host = gate.host();
    let is_past = |cluster: &Value| {
        hosts(cluster).any(|(_, asked)| asked == host)
            && hosts(cluster).all(|(_, asked)| !names.contains(&asked))
    };
    for cluster in clusters(config, is_past) {
        let wrong = format!("cluster {cluster} asks {host}, and never the gate that holds for it");
        text.fail(failures, wrong, "the gate's Service in it too, with `priority: 1`");
    }
}

/// Who is held has not given up before.
fn waits(config: &Value, gate: &Gate<'_>, names: &[&str], text: &Field<'_>, failures: &mut Vec<Failure>) {
    let holds = |cluster: &Value| hosts(cluster).any(|(is_behind, host)| is_behind && names.contains(&host));
    let mut found = Vec::new();
    routes(config, &clusters(config, holds), &mut found);
    let longest = gate.longest();
    if let Some((cluster, waits)) = found.into_iter().find(|(_, waits)| *waits > 0.0 && *waits <= longest) {
        let wrong = format!("a route to {cluster} waits {waits} s, and the gate holds for {longest} s");
        text.fail(failures, wrong, "a longer `timeout`, or a shorter FOREBAY_HOLD_TIMEOUT_SECS");
    }
}

/// Names of clusters.
fn clusters(config: &Value, is_meant: impl Fn(&Value) -> bool) -> Vec<&str> {
    let clusters = config.pointer("/static_resources/clusters").and_then(Value::as_array);
    let meant = clusters.into_iter().flatten().filter(|cluster| is_meant(cluster));
    meant.filter_map(|cluster| cluster.get("name")?.as_str()).collect()
}

/// Services that a cluster asks, and whether each stands behind others.
fn hosts(cluster: &Value) -> impl Iterator<Item = (bool, &str)> {
    let parts = cluster.pointer("/load_assignment/endpoints").and_then(Value::as_array);
    parts.into_iter().flatten().flat_map(|part| {
        let is_behind = part.get("priority").and_then(Value::as_u64).is_some_and(|priority| priority > 0);
        let points = part.get("lb_endpoints").and_then(Value::as_array);
        let hosts = points
            .into_iter()
            .flatten()
            .filter_map(|point| point.pointer("/endpoint/address/socket_address/address")?.as_str());
        hosts.map(move |host| (is_behind, host.split('.').next().unwrap_or_default()))
    })
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
