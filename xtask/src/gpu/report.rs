//! Rows enter, part by part; one report leaves, as Markdown and as JSON.

use std::fmt;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::kit::Kit;
use super::{manifest, probe};
use crate::command::{command, output};

/// A table of the report.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Section {
    pub(super) title: String,
    /// What it was run with.
    pub(super) engine: String,
    /// How to read it: what was done, by which measure.
    pub(super) about: String,
    pub(super) rows: Vec<Row>,
}

/// One outcome.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Row {
    pub(super) what: String,
    pub(super) outcome: Outcome,
    /// What was found or measured, or why it was not run.
    pub(super) value: String,
    /// What it is measured against, in the same run.
    pub(super) base: String,
    /// Value by base, and whether a target is met.
    pub(super) ratio: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Outcome {
    Passed,
    Failed,
    Measured,
    #[default]
    NotRun,
}

impl fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Passed => "passed",
            Self::Failed => "FAILED",
            Self::Measured => "measured",
            Self::NotRun => "not run",
        })
    }
}

impl Section {
    /// Of a part as a whole.
    pub(super) fn of(row: Row) -> Self {
        Self { title: row.what.clone(), engine: "none".to_owned(), about: String::new(), rows: vec![row] }
    }
}

/// Keeps a part's results in the kit, in place of those of before.
///
/// # Errors
/// The file can't be written.
pub(super) fn keep(kit: &Kit, part: &str, sections: &[Section]) -> Result<()> {
    let file = kit.path(format!("results/{part}.json"));
    std::fs::write(&file, serde_json::to_vec_pretty(sections)?)
        .with_context(|| format!("can't write {}", file.display()))
}

/// Writes the report of all parts; those without results were not run. Returns where it is.
///
/// # Errors
/// Results can't be read, or the report can't be written.
pub(super) fn write(kit: &Kit, parts: &[&str]) -> Result<PathBuf> {
    let mut sections = Vec::new();
    for part in parts {
        match std::fs::read(kit.path(format!("results/{part}.json"))) {
            Ok(bytes) => sections.extend(serde_json::from_slice::<Vec<Section>>(&bytes)?),
            Err(_) => sections.push(Section::of(super::not_run(*part, "it was not asked for"))),
        }
    }
    let date = output(command("date", ["-u", "+%F"]))?.trim().to_owned();
    let gpu = probe::found(kit).ok().map_or_else(|| "none".to_owned(), |found| found.gpu);
    let name = format!("gpu-{date}-{}", slug(&gpu));
    let report = Report { date, gpu, double: kit.is_double(), built: manifest::read(kit), sections };
    let markdown = kit.path(format!("results/{name}.md"));
    std::fs::write(&markdown, report.to_string())?;
    std::fs::write(kit.path(format!("results/{name}.json")), serde_json::to_vec_pretty(&report)?)?;
    Ok(markdown)
}

#[derive(Serialize)]
struct Report {
    date: String,
    gpu: String,
    /// Is it of the test double?
    double: bool,
    /// The commit and the compiler of the kit.
    built: String,
    sections: Vec<Section>,
}

impl fmt::Display for Report {
    fn fmt(&self, text: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { date, gpu, double, built, sections } = self;
        writeln!(text, "# On a GPU: {gpu}, {date}\n\nMade by `cargo xtask gpu run`; {built}.")?;
        if *double {
            writeln!(
                text,
                "\n**Of the test double, not of a GPU**: it shows that the command works, and nothing else."
            )?;
        }
        sections.iter().try_for_each(|section| write!(text, "\n{section}"))
    }
}

impl fmt::Display for Section {
    fn fmt(&self, text: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { title, engine, about, rows } = self;
        let said = format!("With: {engine}. {about}");
        writeln!(text, "## {title}\n\n{}\n", said.trim_end())?;
        text.write_str("| what | outcome | value | base | ratio |\n|---|---|---|---|---|\n")?;
        rows.iter().try_for_each(|row| {
            let outcome = row.outcome.to_string();
            let cells = [&row.what, &outcome, &row.value, &row.base, &row.ratio].map(|cell| cell_of(cell));
            writeln!(text, "| {} |", cells.join(" | "))
        })
    }
}

/// A table's cell: one line, without what ends it.
fn cell_of(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

/// A name as a file's: "NVIDIA L4" is nvidia-l4.
fn slug(name: &str) -> String {
    let words =
        name.split(|character: char| !character.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("-").to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_survives_what_libraries_say() {
        assert_eq!(cell_of("a|b\n  c"), "a\\|b c");
        assert_eq!(slug("NVIDIA H100 80GB (HBM3)"), "nvidia-h100-80gb-hbm3");
    }

    #[test]
    fn a_report_of_the_double_says_so() {
        let (date, gpu, built) = ("1970-01-01".to_owned(), "x".to_owned(), String::new());
        let mut report = Report { date, gpu, double: true, built, sections: Vec::new() };
        assert!(report.to_string().contains("not of a GPU"));
        report.double = false;
        assert!(!report.to_string().contains("not of a GPU"));
    }
}
