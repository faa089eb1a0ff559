//! Settings of our own filter, wherever they stand in an Envoy configuration: the filter's own parser reads them. It accepts any and
//! passes every request with wrong ones, so nobody else would say it.

use forebay_filter_core::config::Config;
use serde_json::Value;

use crate::failure::Failure;
use crate::object::Object;
use crate::path;

/// Looks for the filter below a value.
pub(super) fn check(object: &Object, value: &Value, at: &str, failures: &mut Vec<Failure>) {
    match value {
        Value::Object(members) => {
            if let Some(wasm) = members.get("vm_config").filter(|_| is_ours(value)) {
                plugin(object, value, wasm, at, failures);
            }
            for (key, value) in members {
                check(object, value, &path::key(at, key), failures);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                check(object, item, &path::item(at, index), failures);
            }
        }
        _ => {}
    }
}

/// Gives each `configuration` below a value that is JSON to `look`, with where it stands.
pub(super) fn each_settings(value: &Value, at: &str, look: &mut impl FnMut(&str, &Value)) {
    match value {
        Value::Object(members) => {
            for (key, value) in members {
                let here = path::key(at, key);
                let text = value.get("value").and_then(Value::as_str).filter(|_| key == "configuration");
                if let Some(settings) = text.and_then(|text| serde_json::from_str(text).ok()) {
                    look(&here, &settings);
                }
                each_settings(value, &here, look);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                each_settings(item, &path::item(at, index), look);
            }
        }
        _ => {}
    }
}

/// By the name it goes by, or the module.
pub(super) fn is_ours(plugin: &Value) -> bool {
    let says = |pointer: &str| {
        plugin.pointer(pointer).and_then(Value::as_str).is_some_and(|text| text.contains("forebay"))
    };
    let names = ["/name", "/root_id", "/vm_config/vm_id"];
    let module = ["/vm_config/code/remote/http_uri/uri", "/vm_config/code/local/filename"];
    names.iter().chain(&module).any(|pointer| says(pointer))
}

fn plugin(object: &Object, plugin: &Value, wasm: &Value, at: &str, failures: &mut Vec<Failure>) {
    let mut say = |path: &str, wrong: String, right: &str| {
        failures.push(object.failure(&path::key(at, path), wrong, right));
    };
    if plugin.get("allow_on_headers_stop_iteration") != Some(&Value::Bool(true)) {
        say("allow_on_headers_stop_iteration", "is not true: every POST would hang".into(), "true");
    }
    match plugin.get("failure_policy").and_then(Value::as_str) {
        Some("FAIL_RELOAD") => {}
        other => say(
            "failure_policy",
            format!("is {}", other.unwrap_or("missing")),
            "FAIL_RELOAD: the VM is made anew after a trap",
        ),
    }
    let runtime = wasm.get("runtime").and_then(Value::as_str).unwrap_or_default();
    if runtime != "envoy.wasm.runtime.v8" {
        let here = path::key(&path::key(at, "vm_config"), "runtime");
        failures.push(object.failure(&here, format!("is {runtime:?}"), "envoy.wasm.runtime.v8"));
    }
    if let Some(remote) = wasm.pointer("/code/remote") {
        digest(object, remote, &format!("{at}.vm_config.code.remote.sha256"), failures);
    }
    let Some(said) = plugin.get("configuration") else {
        failures.push(object.failure(
            at,
            "the filter has no configuration",
            "configuration with a StringValue of its JSON",
        ));
        return;
    };
    let here = path::key(at, "configuration");
    let json = match said.get("value") {
        Some(Value::String(json)) => json.clone(),
        Some(value) => value.to_string(),
        None => said.to_string(),
    };
    settings(object, &json, &here, failures);
}

pub(super) fn settings(object: &Object, json: &str, at: &str, failures: &mut Vec<Failure>) {
    if let Err(error) = Config::parse(json.as_bytes()) {
        let at = if at.ends_with("configuration") { path::key(at, "value") } else { at.to_owned() };
        let right = "settings that `forebay check-filter` takes: the filter passes every request with these";
        failures.push(object.failure(&at, error.to_string(), right));
    }
}

pub(super) fn digest(object: &Object, remote: &Value, at: &str, failures: &mut Vec<Failure>) {
    let said = remote.get("sha256").and_then(Value::as_str).unwrap_or_default();
    if !is_digest(said) {
        failures.push(object.failure(
            at,
            format!("is {said:?}"),
            "64 hexadecimal digits: the digest of the image's manifest",
        ));
    }
}

fn is_digest(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// The same of Istio's own objects for modules.
pub(super) fn check_plugin(object: &Object, failures: &mut Vec<Failure>) {
    for base in ["/spec", "/spec/wasm"] {
        let Some(plugin) = object.at(base) else { continue };
        let url = plugin.get("url").and_then(Value::as_str).unwrap_or_default();
        let at = base.trim_start_matches('/').replace('/', ".");
        if plugin.get("sha256").is_some() {
            digest(object, plugin, &format!("{at}.sha256"), failures);
        }
        if let Some(said) = plugin.get("pluginConfig").filter(|_| url.contains("forebay")) {
            settings(object, &said.to_string(), &format!("{at}.pluginConfig"), failures);
        }
    }
}
