//! Whole configurations of Envoy in a `ConfigMap` or `Secret`: each key that holds one goes to Envoy, with the files it names, which
//! are the pod's and not this machine's, put in other words.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::{filter, hashing, hits, run};
use crate::failure::Failure;
use crate::object::Object;
use crate::path;
use crate::read;
use crate::world::World;

pub(super) fn check(world: &World, object: &Object, failures: &mut Vec<Failure>) {
    for (field, encoded) in [("data", object.kind == "Secret"), ("stringData", false)] {
        for (key, value) in object.value.get(field).and_then(Value::as_object).into_iter().flatten() {
            let Some(text) = value.as_str().and_then(|text| decoded(text, encoded)) else { continue };
            if is_envoys(&text) {
                judge(world, object, &path::key(field, key), &text, failures);
            }
        }
    }
}

fn decoded(text: &str, encoded: bool) -> Option<String> {
    if !encoded {
        return Some(text.to_owned());
    }
    let plain: String = text.split_whitespace().collect();
    STANDARD.decode(plain).ok().and_then(|bytes| String::from_utf8(bytes).ok())
}

/// Members of a bootstrap, or of a file of resources.
fn is_envoys(text: &str) -> bool {
    let typed = text.contains("type.googleapis.com/envoy.");
    let begins =
        |word: &str| text.lines().any(|line| line.trim_start_matches(['{', '"', ' ']).starts_with(word));
    begins("static_resources") || begins("dynamic_resources") || (typed && begins("resources"))
}

fn judge(world: &World, object: &Object, at: &str, text: &str, failures: &mut Vec<Failure>) {
    let (documents, faults) = read::documents(text);
    if let Some(fault) = faults.first() {
        let wrong = format!("line {} of it: {}", fault.line, fault.wrong);
        failures.push(object.failure(at, wrong, fault.right.clone()));
        return;
    }
    let Some(document) = documents.first() else { return };
    let mut own = Vec::new();
    filter::check(object, &document.value, "", &mut own);
    clusters(object, &document.value, &mut own);
    hits::check(object, &document.value, &[&document.value], &mut own);
    hashing::check(object, &document.value, &mut own);
    // What is inside a text has no line of its own in the manifest but that of the text.
    for failure in own {
        let line = path::line(&document.lines, &failure.path).unwrap_or(1);
        let wrong = format!("line {line} of it, {}: {}", failure.path, failure.wrong);
        failures.push(object.failure(at, wrong, failure.right));
    }
    let Some(envoy) = &world.tools.envoy else { return };
    let config = match document.value.get("resources") {
        Some(resources) => of_resources(resources),
        None => document.value.clone(),
    };
    if let Some(refusal) = run::refusal(envoy, &localized(&config)) {
        failures.push(object.failure(
            at,
            format!("Envoy refuses it: {refusal}"),
            "a configuration that `envoy --mode validate` takes",
        ));
    }
}

/// Resources that a file brings, as static ones.
fn of_resources(resources: &Value) -> Value {
    let mut parts: Map<String, Value> = Map::new();
    for resource in resources.as_array().into_iter().flatten() {
        let kind = resource.get("@type").and_then(Value::as_str).unwrap_or_default();
        let place = match kind.rsplit('.').next().unwrap_or_default() {
            "Secret" => "secrets",
            "Listener" => "listeners",
            "Cluster" => "clusters",
            _ => continue,
        };
        let mut bare = resource.clone();
        if let Some(members) = bare.as_object_mut() {
            members.remove("@type");
        }
        if let Some(list) = parts.entry(place).or_insert_with(|| json!([])).as_array_mut() {
            list.push(bare);
        }
    }
    json!({ "static_resources": parts })
}

/// Clusters that our filter calls are some of those that there are.
fn clusters(object: &Object, config: &Value, failures: &mut Vec<Failure>) {
    if config.pointer("/dynamic_resources/cds_config").is_some() {
        return;
    }
    let names: Vec<&str> = config
        .pointer("/static_resources/clusters")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|cluster| cluster.get("name")?.as_str())
        .collect();
    filter::each_settings(config, "", &mut |at, settings| {
        for (section, field) in [("gate", "cluster"), ("refresh", "cluster"), ("refresh", "grpc_cluster")] {
            let cluster = settings.get(section).and_then(|section| section.get(field)?.as_str());
            if let Some(cluster) = cluster.filter(|cluster| !names.contains(cluster)) {
                let wrong = format!("{section}.{field}: there is no cluster `{cluster}`");
                failures.push(object.failure(at, wrong, format!("one of {}", names.join(", "))));
            }
        }
    });
}

/// The same without files: what they hold is not here, and Envoy would open them.
pub(super) fn localized(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let mut own: Map<String, Value> = Map::new();
            for (key, value) in members {
                let put = match (key.as_str(), value) {
                    // A module out of a registry is fetched later, one of a file at once.
                    ("code", value) if value.pointer("/local/filename").is_some() => {
                        ("code", a_module_from_afar())
                    }
                    ("tls_certificates", value) if names_a_file(value) => {
                        ("tls_certificate_sds_secret_configs", json!([secret()]))
                    }
                    ("trusted_ca", value) if names_a_file(value) => continue,
                    ("watched_directory", _) => continue,
                    ("path_config_source", _) => ("path_config_source", json!({ "path": "/dev/null" })),
                    ("filename", Value::String(_)) => ("inline_string", json!("")),
                    ("path", Value::String(path))
                        if members.contains_key("@type") && path.starts_with('/') =>
                    {
                        ("path", json!("/dev/null"))
                    }
                    (key, value) => (key, localized(value)),
                };
                own.insert(put.0.to_owned(), put.1);
            }
            Value::Object(own)
        }
        Value::Array(items) => items.iter().map(localized).collect(),
        other => other.clone(),
    }
}

fn names_a_file(value: &Value) -> bool {
    match value {
        Value::Object(members) => members.contains_key("filename") || members.values().any(names_a_file),
        Value::Array(items) => items.iter().any(names_a_file),
        _ => false,
    }
}

fn a_module_from_afar() -> Value {
    let digest = "0".repeat(64);
    json!({ "remote": { "http_uri": { "uri": "http://any", "cluster": "any", "timeout": "1s" }, "sha256": digest } })
}

fn secret() -> Value {
    json!({ "name": "any", "sds_config": { "path_config_source": { "path": "/dev/null" } } })
}
