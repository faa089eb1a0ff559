//! `oneOf`, `anyOf`, `allOf` and `not` of a schema: value and schema enter, whether they fit leaves, and words for a refusal.

use std::collections::BTreeSet;

use serde_json::Value;

use super::check::{Scope, is_type, matches_pattern};

/// Whether a value fits a schema as far as values go; unknown fields are not looked for.
pub(super) fn fits(scope: Scope<'_>, schema: &Value, value: &Value) -> bool {
    let schema = scope.resolve(schema);
    let Some(schema) = schema.as_object() else { return schema.as_bool() != Some(false) };
    schema.iter().all(|(key, rule)| keyword(scope, key, rule, value))
}

fn keyword(scope: Scope<'_>, key: &str, rule: &Value, value: &Value) -> bool {
    let branches = || rule.as_array().into_iter().flatten();
    let fitting = || branches().filter(|branch| fits(scope, branch, value)).count();
    let number = |other: &Value| other.as_f64().zip(value.as_f64());
    let size = |of: Option<usize>| of.zip(rule.as_u64()).map(|(size, bound)| (size as u64, bound));
    let (letters, items, members) = (
        value.as_str().map(|text| text.chars().count()),
        value.as_array().map(Vec::len),
        value.as_object().map(serde_json::Map::len),
    );
    match key {
        "type" => is_type(rule, value),
        "enum" => branches().any(|one| one == value),
        "const" => rule == value,
        "pattern" => value.as_str().zip(rule.as_str()).is_none_or(|(text, rule)| matches_pattern(rule, text)),
        "required" => {
            members.is_none()
                || branches().all(|name| {
                    name.as_str().is_some_and(|name| value.get(name).is_some_and(|value| !value.is_null()))
                })
        }
        "properties" => rule
            .as_object()
            .into_iter()
            .flatten()
            .all(|(name, rule)| value.get(name).is_none_or(|value| fits(scope, rule, value))),
        "items" => value.as_array().into_iter().flatten().all(|item| fits(scope, rule, item)),
        "minimum" => number(rule).is_none_or(|(least, value)| value >= least),
        "maximum" => number(rule).is_none_or(|(most, value)| value <= most),
        "minLength" => size(letters).is_none_or(|(size, least)| size >= least),
        "maxLength" => size(letters).is_none_or(|(size, most)| size <= most),
        "minItems" => size(items).is_none_or(|(size, least)| size >= least),
        "maxItems" => size(items).is_none_or(|(size, most)| size <= most),
        "minProperties" => size(members).is_none_or(|(size, least)| size >= least),
        "maxProperties" => size(members).is_none_or(|(size, most)| size <= most),
        "not" => !fits(scope, rule, value),
        "allOf" => branches().all(|branch| fits(scope, branch, value)),
        "anyOf" => fitting() > 0,
        "oneOf" => fitting() == 1,
        _ => true,
    }
}

/// What `oneOf` and `anyOf` ask for, in words: which fields they are about, and which of them are there.
pub(super) fn choice(key: &str, branches: &Value, value: &Value) -> (String, String) {
    let mut names = BTreeSet::new();
    required(branches, &mut names);
    let list = |names: &[&str]| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    let there: Vec<&str> = all.iter().copied().filter(|name| value.get(name).is_some()).collect();
    let wrong = match there.as_slice() {
        _ if all.is_empty() => format!("fits none of the forms that the schema's {key} has"),
        [] => format!("has none of {}", list(&all)),
        [_] => format!("{} stands as the schema's {key} does not allow", list(&there)),
        _ => format!("has {} together", list(&there)),
    };
    let right = match (all.is_empty(), key) {
        (true, _) => "one of its forms".to_owned(),
        (false, "oneOf") => format!("exactly one of {}, or none where none is asked for", list(&all)),
        (false, _) => format!("at least one of {}", list(&all)),
    };
    (wrong, right)
}

fn required(schema: &Value, names: &mut BTreeSet<String>) {
    match schema {
        Value::Array(items) => items.iter().for_each(|item| required(item, names)),
        Value::Object(members) => {
            for (key, rule) in members {
                if key == "required" {
                    names.extend(
                        rule.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned),
                    );
                } else if matches!(key.as_str(), "anyOf" | "oneOf" | "allOf" | "not") {
                    required(rule, names);
                }
            }
        }
        _ => {}
    }
}
