//! Renders that were looked at stay as they are until someone looks again: `k8s/golden/`.

use std::fs;

use anyhow::{Context, Result};

use super::Project;
use crate::failure::Failure;

/// As Helm writes them.
const BETWEEN: &str = "\n---\n";

/// The objects of a render that are not in the other as they are.
pub(super) fn beyond(text: &str, plain: &str) -> String {
    // The last one has a line's end that is between others.
    let known: Vec<&str> = plain.split(BETWEEN).map(str::trim_end).collect();
    let is_new = |object: &&str| !known.contains(&object.trim_end());
    text.split(BETWEEN).filter(is_new).collect::<Vec<_>>().join(BETWEEN)
}

pub(super) fn compare(
    project: &Project<'_>,
    name: &str,
    text: &str,
    failures: &mut Vec<Failure>,
) -> Result<()> {
    let file = project.root.join("k8s/golden").join(name);
    if project.write_golden {
        fs::create_dir_all(project.root.join("k8s/golden"))?;
        return fs::write(&file, text).with_context(|| format!("can't write {}", file.display()));
    }
    let golden = fs::read_to_string(&file).unwrap_or_default();
    if golden == text {
        return Ok(());
    }
    let line = golden.lines().zip(text.lines()).take_while(|(one, other)| one == other).count();
    let shown =
        |text: &str| text.lines().nth(line).map_or("nothing".to_owned(), |line| format!("`{}`", line.trim()));
    let wrong = format!("the chart renders {} here, and not {}", shown(text), shown(&golden));
    let right =
        "if it is meant: `cargo xtask verify-k8s --write-golden`, and look at the difference".to_owned();
    let (kind, name, path) = (String::new(), String::new(), String::new());
    failures.push(Failure { file, line: line + 1, kind, name, path, wrong, right });
    Ok(())
}
