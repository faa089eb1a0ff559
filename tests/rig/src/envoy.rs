//! `envoy/forebay.yaml` with other ports, paths and secrets: the file and the values enter, the text that Envoy runs leaves.
//!
//! The file runs as it is. Two kinds of values are replaced: on a line that ends in `# up:<name>`, what is between `key: ` and the
//! comment; and in the filter's JSON, where no comment can stand, what follows `"<name>": ` on a line of its own.

use anyhow::{Context, Result, bail};

/// Replaces the values. `values` are (name, value) pairs, where a value is a number or a quoted string.
///
/// # Errors
/// A marked name has no value, or a value no line.
pub fn fill(template: &str, values: &[(&str, String)]) -> Result<String> {
    let mut used = vec![false; values.len()];
    let mut filled = String::with_capacity(template.len());
    for (number, line) in template.lines().enumerate() {
        let place = place(line).with_context(|| format!("envoy/forebay.yaml, line {}", number + 1))?;
        match place.and_then(|place| Some((values.iter().position(|(name, _)| *name == place.name)?, place)))
        {
            Some((index, place)) => {
                used[index] = true;
                filled.extend([place.key, ": ", &values[index].1, place.rest]);
            }
            None if is_marked(line) => {
                bail!("envoy/forebay.yaml, line {}: `up` knows no such value: {}", number + 1, line.trim())
            }
            None => filled.push_str(line),
        }
        filled.push('\n');
    }
    match used.iter().position(|used| !used) {
        Some(unused) => bail!("envoy/forebay.yaml has no line for `up`'s value {}", values[unused].0),
        None => Ok(filled),
    }
}

const MARK: &str = "# up:";

/// A line whose value might be replaced.
struct Place<'a> {
    name: &'a str,
    /// What is before `: `.
    key: &'a str,
    /// What follows the value.
    rest: &'a str,
}

/// A whole line of comment may speak of the marks.
fn is_marked(line: &str) -> bool {
    line.contains(MARK) && !line.trim_start().starts_with('#')
}

fn place(line: &str) -> Result<Option<Place<'_>>> {
    if let Some((setting, name)) = line.split_once(MARK).filter(|_| is_marked(line)) {
        let (key, _) = setting.split_once(": ").context("the mark must follow `key: value`")?;
        return Ok(Some(Place { name: name.trim(), key, rest: "" }));
    }
    let Some((key, value)) = line.split_once(": ") else { return Ok(None) };
    let name = key.trim_start().strip_prefix('"').and_then(|name| name.strip_suffix('"'));
    let rest = if value.ends_with(',') { "," } else { "" };
    Ok(name.map(|name| Place { name, key, rest }))
}

#[cfg(test)]
mod tests {
    use super::fill;

    #[test]
    fn marked_values_are_replaced_and_all_else_stays() {
        let filled =
            fill("a: 1\nport_value: 8080   # up:port\n# b # up:c\n", &[("port", "9".into())]).unwrap();
        assert_eq!(filled, "a: 1\nport_value: 9\n# b # up:c\n");
    }

    #[test]
    fn values_in_json_are_replaced_by_their_key() {
        let filled = fill("  \"token\": \"\",\n  \"other\": 1\n", &[("token", "\"x\"".into())]).unwrap();
        assert_eq!(filled, "  \"token\": \"x\",\n  \"other\": 1\n");
    }

    #[test]
    fn a_name_on_one_side_only_is_an_error() {
        let unknown = fill("a: 1 # up:b\n", &[]).unwrap_err().to_string();
        assert!(unknown.contains("line 1") && unknown.contains("up:b"), "{unknown}");
        assert!(fill("a: 1\n", &[("b", "2".into())]).unwrap_err().to_string().contains("value b"));
    }
}
