//! `envoy --mode validate`: a configuration enters, what Envoy says against it leaves. Each is asked once.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{LazyLock, Mutex, PoisonError};

use serde_json::Value;

/// Letters of what Envoy says that are shown: it repeats the configuration behind it.
const SHOWN: usize = 400;

/// What is wrong with it, if anything is.
pub(super) fn refusal(envoy: &Path, config: &Value) -> Option<String> {
    static ASKED: LazyLock<Mutex<HashMap<String, Option<String>>>> = LazyLock::new(Mutex::default);
    let text = config.to_string();
    if let Some(answer) = ASKED.lock().unwrap_or_else(PoisonError::into_inner).get(&text) {
        return answer.clone();
    }
    let answer = ask(envoy, &text);
    ASKED.lock().unwrap_or_else(PoisonError::into_inner).insert(text, answer.clone());
    answer
}

fn ask(envoy: &Path, text: &str) -> Option<String> {
    let folder = match tempfile::tempdir() {
        Ok(folder) => folder,
        Err(error) => return Some(format!("could not be asked: {error}")),
    };
    let file = folder.path().join("envoy.json");
    if let Err(error) = fs::write(&file, text) {
        return Some(format!("could not be asked: {error}"));
    }
    let mut command = Command::new(envoy);
    command.args(["--mode", "validate", "--log-level", "critical", "--config-path"]).arg(&file);
    // Who it is, the pod's own command line may say.
    command.args(["--service-node", "any", "--service-cluster", "any"]);
    match command.stdin(Stdio::null()).output() {
        Err(error) => Some(format!("{} can't be run: {error}", envoy.display())),
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(essence(&String::from_utf8_lossy(&output.stderr))),
    }
}

/// The reason among what Envoy said.
fn essence(said: &str) -> String {
    let said = said.split_once("error initializing configuration '").map_or(said, |(_, rest)| rest);
    let said = said.split_once("': ").map_or(said, |(_, rest)| rest);
    // A constraint stands behind the configuration that breaks it, other reasons before it.
    let said = said.rfind("Proto constraint validation failed").map_or(said, |at| &said[at..]);
    let said = said.split("): {").next().unwrap_or(said);
    let words = said.split_whitespace().collect::<Vec<_>>().join(" ");
    match words.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &words[..end]),
        None => words,
    }
}

/// The field that Envoy did not know, by its message.
pub(super) fn unknown_field(refusal: &str) -> Option<&str> {
    refusal.split_once("no such field: '").and_then(|(_, rest)| rest.split('\'').next())
}

/// The path of the only member of that name below a value.
pub(super) fn path_of(value: &Value, name: &str, at: &str) -> Option<String> {
    let mut found = Vec::new();
    search(value, name, at, &mut found);
    (found.len() == 1).then(|| found.remove(0))
}

fn search(value: &Value, name: &str, at: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (key, value) in members {
                let here = crate::path::key(at, key);
                if key == name {
                    found.push(here.clone());
                }
                search(value, name, &here, found);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                search(item, name, &crate::path::item(at, index), found);
            }
        }
        _ => {}
    }
}
