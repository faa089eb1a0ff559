//! Objects as JSON: what kubectl writes enters; objects and their names leave.

use anyhow::{Context, Result};
use serde_json::Value;

/// The objects of a list, or the one object, or none where there is no text.
///
/// # Errors
/// It is no JSON.
pub(crate) fn objects(text: &str) -> Result<Vec<Value>> {
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    let value: Value = serde_json::from_str(text).context("kubectl wrote no JSON")?;
    Ok(match value {
        Value::Object(mut list) if list.contains_key("items") => match list.remove("items") {
            Some(Value::Array(items)) => items,
            _ => Vec::new(),
        },
        one => vec![one],
    })
}

/// `deployment/forebay-backend`, which tells it from all others of a namespace.
pub(crate) fn name(object: &Value) -> String {
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    format!("{}/{}", word(&object["kind"]).to_lowercase(), word(&object["metadata"]["name"]))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn one_object_and_a_list_of_them_are_read_alike() {
        let one = json!({ "kind": "Service", "metadata": { "name": "a" } });
        let list = json!({ "kind": "List", "items": [one, one] });
        assert_eq!(objects(&one.to_string()).unwrap().iter().map(name).collect::<Vec<_>>(), ["service/a"]);
        assert_eq!(objects(&list.to_string()).unwrap().len(), 2);
        assert!(objects("\n").unwrap().is_empty());
    }
}
