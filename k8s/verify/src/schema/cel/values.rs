//! JSON with its schema enters, what a rule sees of it leaves: fields under names that CEL can say, keys of maps as they are.

use std::collections::HashMap;

use kube_cel::cel::Value as Cel;
use kube_cel::cel::objects::{Key, Map};
use serde_json::Value;

/// Makes the value of `duration` or `timestamp` out of a text.
pub(super) type Make<'a> = &'a dyn Fn(&str, &str) -> Option<Cel>;

pub(super) fn of(value: &Value, schema: &Value, make: Make<'_>) -> Cel {
    let word = |key: &str| schema.get(key).and_then(Value::as_str);
    match value {
        Value::Null => Cel::Null,
        Value::Bool(is) => Cel::Bool(*is),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) if word("type") != Some("number") => Cel::Int(number),
            (None, Some(number)) if word("type") != Some("number") => Cel::UInt(number),
            _ => Cel::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => {
            let call = match word("format") {
                Some("date-time" | "date") => Some("timestamp"),
                Some("duration") => Some("duration"),
                _ => None,
            };
            call.and_then(|call| make(call, text)).unwrap_or_else(|| Cel::String(text.clone().into()))
        }
        Value::Array(items) => {
            let schema = schema.get("items").unwrap_or(&Value::Null);
            items.iter().map(|item| of(item, schema, make)).collect::<Vec<_>>().into()
        }
        Value::Object(members) => {
            let properties = schema.get("properties").and_then(Value::as_object);
            let others = schema.get("additionalProperties").unwrap_or(&Value::Null);
            let mut map = HashMap::new();
            // The server drops what is null.
            for (key, member) in members.iter().filter(|(_, member)| !member.is_null()) {
                let known = properties.and_then(|known| known.get(key));
                let name = if known.is_some() { escaped(key) } else { key.clone() };
                map.insert(Key::String(name.into()), of(member, known.unwrap_or(others), make));
            }
            Cel::Map(Map { map: map.into() })
        }
    }
}

/// Words of CEL's that no field can be named.
const RESERVED: [&str; 21] = [
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// The name by which a rule says a field: `apiserver/pkg/cel/escaping.go`.
fn escaped(name: &str) -> String {
    if RESERVED.contains(&name) {
        return format!("__{name}__");
    }
    let mut escaped = name.replace("__", "__underscores__");
    for (sign, word) in [('.', "__dot__"), ('-', "__dash__"), ('/', "__slash__")] {
        escaped = escaped.replace(sign, word);
    }
    escaped
}
