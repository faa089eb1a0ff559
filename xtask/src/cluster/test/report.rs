//! What was found: outcomes enter; a line each, and a report, leave.

use std::fmt::{self, Write as _};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::cluster::programs::KUBE;
use crate::command::{command, output};
use crate::layout::Layout;

pub(super) struct Line {
    claim: &'static str,
    pub(super) ok: bool,
    found: String,
    took: Duration,
}

impl Line {
    pub(super) fn new(claim: &'static str, found: &Result<String>, took: Duration) -> Self {
        let ok = found.is_ok();
        let found = found.as_ref().map_or_else(|error| format!("{error:#}"), Clone::clone);
        Self { claim, ok, found, took }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.ok { "ok    " } else { "FAILED" };
        write!(formatter, "{verdict} {:>6.1} s  {}: {}", self.took.as_secs_f64(), self.claim, self.found)
    }
}

/// Writes the report.
///
/// # Errors
/// The file can't be written.
pub(super) fn write(layout: &Layout, file: &Path, lines: &[Line], took: Duration) -> Result<()> {
    let ask = |program: &str, words: &[&str]| {
        let mut asked = command(program, words);
        asked.current_dir(&layout.root);
        output(asked).unwrap_or_default().trim().to_owned()
    };
    // Whose kernel it is says nothing of Forebay.
    let kernel = ask("uname", &["-sr"]);
    let kernel = kernel.split('-').next().unwrap_or_default();
    let mut text = format!(
        "# Forebay on a real Kubernetes\n\n\
         `cargo xtask cluster test`, Kubernetes {}, two nodes, on {kernel}, {} processors. Commit {}, {}, {:.0} s in all.\n\n\
         | | claim | found | s |\n|---|---|---|---:|\n",
        KUBE.version(layout)?,
        std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        ask("git", &["rev-parse", "--short=12", "HEAD"]),
        ask("date", &["-u", "+%Y-%m-%d"]),
        took.as_secs_f64(),
    );
    for line in lines {
        let found = line.found.replace('|', "\\|").replace('\n', "<br>");
        let verdict = if line.ok { "ok" } else { "**failed**" };
        // A string takes all that is written.
        let _ = writeln!(text, "| {verdict} | {} | {found} | {:.1} |", line.claim, line.took.as_secs_f64());
    }
    std::fs::write(file, text).with_context(|| format!("can't write {}", file.display()))
}
