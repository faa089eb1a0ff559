//! The table of values in the chart's README: `values.yaml` enters, with a `# --` comment above each value, and what stands under
//! `## Values` leaves. The rest of that page is by hand.

use std::fmt::Write as _;
use std::fs;

use anyhow::{Context as _, Result, bail};

use crate::layout::Layout;

const FOLDER: &str = "k8s/charts/forebay";

/// What follows it in the page is made here.
const HEADING: &str = "## Values\n";

/// Writes the page anew.
///
/// # Errors
/// A value without a comment; a file that can't be read or written.
pub(crate) fn run(layout: &Layout) -> Result<()> {
    let folder = layout.root.join(FOLDER);
    let read = |name: &str| {
        let file = folder.join(name);
        fs::read_to_string(&file).with_context(|| format!("can't read {}", file.display()))
    };
    let page = page(&read("README.md")?, &read("values.yaml")?)?;
    fs::write(folder.join("README.md"), page).context("can't write the chart's README.md")
}

fn page(old: &str, values: &str) -> Result<String> {
    let (head, _) = old.split_once(HEADING).context("the chart's README.md has no line `## Values`")?;
    let mut page = format!("{head}{HEADING}\n| value | default | what it is |\n|---|---|---|\n");
    for row in rows(values)? {
        writeln!(page, "| `{}` | `{}` | {} |", row.path, row.default.replace('|', "\\|"), row.text)?;
    }
    Ok(page)
}

struct Row {
    path: String,
    default: String,
    text: String,
}

/// One for each value with a comment, in the file's order.
fn rows(values: &str) -> Result<Vec<Row>> {
    let (mut rows, mut text) = (Vec::<Row>::new(), String::new());
    // The keys that the line stands under, and the indent of the last row's key: what stands deeper is its default.
    let (mut above, mut row) = (Vec::<(usize, &str)>::new(), usize::MAX);
    for line in values.lines().filter(|line| !line.trim().is_empty()) {
        let (content, indent) = (line.trim(), line.len() - line.trim_start().len());
        if let Some(comment) = content.strip_prefix('#') {
            match comment.strip_prefix(" -- ") {
                Some(begin) => begin.clone_into(&mut text),
                None if text.is_empty() => {}
                None => text = format!("{text} {}", comment.trim()),
            }
            continue;
        }
        if let (Some(last), true) = (rows.last_mut(), indent > row) {
            let separator = if last.default.is_empty() { "" } else { "; " };
            last.default = format!("{}{separator}{content}", last.default);
            continue;
        }
        let (key, default) =
            content.split_once(':').with_context(|| format!("values.yaml: no key in {content:?}"))?;
        above.retain(|(other, _)| *other < indent);
        above.push((indent, key));
        let path = above.iter().map(|(_, key)| *key).collect::<Vec<_>>().join(".");
        row = usize::MAX;
        if !text.is_empty() {
            row = indent;
            rows.push(Row { path, default: default.trim().to_owned(), text: std::mem::take(&mut text) });
        } else if !default.trim().is_empty() {
            bail!("values.yaml: {path} has no comment that begins with `# --`");
        }
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::{page, rows};

    const VALUES: &str = include_str!("../../k8s/charts/forebay/values.yaml");
    const PAGE: &str = include_str!("../../k8s/charts/forebay/README.md");

    #[test]
    fn the_charts_page_says_what_its_values_say() {
        assert!(page(PAGE, VALUES).unwrap() == PAGE, "the chart's README.md is stale: cargo xtask chart");
    }

    #[test]
    fn a_value_has_its_path_its_default_and_all_lines_of_its_comment() {
        let rows =
            rows("a:\n  # not this\n  # -- One\n  # line\n  b: 1\n  # -- Two\n  c:\n    d: 2\n    e: [3]\n")
                .unwrap();
        let said: Vec<_> = rows.iter().map(|row| [&*row.path, &row.default, &row.text]).collect();
        assert_eq!(said, [["a.b", "1", "One line"], ["a.c", "d: 2; e: [3]", "Two"]]);
    }

    #[test]
    fn a_value_that_nobody_explains_is_an_error() {
        assert!(rows("a:\n  b: 1\n").is_err());
    }
}
