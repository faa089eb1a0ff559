//! `envoy/forebay.yaml` with other ports, paths and secrets: the file and the values enter, the text that Envoy runs leaves.
//!
//! The file runs as it is. A line that ends in `# up:<name>` holds a value that `up` replaces: what is between `key: ` and the
//! comment.

use anyhow::{Result, bail};

/// Replaces the marked values. `values` are (name, value) pairs; a value is written as a YAML string or number.
///
/// # Errors
/// A marked name has no value, or a value no marked line.
pub(super) fn fill(template: &str, values: &[(&str, String)]) -> Result<String> {
    let mut used = vec![false; values.len()];
    let mut filled = String::with_capacity(template.len());
    for (number, line) in template.lines().enumerate() {
        match line.split_once("# up:") {
            None => filled.push_str(line),
            Some((setting, name)) => {
                let name = name.trim();
                let Some(index) = values.iter().position(|(known, _)| *known == name) else {
                    bail!("envoy/forebay.yaml, line {}: `up` knows no value named {name}", number + 1);
                };
                let Some((key, _)) = setting.split_once(": ") else {
                    bail!("envoy/forebay.yaml, line {}: `# up:{name}` must follow `key: value`", number + 1);
                };
                used[index] = true;
                filled.extend([key, ": ", &values[index].1]);
            }
        }
        filled.push('\n');
    }
    match used.iter().position(|used| !used) {
        Some(unused) => bail!("envoy/forebay.yaml has no line marked `# up:{}`", values[unused].0),
        None => Ok(filled),
    }
}

#[cfg(test)]
mod tests {
    use super::fill;

    #[test]
    fn marked_values_are_replaced_and_all_else_stays() {
        let filled = fill("a: 1\nport_value: 8080   # up:port\n# b\n", &[("port", "9".into())]).unwrap();
        assert_eq!(filled, "a: 1\nport_value: 9\n# b\n");
    }

    #[test]
    fn a_name_on_one_side_only_is_an_error() {
        let unknown = fill("a: 1 # up:b\n", &[]).unwrap_err().to_string();
        assert!(unknown.contains("line 1") && unknown.contains('b'), "{unknown}");
        assert!(fill("a: 1\n", &[("b", "2".into())]).unwrap_err().to_string().contains("# up:b"));
    }
}
