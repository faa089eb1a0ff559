//! `cargo xtask traces`: OpenTelemetry's collector, built from its modules once, and the backend's test of what it writes of `serve`'s
//! spans, enter; tests/reports/traces.md leaves.

use std::fs;

use anyhow::{Context, Result, ensure};

use crate::cluster;
use crate::command::{Stamp, WITH_TENSORRT, cargo, output};
use crate::layout::Layout;
use crate::setup::{self, Part};

/// Runs `cargo xtask traces`.
///
/// # Errors
/// There is no Go, the collector does not build, or it did not take what it should.
pub(crate) fn run(layout: &Layout) -> Result<()> {
    let (collector, version) = cluster::collector(layout)?;
    setup::install(layout, &[Part::Python, Part::Models])?;
    let mut test = cargo();
    // With the same features as all others, so that nothing is built twice.
    test.args(["test", "--workspace", "--test", "serve"]).args(WITH_TENSORRT);
    test.args(["--", "traces::collector", "--ignored", "--nocapture"]);
    test.env("FOREBAY_COLLECTOR", collector).current_dir(&layout.root);
    let said = output(test)?;
    let rows: Vec<&str> = said.lines().filter(|line| line.starts_with("| ")).collect();
    ensure!(!rows.is_empty(), "no test ran: traces::collector");
    let report = format!(
        "# Spans in OpenTelemetry's collector\n\n\
         `cargo xtask traces`: `serve` and a collector {version} (OTLP over HTTP in, its `debug` exporter out). {}\n\n\
         | | what it wrote |\n|---|---|\n{}\n",
        Stamp::of(layout)?,
        rows.join("\n"),
    );
    let file = layout.root.join("tests/reports/traces.md");
    fs::write(&file, &report).context("can't write tests/reports/traces.md")?;
    println!("{report}\ntraces: {}", Layout::shown(&file));
    Ok(())
}
