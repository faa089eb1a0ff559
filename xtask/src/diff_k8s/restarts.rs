//! What restarts: pairs of objects enter; a line for each workload whose pods are replaced, with what makes it so, leaves.

use serde_json::Value;

use super::{Pair, fields};

pub(super) fn lines(pairs: &[Pair]) -> Vec<String> {
    let mut lines: Vec<String> = pairs.iter().filter_map(line).collect();
    if lines.is_empty() {
        lines.push("nothing".to_owned());
    }
    lines
}

fn line(pair: &Pair) -> Option<String> {
    let (Some(now), Some(then)) = (&pair.now, &pair.then) else { return None };
    let template = |object: &Value| object["spec"]["template"].clone();
    let why = fields::differences(&template(now), &template(then));
    if why.is_empty() {
        return None;
    }
    let strategy = &then["spec"]["strategy"]["rollingUpdate"];
    let how = match (strategy["maxSurge"].as_u64(), strategy["maxUnavailable"].as_u64()) {
        (Some(0), Some(gone)) => format!(", {gone} fewer at a time"),
        (Some(surge), Some(0)) => format!(", {surge} more at a time"),
        _ => String::new(),
    };
    let fields: Vec<&str> = why.iter().filter_map(|line| line.split(": ").next()).map(short).collect();
    let pods = then["spec"]["replicas"].as_u64().unwrap_or(1);
    Some(format!("{}, {pods} pods{how}, because of {}", pair.name, unique(&fields).join(", ")))
}

/// `spec.containers[backend].env[A].value` -> `env[A]`: what a reader looks for.
fn short(path: &str) -> &str {
    let path = path.strip_prefix("metadata.annotations.").unwrap_or(path);
    let path = path.strip_prefix("spec.").unwrap_or(path);
    let path = path.find("].").filter(|_| path.starts_with("containers[")).map_or(path, |at| &path[at + 2..]);
    path.strip_suffix(".value").or_else(|| path.strip_suffix(".name")).unwrap_or(path)
}

fn unique<'a>(all: &[&'a str]) -> Vec<&'a str> {
    let mut seen = Vec::new();
    for one in all {
        if !seen.contains(one) {
            seen.push(*one);
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn deployment(replicas: u64, checksum: &str, value: &str) -> Value {
        json!({ "spec": { "replicas": replicas, "strategy": { "rollingUpdate": { "maxSurge": 0, "maxUnavailable": 1 } },
            "template": { "metadata": { "annotations": { "checksum/envoy": checksum } },
                "spec": { "containers": [{ "name": "c", "env": [{ "name": "A", "value": value }] }] } } } })
    }

    fn pair(now: Value, then: Value) -> Pair {
        Pair { name: "deployment/a".to_owned(), now: Some(now), then: Some(then) }
    }

    #[test]
    fn a_change_of_the_pods_template_restarts_them_and_says_by_what() {
        let restarted = lines(&[pair(deployment(3, "x", "1"), deployment(3, "y", "2"))]);
        assert_eq!(restarted, ["deployment/a, 3 pods, 1 fewer at a time, because of checksum/envoy, env[A]"]);
    }

    #[test]
    fn a_change_of_replicas_alone_restarts_nothing() {
        assert_eq!(lines(&[pair(deployment(3, "x", "1"), deployment(4, "x", "1"))]), ["nothing"]);
    }
}
