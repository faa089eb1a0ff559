//! Envoy Gateway's `Backend` that is a fallback: it stands in for others by the priority within one cluster, which Envoy Gateway makes of
//! references that have names all of them, or addresses.

use serde_json::Value;

use super::{GATEWAY, text};
use crate::failure::Failure;
use crate::object::Object;
use crate::path;
use crate::world::World;

/// Says which fallbacks would get a share of the traffic instead.
pub(super) fn check(world: &World, route: &Object, failures: &mut Vec<Failure>) {
    let rules = route.at("/spec/rules").and_then(Value::as_array);
    for (rule, references) in rules.into_iter().flatten().enumerate() {
        let references = references.get("backendRefs").and_then(Value::as_array);
        let references: Vec<&Value> = references.into_iter().flatten().collect();
        let falls_back = references.iter().any(|reference| {
            let is_it = |backend: &&Object| {
                backend.name == text(reference, "/name") && backend.namespace == route.namespace
            };
            text(reference, "/kind") == "Backend"
                && world.of(GATEWAY, "Backend").find(is_it).is_some_and(is_fallback)
        });
        for (index, reference) in references.iter().enumerate().filter(|_| falls_back) {
            if matches!(text(reference, "/kind"), "" | "Service") {
                let at = path::item(&path::key(&path::item("spec.rules", rule), "backendRefs"), index);
                let wrong = "is a Service beside a fallback that has a name: the fallback gets a share of all requests";
                failures.push(route.failure(&at, wrong, "a Backend with the Service's name as `fqdn`"));
            }
        }
    }
}

fn is_fallback(backend: &Object) -> bool {
    let endpoints = backend.at("/spec/endpoints").and_then(Value::as_array);
    let has_name = endpoints.into_iter().flatten().any(|endpoint| endpoint.get("fqdn").is_some());
    has_name && backend.at("/spec/fallback") == Some(&Value::Bool(true))
}
