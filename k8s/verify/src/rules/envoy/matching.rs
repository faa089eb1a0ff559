//! What a patch applies to, which istiod takes as it is and then never finds: kinds of matches, operations, names of filters, and
//! the two halves of an extension that is discovered.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{names, patches, text};
use crate::failure::Failure;
use crate::object::Object;
use crate::schema::nearest;
use crate::world::World;

pub(super) fn check(world: &World, object: &Object, failures: &mut Vec<Failure>) {
    if let Some(selector) = object.at("/spec/workloadSelector")
        && selector.get("labels").and_then(Value::as_object).is_none_or(serde_json::Map::is_empty)
    {
        let right = "labels of the workloads, or no workloadSelector for all of the namespace";
        failures.push(object.failure("spec.workloadSelector", "selects by no label", right));
    }
    for (at, patch) in patches(object) {
        operation(object, &at, patch, failures);
        match_kind(object, &at, patch, failures);
        filter_names(world, object, &at, patch, failures);
        halves(world, object, &at, patch, failures);
    }
}

const FILTERS: [&str; 4] = ["HTTP_FILTER", "NETWORK_FILTER", "LISTENER_FILTER", "FILTER_CHAIN"];

fn operation(object: &Object, at: &str, patch: &Value, failures: &mut Vec<Failure>) {
    let (apply_to, operation) = (text(patch, "/applyTo"), text(patch, "/patch/operation"));
    let field = format!("{at}.patch.operation");
    if apply_to.is_empty() {
        failures.push(object.failure(
            &format!("{at}.applyTo"),
            "is missing",
            "HTTP_FILTER, CLUSTER and the like",
        ));
        return;
    }
    if operation.is_empty() || operation == "INVALID" {
        let right = "one of ADD, MERGE, REMOVE, REPLACE, INSERT_BEFORE, INSERT_AFTER, INSERT_FIRST";
        failures.push(object.failure(&field, "is missing: istiod does nothing then", right));
        return;
    }
    let ordered = operation.starts_with("INSERT_");
    let fits = if ordered { FILTERS.contains(&apply_to) || apply_to == "HTTP_ROUTE" } else { true };
    let fits = fits
        && (operation != "REPLACE"
            || matches!(apply_to, "HTTP_FILTER" | "NETWORK_FILTER" | "LISTENER_FILTER"));
    let fits = fits && (apply_to != "EXTENSION_CONFIG" || operation == "ADD");
    let fits = fits && (apply_to != "BOOTSTRAP" || operation == "MERGE");
    if !fits {
        let right = match apply_to {
            "EXTENSION_CONFIG" => "ADD",
            "BOOTSTRAP" => "MERGE",
            _ => "ADD, MERGE or REMOVE",
        };
        failures.push(object.failure(&field, format!("{operation} does nothing with {apply_to}"), right));
    }
    let value = patch.pointer("/patch/value");
    if operation != "REMOVE" && value.and_then(Value::as_object).is_none_or(serde_json::Map::is_empty) {
        failures.push(object.failure(
            &format!("{at}.patch.value"),
            "is missing",
            format!("what {operation} puts there"),
        ));
    }
}

/// `match` has one form for each kind of place.
fn match_kind(object: &Object, at: &str, patch: &Value, failures: &mut Vec<Failure>) {
    let apply_to = text(patch, "/applyTo");
    let right = match apply_to {
        "CLUSTER" => "cluster",
        "ROUTE_CONFIGURATION" | "VIRTUAL_HOST" | "HTTP_ROUTE" => "routeConfiguration",
        "LISTENER" => "listener",
        kind if FILTERS.contains(&kind) => "listener",
        _ => return,
    };
    for form in ["listener", "routeConfiguration", "cluster"] {
        if form != right && patch.pointer(&format!("/match/{form}")).is_some() {
            let field = format!("{at}.match.{form}");
            failures.push(object.failure(
                &field,
                format!("says nothing of {apply_to}: it is never found"),
                format!("match.{right}"),
            ));
        }
    }
}

fn filter_names(world: &World, object: &Object, at: &str, patch: &Value, failures: &mut Vec<Failure>) {
    let filter = "match.listener.filterChain.filter";
    let network = text(patch, "/match/listener/filterChain/filter/name");
    let http = text(patch, "/match/listener/filterChain/filter/subFilter/name");
    for (name, known, path) in [
        (network, names::NETWORK, format!("{at}.{filter}.name")),
        (http, names::HTTP, format!("{at}.{filter}.subFilter.name")),
    ] {
        if name.is_empty() || known.contains(&name) || filters_of(world).contains(name) {
            continue;
        }
        let right = match nearest(name, known.iter().copied()) {
            Some(near) => format!("perhaps `{near}`"),
            None => "a filter of Envoy's or Istio's, or one that an EnvoyFilter adds".to_owned(),
        };
        failures.push(object.failure(
            &path,
            format!("no filter is named `{name}`, so the patch is never applied"),
            right,
        ));
    }
    if text(patch, "/applyTo") == "HTTP_FILTER"
        && !http.is_empty()
        && !network.is_empty()
        && !network.ends_with("http_connection_manager")
    {
        let field = format!("{at}.{filter}.name");
        failures.push(object.failure(
            &field,
            format!("`{network}` has no HTTP filters"),
            "envoy.filters.network.http_connection_manager",
        ));
    }
}

/// Names of filters that the world's own objects add.
fn filters_of(world: &World) -> BTreeSet<&str> {
    let added = world.of("networking.istio.io", "EnvoyFilter").flat_map(patches).filter_map(|(_, patch)| {
        FILTERS.contains(&text(patch, "/applyTo")).then(|| text(patch, "/patch/value/name"))
    });
    added.filter(|name| !name.is_empty()).collect()
}

/// A filter that is discovered and what it finds have one name.
fn halves(world: &World, object: &Object, at: &str, patch: &Value, failures: &mut Vec<Failure>) {
    let (apply_to, name) = (text(patch, "/applyTo"), text(patch, "/patch/value/name"));
    if name.is_empty() {
        return;
    }
    let all = || {
        world
            .of("networking.istio.io", "EnvoyFilter")
            .filter(|one| one.namespace == object.namespace || one.namespace.is_none())
            .flat_map(patches)
    };
    let discovered =
        |patch: &Value| patch.pointer("/patch/value/config_discovery/config_source/ads").is_some();
    let field = format!("{at}.patch.value.name");
    if apply_to == "HTTP_FILTER" && discovered(patch) {
        let found: Vec<&str> = all()
            .filter(|(_, one)| text(one, "/applyTo") == "EXTENSION_CONFIG")
            .map(|(_, one)| text(one, "/patch/value/name"))
            .filter(|name| !name.is_empty())
            .collect();
        if !found.contains(&name) {
            let wrong =
                format!("no EXTENSION_CONFIG is named `{name}`: the filter would wait for it for ever");
            let right = nearest(name, found.iter().copied()).or(found.first().copied());
            failures.push(object.failure(
                &field,
                wrong,
                right.map_or("a patch with applyTo: EXTENSION_CONFIG".into(), |right| {
                    format!("perhaps `{right}`")
                }),
            ));
        }
    }
    if apply_to == "EXTENSION_CONFIG" {
        let found: Vec<&str> =
            all().filter(|(_, one)| discovered(one)).map(|(_, one)| text(one, "/patch/value/name")).collect();
        if !found.contains(&name) {
            let wrong = format!("no filter with config_discovery is named `{name}`: nothing asks for it");
            let right = nearest(name, found.iter().copied()).or(found.first().copied());
            failures.push(object.failure(
                &field,
                wrong,
                right.map_or("a patch HTTP_FILTER with config_discovery and that name".into(), |right| {
                    format!("perhaps `{right}`")
                }),
            ));
        }
    }
}
