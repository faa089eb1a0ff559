//! The rows of all models -> tests/reports/optimize-<date>.md, and what stands under `## Measured` in backend/OPTIMIZE.md. The rest of that
//! page is by hand.

use std::fmt::Write as _;
use std::fs;

use anyhow::{Context as _, Result};

use super::row::{Outcome, Row};
use crate::command::Stamp;
use crate::layout::Layout;

/// What follows it in the page is made here.
const HEADING: &str = "## Measured\n";
const PAGE: &str = "backend/OPTIMIZE.md";

/// Writes the report and the page.
pub(super) fn write(layout: &Layout, rows: &[Row], table: &str) -> Result<()> {
    let stamp = Stamp::of(layout)?;
    let head = format!("{}\n{stamp}\n\n", of_machine(rows));
    let mut asked = String::from("\n| model | items | BLAKE3 of what it is asked |\n|---|---|---|\n");
    for row in rows {
        if let Outcome::Reported(report) = &row.outcome {
            let _ = writeln!(asked, "| {} | {} | `{}` |", row.model, report.data.items, report.data.blake3);
        }
    }
    let report = format!("# Models made lighter\n\n`cargo xtask optimize-table`. {head}{table}{asked}");
    let file = layout.root.join(format!("tests/reports/optimize-{}.md", stamp.date));
    fs::write(&file, report).with_context(|| format!("can't write {}", file.display()))?;
    let page = layout.root.join(PAGE);
    let old = fs::read_to_string(&page).with_context(|| format!("can't read {PAGE}"))?;
    fs::write(&page, measured(&old, &format!("{head}{table}"))?)
        .with_context(|| format!("can't write {PAGE}"))?;
    println!("{}\n{}", Layout::shown(&file), Layout::shown(&page));
    Ok(())
}

/// What the figures were measured on.
fn of_machine(rows: &[Row]) -> String {
    let cpu = rows.iter().find_map(|row| match &row.outcome {
        Outcome::Reported(report) => Some(&report.cpu),
        Outcome::Failed(_) => None,
    });
    let flags = cpu.map(|flags| flags.join(", ")).unwrap_or_default();
    let products = match cpu {
        Some(flags) if flags.iter().any(|flag| flag.ends_with("vnni")) => {
            "with VNNI: what is to be reached was set for such"
        }
        _ => "without VNNI: INT8 is slower here than on what the last column is for",
    };
    format!("One thread of a processor {products} ({flags}).")
}

/// The page with the table in place of the old one.
pub(super) fn measured(old: &str, table: &str) -> Result<String> {
    let (head, _) = old.split_once(HEADING).with_context(|| format!("{PAGE} has no line `## Measured`"))?;
    Ok(format!(
        "{head}{HEADING}\n`cargo xtask optimize-table` makes ten real models lighter, each as a user would. {table}"
    ))
}
