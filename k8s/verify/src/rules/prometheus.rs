//! Rules and dashboards: `promtool` reads each rule, and what is asked of our own programs is something that they export.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{LazyLock, Mutex, PoisonError};

use regex::Regex;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::object::Object;
use crate::path;
use crate::rules::field::Field;
use crate::schema::nearest;
use crate::world::World;

/// What our programs export: program, name, labels a line. A test scrapes them and compares.
const EXPORTED: &str = include_str!("../../../monitoring/metrics.txt");

/// Says which queries can't be read, or ask for what nobody exports.
pub fn check(world: &World, failures: &mut Vec<Failure>) {
    let recorded = recorded(world);
    for object in world.of("monitoring.coreos.com", "PrometheusRule") {
        if let Some(promtool) = &world.tools.promtool {
            by_promtool(promtool, object, failures);
        }
        queries(object, &object.value, "", &recorded, failures);
    }
    for object in world.of("", "ConfigMap") {
        for (key, value) in object.value.get("data").and_then(Value::as_object).into_iter().flatten() {
            dashboard(object, key, value, &recorded, failures);
        }
    }
    for object in world.of("keda.sh", "ScaledObject") {
        if let Some(promtool) = &world.tools.promtool {
            triggers(promtool, object, failures);
        }
        queries(object, &object.value, "", &recorded, failures);
    }
}

/// Names that rules record themselves.
fn recorded(world: &World) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for object in world.of("monitoring.coreos.com", "PrometheusRule") {
        let groups = object.at("/spec/groups").and_then(Value::as_array).into_iter().flatten();
        let rules =
            groups.flat_map(|group| group.get("rules").and_then(Value::as_array).into_iter().flatten());
        names.extend(rules.filter_map(|rule| Some(rule.get("record")?.as_str()?.to_owned())));
    }
    names
}

fn by_promtool(promtool: &Path, object: &Object, failures: &mut Vec<Failure>) {
    let Some(said) = object.at("/spec").and_then(|spec| refused(promtool, spec)) else { return };
    let at = blamed(object, &said).unwrap_or_else(|| "spec.groups".to_owned());
    failures.push(object.failure(
        &at,
        format!("promtool refuses it: {said}"),
        "what `promtool check rules` takes",
    ));
}

/// Queries that KEDA asks.
fn triggers(promtool: &Path, object: &Object, failures: &mut Vec<Failure>) {
    let asks = |trigger: &Field<'_>| trigger.at("type").text() == Some("prometheus");
    for trigger in Field::root(object).down("spec.triggers").list().iter().filter(|trigger| asks(trigger)) {
        let query = trigger.at("metadata").at("query");
        let Some(text) = query.text() else { continue };
        let rules = json!({"groups": [{"name": "keda", "rules": [{"record": "asked", "expr": text}]}]});
        if let Some(said) = refused(promtool, &rules) {
            query.fail(failures, format!("promtool refuses it: {said}"), "a query of Prometheus'");
        }
    }
}

/// What promtool says against rules. Environments share theirs: each is asked about once.
fn refused(promtool: &Path, rules: &Value) -> Option<String> {
    static ASKED: Mutex<BTreeMap<String, Option<String>>> = Mutex::new(BTreeMap::new());
    let key = rules.to_string();
    let asked = || ASKED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(said) = asked().get(&key) {
        return said.clone();
    }
    let said = ask(promtool, &key);
    asked().insert(key, said.clone());
    said
}

fn ask(promtool: &Path, rules: &str) -> Option<String> {
    let folder = tempfile::tempdir().ok()?;
    let file = folder.path().join("rules.json");
    fs::write(&file, rules).ok()?;
    let mut command = Command::new(promtool);
    command.args(["check", "rules", "--lint=none"]).arg(&file).stdin(Stdio::null());
    let output = command.output().ok().filter(|output| !output.status.success())?;
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let place = file.display().to_string();
    let lines =
        said.lines().filter(|line| line.contains(&place) || line.contains("error") || line.contains("group"));
    let said = lines.filter(|line| !line.starts_with("Checking")).collect::<Vec<_>>().join(" ");
    Some(said.replace(&place, "").trim_matches([' ', ':']).to_owned())
}

/// The rule that the message names: `group "x", rule 1, "Alert"`.
fn blamed(object: &Object, said: &str) -> Option<String> {
    static NAMED: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r#"group "([^"]+)", rule (\d+)"#).expect("a pattern of ours"));
    let found = NAMED.captures(said)?;
    let number = found[2].parse::<usize>().ok()?.checked_sub(1)?;
    let groups = object.at("/spec/groups")?.as_array()?;
    let group =
        groups.iter().position(|group| group.get("name").and_then(Value::as_str) == Some(&found[1]))?;
    let part = if said.contains("could not parse expression") { ".expr" } else { "" };
    Some(format!("spec.groups[{group}].rules[{number}]{part}"))
}

/// Every text that is a query, by the name of its field.
fn queries(
    object: &Object,
    value: &Value,
    at: &str,
    recorded: &BTreeSet<String>,
    failures: &mut Vec<Failure>,
) {
    match value {
        Value::Object(members) => {
            for (key, value) in members {
                let here = path::key(at, key);
                match value {
                    Value::String(text) if matches!(key.as_str(), "expr" | "query") => {
                        for (wrong, right) in unknown(text, recorded) {
                            failures.push(object.failure(&here, wrong, right));
                        }
                    }
                    _ => queries(object, value, &here, recorded, failures),
                }
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                queries(object, item, &path::item(at, index), recorded, failures);
            }
        }
        _ => {}
    }
}

/// A dashboard of Grafana's in a `ConfigMap`.
fn dashboard(
    object: &Object,
    key: &str,
    value: &Value,
    recorded: &BTreeSet<String>,
    failures: &mut Vec<Failure>,
) {
    let Some(text) = value.as_str().filter(|text| {
        Path::new(key).extension().is_some_and(|end| end == "json") && text.contains("\"panels\"")
    }) else {
        return;
    };
    let at = path::key("data", key);
    match serde_json::from_str::<Value>(text) {
        Err(error) => failures.push(object.failure(
            &at,
            format!("is no JSON: {error}"),
            "a dashboard as Grafana exports it",
        )),
        Ok(board) => {
            let mut found = Vec::new();
            queries(object, &board, "", recorded, &mut found);
            for failure in found {
                failures.push(object.failure(
                    &at,
                    format!("{}: {}", failure.path, failure.wrong),
                    failure.right,
                ));
            }
        }
    }
}

/// Names of ours in a query that nobody exports.
fn unknown(query: &str, recorded: &BTreeSet<String>) -> Vec<(String, String)> {
    static QUOTED: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r#""[^"]*"|'[^']*'"#).expect("a pattern of ours"));
    static NAME: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"\b[a-zA-Z_:][a-zA-Z0-9_:]*").expect("a pattern of ours"));
    let exported: BTreeSet<&str> = EXPORTED
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_whitespace().nth(1))
        .collect();
    let bare = QUOTED.replace_all(query, "");
    let names = NAME.find_iter(&bare).map(|found| found.as_str());
    let ours = names.filter(|name| name.starts_with("forebay_") || name.starts_with("forebay:"));
    let strange: BTreeSet<&str> =
        ours.filter(|name| !exported.contains(name) && !recorded.contains(*name)).collect();
    strange
        .into_iter()
        .map(|name| {
            let known = exported.iter().copied().chain(recorded.iter().map(String::as_str));
            let right = nearest(name, known)
                .map_or("a name of k8s/monitoring/metrics.txt".to_owned(), |near| {
                    format!("perhaps `{near}`")
                });
            (format!("nobody exports `{name}`"), right)
        })
        .collect()
}
