//! Two states of an object enter; a line for each field that differs leaves. What the server itself writes is left out.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// Values longer than that are cut.
const SHOWN: usize = 80;

/// Written by the server, or by helm about itself.
const OWN: [&str; 6] =
    ["managedFields", "resourceVersion", "uid", "generation", "creationTimestamp", "selfLink"];
const OWN_NOTES: [&str; 4] = [
    "deployment.kubernetes.io/revision",
    "kubectl.kubernetes.io/last-applied-configuration",
    "meta.helm.sh/release-name",
    "meta.helm.sh/release-namespace",
];

/// `FIELD: OLD -> NEW` of each that differs.
pub(super) fn differences(now: &Value, then: &Value) -> Vec<String> {
    let (now, then) = (flat(&bare(now)), flat(&bare(then)));
    let mut lines = Vec::new();
    for (path, new) in &then {
        match now.get(path) {
            None => lines.push(format!("{path}: + {}", shown(new))),
            Some(old) if old != new => lines.push(format!("{path}: {} -> {}", shown(old), shown(new))),
            Some(_) => {}
        }
    }
    lines.extend(
        now.iter()
            .filter(|(path, _)| !then.contains_key(*path))
            .map(|(path, old)| format!("{path}: - {}", shown(old))),
    );
    lines.sort();
    lines
}

/// Without what nobody who deploys writes.
pub(super) fn bare(object: &Value) -> Value {
    let mut bare = object.clone();
    if let Some(all) = bare.as_object_mut() {
        all.remove("status");
    }
    if let Some(metadata) = bare["metadata"].as_object_mut() {
        metadata.retain(|key, _| !OWN.contains(&key.as_str()));
        if let Some(Value::Object(notes)) = metadata.get_mut("annotations") {
            notes.retain(|key, _| !OWN_NOTES.contains(&key.as_str()));
        }
        if metadata.get("annotations").is_some_and(|notes| *notes == Value::Object(Map::new())) {
            metadata.remove("annotations");
        }
    }
    bare
}

/// Each leaf by its path; entries of a list by their name where they have one, for their order means nothing then.
fn flat(value: &Value) -> BTreeMap<String, Value> {
    let mut all = BTreeMap::new();
    walk("", value, &mut all);
    all
}

fn walk(path: &str, value: &Value, all: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (key, value) in fields {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                walk(&path, value, all);
            }
        }
        Value::Array(entries) if !entries.is_empty() => {
            for (index, entry) in entries.iter().enumerate() {
                let key = key(entry).unwrap_or_else(|| index.to_string());
                walk(&format!("{path}[{key}]"), entry, all);
            }
        }
        leaf => {
            all.insert(path.to_owned(), leaf.clone());
        }
    }
}

fn key(entry: &Value) -> Option<String> {
    ["name", "mountPath"].into_iter().find_map(|key| entry[key].as_str().map(str::to_owned))
}

fn shown(value: &Value) -> String {
    let text = match value {
        Value::String(text) => format!("{text:?}"),
        other => other.to_string(),
    };
    if text.chars().count() <= SHOWN {
        return text;
    }
    // Of long texts their ends are the same more often than not; their lengths seldom are.
    format!("{}… ({} characters)", text.chars().take(SHOWN).collect::<String>(), text.chars().count())
}

/// Takes out of an object what the old manifest set and the new one doesn't.
pub(super) fn remove_dropped(object: &mut Value, old: &Value, new: &Value) {
    match (object, old) {
        (Value::Object(object), Value::Object(old)) => {
            for (key, old) in old {
                match new.get(key) {
                    None => {
                        object.remove(key);
                    }
                    Some(new) => {
                        if let Some(object) = object.get_mut(key) {
                            remove_dropped(object, old, new);
                        }
                    }
                }
            }
        }
        (Value::Array(object), Value::Array(old)) => {
            let find = |all: &Value, name: &str| -> Option<Value> {
                all.as_array()?.iter().find(|entry| key(entry).as_deref() == Some(name)).cloned()
            };
            for old in old {
                let Some(name) = key(old) else { continue };
                match find(new, &name) {
                    None => object.retain(|entry| key(entry).as_ref() != Some(&name)),
                    Some(new) => {
                        let entry = object.iter_mut().find(|entry| key(entry).as_ref() == Some(&name));
                        if let Some(entry) = entry {
                            remove_dropped(entry, old, &new);
                        }
                    }
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_the_server_writes_is_no_difference() {
        let now = json!({ "metadata": { "name": "a", "uid": "1", "resourceVersion": "2", "generation": 3, "managedFields": [1],
            "annotations": { "deployment.kubernetes.io/revision": "2", "meta.helm.sh/release-name": "r" } }, "status": { "x": 1 } });
        let then =
            json!({ "metadata": { "name": "a", "uid": "9", "resourceVersion": "3", "generation": 4 } });
        assert!(differences(&now, &then).is_empty(), "{:?}", differences(&now, &then));
    }

    #[test]
    fn entries_are_compared_by_name_whatever_their_order() {
        let env = |all: &[(&str, &str)]| {
            let all: Vec<_> =
                all.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect();
            json!({ "spec": { "containers": [{ "name": "c", "env": all }] } })
        };
        let now = env(&[("A", "1"), ("B", "2"), ("C", "3")]);
        let then = env(&[("C", "3"), ("A", "4"), ("D", "5")]);
        assert_eq!(
            differences(&now, &then),
            [
                "spec.containers[c].env[A].value: \"1\" -> \"4\"",
                "spec.containers[c].env[B].name: - \"B\"",
                "spec.containers[c].env[B].value: - \"2\"",
                "spec.containers[c].env[D].name: + \"D\"",
                "spec.containers[c].env[D].value: + \"5\"",
            ]
        );
    }

    #[test]
    fn what_the_new_manifest_no_longer_sets_goes_and_defaults_stay() {
        let manifest = |env: &Value| json!({ "spec": { "env": env, "x": { "a": 1 } } });
        let (one, two) = (json!({ "name": "A" }), json!({ "name": "B" }));
        let mut object = json!({ "spec": { "env": [one, two], "x": { "a": 1 }, "default": true } });
        let old = manifest(&json!([one, two]));
        remove_dropped(&mut object, &old, &manifest(&json!([two])));
        assert_eq!(object, json!({ "spec": { "env": [two], "x": { "a": 1 }, "default": true } }));
        remove_dropped(&mut object, &old, &json!({ "spec": { "env": [two] } }));
        assert_eq!(object, json!({ "spec": { "env": [two], "default": true } }));
    }
}
