//! Objects as JSON: what kubectl writes enters; objects and their names leave.

use anyhow::{Context, Result};
use serde_json::Value;

/// The objects of lists, and those that stand one after the other, as `kubectl create` writes them.
///
/// # Errors
/// It is no JSON.
pub(crate) fn objects(text: &str) -> Result<Vec<Value>> {
    let mut all = Vec::new();
    for value in serde_json::Deserializer::from_str(text).into_iter() {
        match value.context("kubectl wrote no JSON")? {
            Value::Object(mut list) if list.contains_key("items") => {
                if let Some(Value::Array(items)) = list.remove("items") {
                    all.extend(items);
                }
            }
            one => all.push(one),
        }
    }
    Ok(all)
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
        assert_eq!(objects(&format!("{one}\n{one}\n")).unwrap().len(), 2);
        assert!(objects("\n").unwrap().is_empty());
    }
}
