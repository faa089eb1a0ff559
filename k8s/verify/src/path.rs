//! Paths of fields as Kubernetes writes them: `spec.containers[0].image`, `metadata.annotations[a.dev/b]`.

use std::collections::BTreeMap;

/// The path of a member.
#[must_use]
pub fn key(parent: &str, key: &str) -> String {
    let plain = !key.is_empty()
        && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'$'));
    match (plain, parent.is_empty()) {
        (true, true) => key.to_owned(),
        (true, false) => format!("{parent}.{key}"),
        (false, _) => format!("{parent}[{key}]"),
    }
}

/// The path of an item.
#[must_use]
pub fn item(parent: &str, index: usize) -> String {
    format!("{parent}[{index}]")
}

/// The line of a value, or of the nearest above it that has one.
#[must_use]
pub fn line(lines: &BTreeMap<String, usize>, path: &str) -> Option<usize> {
    let mut path = path;
    loop {
        if let Some(line) = lines.get(path) {
            return Some(*line);
        }
        if path.is_empty() {
            return None;
        }
        path = above(path);
    }
}

/// The path of what holds it.
fn above(path: &str) -> &str {
    if path.ends_with(']') {
        return path.rfind('[').map_or("", |at| &path[..at]);
    }
    path.rfind('.').map_or("", |at| &path[..at])
}
