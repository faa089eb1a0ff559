//! The value of each patch, put into a configuration at the place that `applyTo` names, so that Envoy reads it as it would in the
//! proxy.

use serde_json::{Value, json};

use super::{patches, run, text};
use crate::failure::Failure;
use crate::object::Object;
use crate::world::World;

pub(super) fn check(world: &World, object: &Object, failures: &mut Vec<Failure>) {
    let Some(envoy) = &world.tools.envoy else { return };
    let placed: Vec<_> = patches(object).filter_map(|(at, patch)| Some((at, patch, place(patch)?))).collect();
    for (at, patch, config) in placed {
        let Some(refusal) = run::refusal(envoy, &config) else { continue };
        // A part that is merged need not stand alone.
        if text(patch, "/patch/operation") == "MERGE" && refusal.contains("Proto constraint") {
            continue;
        }
        let value = format!("{at}.patch.value");
        let path = run::unknown_field(&refusal)
            .and_then(|name| run::path_of(patch.pointer("/patch/value")?, name, &value))
            .unwrap_or(value);
        failures.push(object.failure(
            &path,
            format!("Envoy refuses it: {refusal}"),
            "what Envoy's API has there",
        ));
    }
}

/// The configuration with the value in it; none where nothing is added or the place is not known.
fn place(patch: &Value) -> Option<Value> {
    let value = patch.pointer("/patch/value")?;
    let merged = text(patch, "/patch/operation") == "MERGE";
    let named = |value: &Value| with_name(value, merged);
    Some(match text(patch, "/applyTo") {
        "HTTP_FILTER" | "EXTENSION_CONFIG" => {
            proxy(&[http(vec![named(value)], &routes(&json!([])))], &json!([]))
        }
        "NETWORK_FILTER" => proxy(&[named(value), http(vec![], &routes(&json!([])))], &json!([])),
        "LISTENER_FILTER" => {
            listeners(&json!([listener(&json!({ "listener_filters": [named(value)] }))]), &json!([]))
        }
        "FILTER_CHAIN" => listeners(&json!([listener(&json!({ "filter_chains": [value] }))]), &json!([])),
        "LISTENER" => listeners(&json!([listener(value)]), &json!([])),
        "ROUTE_CONFIGURATION" => proxy(&[http(vec![], &over(routes(&json!([])), value))], &json!([])),
        "VIRTUAL_HOST" => {
            let host = over(json!({ "name": "any", "domains": ["*"] }), value);
            proxy(&[http(vec![], &routes(&json!([host])))], &json!([]))
        }
        "HTTP_ROUTE" => {
            let standard = json!({ "match": { "prefix": "/" } });
            let route = over(standard, value);
            let acts = ["route", "redirect", "direct_response", "filter_action", "non_forwarding_action"];
            let acts = acts.iter().any(|act| route.get(act).is_some());
            let route =
                if acts { route } else { over(route, &json!({ "direct_response": { "status": 200 } })) };
            let host = json!({ "name": "any", "domains": ["*"], "routes": [route] });
            let mut table = routes(&json!([host]));
            // Clusters are the mesh's.
            table["validate_clusters"] = json!(false);
            proxy(&[http(vec![], &table)], &json!([]))
        }
        "CLUSTER" => {
            let standard = json!({ "name": "any", "connect_timeout": "1s", "type": "STATIC" });
            let cluster = if merged { over(standard, value) } else { value.clone() };
            proxy(&[http(vec![], &routes(&json!([])))], &json!([cluster]))
        }
        "BOOTSTRAP" => over(proxy(&[http(vec![], &routes(&json!([])))], &json!([])), value),
        _ => return None,
    })
}

fn with_name(value: &Value, merged: bool) -> Value {
    let standard = if merged { json!({ "name": "any" }) } else { json!({}) };
    over(standard, value)
}

/// Members of `more` in place of those of `base`.
fn over(base: Value, more: &Value) -> Value {
    match (base, more) {
        (Value::Object(mut members), Value::Object(more)) => {
            members.extend(more.clone());
            Value::Object(members)
        }
        (_, more) => more.clone(),
    }
}

fn routes(hosts: &Value) -> Value {
    json!({ "name": "any", "virtual_hosts": hosts })
}

fn http(mut filters: Vec<Value>, table: &Value) -> Value {
    filters.push(json!({
        "name": "envoy.filters.http.router",
        "typed_config": { "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" }
    }));
    // A router that is patched in stands for the last one.
    if filters.iter().filter(|filter| text(filter, "/name") == "envoy.filters.http.router").count() > 1 {
        filters.pop();
    }
    json!({
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "any", "route_config": table, "http_filters": filters
        }
    })
}

fn proxy(filters: &[Value], clusters: &Value) -> Value {
    listeners(&json!([listener(&json!({ "filter_chains": [{ "filters": filters }] }))]), clusters)
}

fn listener(more: &Value) -> Value {
    over(
        json!({ "name": "any", "address": { "socket_address": { "address": "127.0.0.1", "port_value": 0 } } }),
        more,
    )
}

fn listeners(listeners: &Value, clusters: &Value) -> Value {
    let mut clusters = clusters.clone();
    if let Some(clusters) = clusters.as_array_mut() {
        clusters.push(json!({ "name": "xds", "connect_timeout": "1s", "type": "STATIC" }));
    }
    json!({
        "node": { "id": "any", "cluster": "any" },
        "static_resources": { "listeners": listeners, "clusters": super::bootstrap::localized(&clusters) },
        "dynamic_resources": { "ads_config": {
            "api_type": "GRPC", "transport_api_version": "V3", "grpc_services": [{ "envoy_grpc": { "cluster_name": "xds" } }]
        } }
    })
}
