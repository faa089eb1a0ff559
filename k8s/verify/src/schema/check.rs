//! A value and its schema enter, what doesn't fit leaves: strictly, a field that the schema does not have is one.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex};

use regex::{Regex, RegexBuilder};
use serde_json::{Map, Value};

use super::{format, logic, nearest};
use crate::path;

/// A field that does not fit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Misfit {
    /// Which.
    pub path: String,
    /// What is wrong.
    pub wrong: String,
    /// What would be right.
    pub right: String,
}

/// Where `$ref` leads, and whose rules hold.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    /// Definitions by name.
    pub definitions: &'a Value,
    /// A `CustomResourceDefinition`'s: objects without properties take none, `null` is a value. Kubernetes' own take `null` for
    /// absent, and an object without properties is one of any.
    pub structural: bool,
}

impl<'a> Scope<'a> {
    pub(super) fn resolve(self, schema: &'a Value) -> &'a Value {
        let name = schema.get("$ref").and_then(Value::as_str).and_then(|name| name.rsplit('/').next());
        name.and_then(|name| self.definitions.get(name)).unwrap_or(schema)
    }
}

/// Holds a value against a schema.
pub fn check(scope: Scope<'_>, schema: &Value, value: &Value, at: &str, misfits: &mut Vec<Misfit>) {
    let schema = scope.resolve(schema);
    let Some(rules) = schema.as_object() else { return };
    if value.is_null() && (!scope.structural || rules.get("nullable").is_some_and(|yes| yes == true)) {
        return;
    }
    let mut say = |wrong: String, right: String| misfits.push(Misfit { path: at.to_owned(), wrong, right });
    if let Some(kind) = wrong_type(rules, value) {
        say(format!("is {}", shown(value)), kind);
        return;
    }
    scalars(rules, value, &mut say);
    for key in ["oneOf", "anyOf"] {
        let Some(branches) = rules.get(key).filter(|_| !is_int_or_string(rules)) else { continue };
        let fitting =
            branches.as_array().into_iter().flatten().filter(|one| logic::fits(scope, one, value)).count();
        if if key == "oneOf" { fitting != 1 } else { fitting == 0 } {
            let (wrong, right) = logic::choice(key, branches, value);
            say(wrong, right);
        }
    }
    for branch in rules.get("allOf").and_then(Value::as_array).into_iter().flatten() {
        for (key, branches) in
            branch.as_object().into_iter().flatten().filter(|(key, _)| *key == "oneOf" || *key == "anyOf")
        {
            if !logic::fits(scope, branch, value) && !is_int_or_string(rules) {
                let (wrong, right) = logic::choice(key, branches, value);
                say(wrong, right);
            }
        }
    }
    if let Some(not) = rules.get("not").filter(|not| logic::fits(scope, not, value)) {
        say(format!("has what the schema excludes: {not}"), "another value".to_owned());
    }
    match value {
        Value::Object(members) => object(scope, rules, members, at, misfits),
        Value::Array(items) => {
            list(rules, items, at, misfits);
            if let Some(schema) = rules.get("items") {
                for (index, item) in items.iter().enumerate() {
                    check(scope, schema, item, &path::item(at, index), misfits);
                }
            }
        }
        _ => {}
    }
}

fn object(
    scope: Scope<'_>,
    rules: &Map<String, Value>,
    members: &Map<String, Value>,
    at: &str,
    misfits: &mut Vec<Misfit>,
) {
    let none = Map::new();
    let properties = rules.get("properties").and_then(Value::as_object).unwrap_or(&none);
    let open = is(rules, "x-kubernetes-preserve-unknown-fields");
    let embedded = is(rules, "x-kubernetes-embedded-resource");
    let others = rules.get("additionalProperties").filter(|rule| rule.as_bool() != Some(false));
    let anything = !scope.structural && rules.get("properties").is_none();
    for (name, value) in members {
        let here = path::key(at, name);
        if let Some(schema) = properties.get(name) {
            check(scope, schema, value, &here, misfits);
        } else if let Some(schema) = others {
            check(scope, schema, value, &here, misfits);
        } else if !(open
            || anything
            || embedded && matches!(name.as_str(), "apiVersion" | "kind" | "metadata"))
        {
            misfits.push(unknown(&here, name, properties));
        }
    }
    for name in
        rules.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
    {
        let missing = match members.get(name) {
            None => properties.get(name).is_none_or(|schema| schema.get("default").is_none()),
            Some(value) => value.is_null() && !scope.structural,
        };
        if missing {
            misfits.push(Misfit {
                path: path::key(at, name),
                wrong: "is missing".to_owned(),
                right: "the schema asks for it".to_owned(),
            });
        }
    }
    bounds(rules, ["minProperties", "maxProperties"], members.len(), "members", at, misfits);
}

fn unknown(path: &str, name: &str, properties: &Map<String, Value>) -> Misfit {
    let right = match nearest(name, properties.keys().map(String::as_str)) {
        Some(near) => format!("perhaps `{near}`"),
        None if properties.is_empty() => "no field at all stands here".to_owned(),
        None => format!("one of {}", some(properties.keys().map(String::as_str))),
    };
    Misfit { path: path.to_owned(), wrong: format!("unknown field `{name}`"), right }
}

fn some<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.collect();
    let shown = names.iter().take(16).copied().collect::<Vec<_>>().join(", ");
    if names.len() > 16 { format!("{shown} and {} more", names.len() - 16) } else { shown }
}

fn list(rules: &Map<String, Value>, items: &[Value], at: &str, misfits: &mut Vec<Misfit>) {
    bounds(rules, ["minItems", "maxItems"], items.len(), "items", at, misfits);
    let kind = rules.get("x-kubernetes-list-type").and_then(Value::as_str);
    let keys: Vec<&str> = rules
        .get("x-kubernetes-list-map-keys")
        .and_then(Value::as_array)
        .map(|keys| keys.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default();
    let unique = is(rules, "uniqueItems") || kind == Some("set");
    if kind != Some("map") && !unique {
        return;
    }
    let defaults = rules.get("items").and_then(|items| items.get("properties"));
    let identity = |item: &Value| {
        if unique {
            return item.to_string();
        }
        let part = |key: &&str| {
            let standard = || defaults.and_then(|all| all.get(*key)?.get("default").cloned());
            let value = item.get(*key).cloned().or_else(standard);
            let value = value.or_else(|| (*key == "protocol").then(|| "TCP".into())).unwrap_or(Value::Null);
            format!("{key} {value}")
        };
        keys.iter().map(part).collect::<Vec<_>>().join(", ")
    };
    let mut seen = HashMap::new();
    for (index, item) in items.iter().enumerate() {
        let identity = identity(item);
        if let Some(first) = seen.insert(identity.clone(), index) {
            misfits.push(Misfit {
                path: path::item(at, index),
                wrong: format!("stands twice: {identity} is item {first} as well"),
                right: if unique {
                    "each value once".to_owned()
                } else {
                    format!("each {} once", keys.join(" and "))
                },
            });
        }
    }
}

fn scalars(rules: &Map<String, Value>, value: &Value, say: &mut impl FnMut(String, String)) {
    if let Some(allowed) =
        rules.get("enum").and_then(Value::as_array).filter(|allowed| !allowed.contains(value))
    {
        let words = allowed
            .iter()
            .map(|one| one.as_str().map_or_else(|| one.to_string(), str::to_owned))
            .collect::<Vec<_>>();
        let near = value.as_str().and_then(|word| nearest(word, words.iter().map(String::as_str)));
        let right = near.map_or_else(
            || format!("one of {}", some(words.iter().map(String::as_str))),
            |near| format!("perhaps `{near}`"),
        );
        say(format!("is {}", shown(value)), right);
    }
    if let Some(text) = value.as_str() {
        let count = text.chars().count() as u64;
        let bound = |key: &str| rules.get(key).and_then(Value::as_u64);
        if let Some(least) = bound("minLength").filter(|least| count < *least) {
            say(format!("has {count} letters"), format!("at least {least}"));
        }
        if let Some(most) = bound("maxLength").filter(|most| count > *most) {
            say(format!("has {count} letters"), format!("at most {most}"));
        }
        if let Some(pattern) =
            rules.get("pattern").and_then(Value::as_str).filter(|rule| !matches_pattern(rule, text))
        {
            say(format!("is {}", shown(value)), format!("text that fits {pattern}"));
        }
        let format = rules.get("format").and_then(Value::as_str);
        if let Some(right) = format.and_then(|format| format::text(format, text)) {
            say(format!("is {}", shown(value)), right.to_owned());
        }
    }
    if let Some(number) = value.as_f64() {
        let bound = |key: &str| rules.get(key).and_then(Value::as_f64);
        let exclusive = |key: &str| is(rules, key);
        if let Some(least) = bound("minimum")
            .filter(|least| number < *least || (exclusive("exclusiveMinimum") && number <= *least))
        {
            say(format!("is {value}"), format!("at least {least}"));
        }
        if let Some(most) = bound("maximum")
            .filter(|most| number > *most || (exclusive("exclusiveMaximum") && number >= *most))
        {
            say(format!("is {value}"), format!("at most {most}"));
        }
        let format = rules.get("format").and_then(Value::as_str);
        if format.is_some_and(|format| !format::integer(format, number)) {
            say(format!("is {value}"), "a number of 32 bits".to_owned());
        }
    }
}

fn bounds(
    rules: &Map<String, Value>,
    keys: [&str; 2],
    size: usize,
    what: &str,
    at: &str,
    misfits: &mut Vec<Misfit>,
) {
    let bound = |key: &str| {
        rules
            .get(key)
            .and_then(Value::as_u64)
            .map_or(usize::MAX, |bound| usize::try_from(bound).unwrap_or(usize::MAX))
    };
    let least = rules.get(keys[0]).map_or(0, |_| bound(keys[0]));
    let right = match size {
        size if size < least => format!("at least {least}"),
        size if size > bound(keys[1]) => format!("at most {}", bound(keys[1])),
        _ => return,
    };
    misfits.push(Misfit { path: at.to_owned(), wrong: format!("has {size} {what}"), right });
}

/// What type would be right, where it isn't.
fn wrong_type(rules: &Map<String, Value>, value: &Value) -> Option<String> {
    if is_int_or_string(rules) {
        return (!value.is_string() && !is_whole(value)).then(|| "a number or text".to_owned());
    }
    let kind = rules.get("type")?;
    if is_type(kind, value) {
        return None;
    }
    let words: Vec<&str> = match kind {
        Value::Array(kinds) => {
            kinds.iter().filter_map(Value::as_str).filter(|kind| *kind != "null").collect()
        }
        kind => kind.as_str().into_iter().collect(),
    };
    let quoted = words == ["string"] && (value.is_boolean() || value.is_number());
    Some(if quoted { format!("text: put it in quotes, \"{value}\"") } else { words.join(" or ") })
}

fn is_int_or_string(rules: &Map<String, Value>) -> bool {
    is(rules, "x-kubernetes-int-or-string")
}

fn is(rules: &Map<String, Value>, key: &str) -> bool {
    rules.get(key).is_some_and(|rule| rule == true)
}

fn is_whole(value: &Value) -> bool {
    value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|number| number.fract() == 0.0)
}

pub(super) fn is_type(kind: &Value, value: &Value) -> bool {
    match kind {
        Value::Array(kinds) => kinds.iter().any(|kind| is_type(kind, value)),
        kind => match kind.as_str().unwrap_or_default() {
            "string" => value.is_string(),
            "integer" => is_whole(value),
            "number" => value.is_number(),
            "boolean" => value.is_boolean(),
            "object" => value.is_object(),
            "array" => value.is_array(),
            "null" => value.is_null(),
            _ => true,
        },
    }
}

/// A value as it is said in a failure: short.
fn shown(value: &Value) -> String {
    match value {
        Value::Object(_) => "a mapping".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Null => "null, or empty".to_owned(),
        Value::Bool(_) | Value::Number(_) => {
            format!("the {} {value}", if value.is_boolean() { "boolean" } else { "number" })
        }
        Value::String(text) if text.chars().count() > 80 => {
            format!("{:?}…", text.chars().take(80).collect::<String>())
        }
        Value::String(text) => format!("{text:?}"),
    }
}

/// Patterns are compiled once; those that this engine doesn't know pass.
pub(super) fn matches_pattern(pattern: &str, text: &str) -> bool {
    static COMPILED: LazyLock<Mutex<HashMap<String, Option<Regex>>>> = LazyLock::new(Mutex::default);
    let mut compiled = COMPILED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let regex = compiled
        .entry(pattern.to_owned())
        .or_insert_with(|| RegexBuilder::new(pattern).size_limit(64 << 20).build().ok());
    regex.as_ref().is_none_or(|regex| regex.is_match(text))
}
