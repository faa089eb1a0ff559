//! `cargo xtask triton`: Triton itself, `forebay front` before it, and the backend's tests of the two enter; tests/reports/triton.md
//! leaves.

use std::fs;

use anyhow::{Context, Result, ensure};

use crate::command::{Stamp, WITH_TENSORRT, cargo, output};
use crate::layout::Layout;
use crate::setup::{self, Part};

/// Runs `cargo xtask triton`.
///
/// # Errors
/// It can't be installed, or a test fails.
pub(crate) fn run(layout: &Layout) -> Result<()> {
    setup::install(layout, &[Part::Python, Part::Models, Part::Triton])?;
    let mut test = cargo();
    // With the same features as all others, so that nothing is built twice.
    test.args(["test", "--workspace", "--test", "serve"]).args(WITH_TENSORRT);
    // One after another: each has a server of its own.
    test.args(["--", "front::triton", "--ignored", "--nocapture", "--test-threads", "1"]);
    test.current_dir(&layout.root);
    let said = output(test)?;
    let rows: Vec<&str> = said.lines().filter(|line| line.starts_with("| ")).collect();
    ensure!(!rows.is_empty(), "no test ran: front::triton");
    let report = format!(
        "# In front of Triton\n\n\
         `cargo xtask triton`: Triton's own server, as PyTriton's wheel has it, with a model of its Python backend that multiplies by what \
         a file says, and `forebay front` before it. {}\n\n\
         | | what was seen |\n|---|---|\n{}\n",
        Stamp::of(layout)?,
        rows.join("\n"),
    );
    let file = layout.root.join("tests/reports/triton.md");
    fs::write(&file, &report).context("can't write tests/reports/triton.md")?;
    println!("{report}\ntriton: {}", Layout::shown(&file));
    Ok(())
}
