//! `cargo xtask test`: the checkout enters, a verdict leaves: formatting, lints, licences, and every test there is.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::command::{cargo, on_path, shown};
use crate::layout::Layout;
use crate::setup::{self, Part, Toolchain};
use crate::{up, wasm};

/// Everything but the load generator, which only benchmarks use.
const PARTS: [Part; 11] = [
    Part::Python,
    Part::Envoy,
    Part::Redis,
    Part::Models,
    Part::NodeTests,
    Part::Wasm,
    Part::TensorrtHeaders,
    Part::Libclang,
    Part::TensorrtRtx,
    Part::TensorrtLean,
    Part::TensorrtLean10,
];

/// Sums of the `test result:` lines.
#[derive(Debug, Default, PartialEq, Eq)]
struct Total {
    passed: u64,
    failed: u64,
    ignored: u64,
}

/// Runs `cargo xtask test`.
///
/// # Errors
/// A check or a test fails.
pub(crate) fn run(layout: &Layout) -> Result<()> {
    setup::install(layout, &PARTS)?;
    step(layout, "formatting", &["fmt", "--all", "--check"])?;
    step(layout, "lints", &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])?;
    lint_for_wasm(layout)?;
    if on_path("cargo-deny").is_some() {
        step(layout, "licences and bans", &["deny", "check", "licenses", "bans", "sources"])?;
    } else {
        println!("test: licences and bans: skipped, cargo-deny is not installed");
    }
    println!("test: building the filter and the backend");
    wasm::run(layout)?;
    up::build_backend(layout)?;
    println!("test: tests");
    let mut tests = cargo();
    tests.args(["test", "--workspace", "--no-fail-fast"]).current_dir(&layout.root);
    tests.env("FOREBAY_DIR", &layout.dir).env("FOREBAY_PYTHON", layout.python());
    tests.env("FOREBAY_ONNXRUNTIME", layout.onnxruntime()).env("ORT_DYLIB_PATH", layout.onnxruntime());
    tests.env("FOREBAY_BINARY", up::backend(layout)?);
    tests.envs(layout.tensorrt());
    summed(tests)
}

fn step(layout: &Layout, what: &str, arguments: &[&str]) -> Result<()> {
    println!("test: {what}");
    let mut step = cargo();
    step.args(arguments).current_dir(&layout.root);
    shown(step).context(what.to_owned())
}

/// The filter's crates once more, for the target that they run on.
fn lint_for_wasm(layout: &Layout) -> Result<()> {
    let toolchain = Toolchain::chosen(layout)?;
    // Debian's compiler has no clippy beside it; the build that follows still shows the compiler's own warnings.
    if toolchain != Toolchain::Rustup {
        println!("test: lints for wasm32: skipped, they need the target in the active toolchain");
        return Ok(());
    }
    println!("test: lints for wasm32");
    let mut clippy = toolchain.cargo(layout, "clippy")?;
    clippy.args([
        "--package",
        "forebay-filter",
        "--package",
        "forebay-filter-core",
        "--package",
        "forebay-protocol",
    ]);
    clippy.args(["--", "-D", "warnings"]);
    shown(clippy).context("lints for wasm32")
}

/// Runs the tests, shows what they say, and ends with one line of totals.
fn summed(mut tests: Command) -> Result<()> {
    let mut child =
        tests.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("can't run cargo test")?;
    let mut total = Total::default();
    for line in BufReader::new(child.stdout.take().context("cargo test has no stdout")?).lines() {
        let line = line?;
        println!("{line}");
        total.add(&line);
    }
    let status = child.wait()?;
    println!("\ntotal: {} passed, {} failed, {} ignored", total.passed, total.failed, total.ignored);
    if !status.success() {
        bail!("tests failed");
    }
    Ok(())
}

impl Total {
    /// Adds a line as in "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; ...".
    fn add(&mut self, line: &str) {
        let Some(results) = line.strip_prefix("test result:") else { return };
        let words: Vec<&str> = results.split_whitespace().collect();
        for pair in words.windows(2) {
            let [count, what] = pair else { continue };
            let Ok(count) = count.parse::<u64>() else { continue };
            match what.trim_end_matches(';') {
                "passed" => self.passed += count,
                "failed" => self.failed += count,
                "ignored" => self.ignored += count,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Total;

    #[test]
    fn result_lines_are_summed_and_others_are_not() {
        let mut total = Total::default();
        total.add("running 3 passed tests");
        total.add(
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.10s",
        );
        total.add("test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.10s");
        assert_eq!(total, Total { passed: 4, failed: 2, ignored: 1 });
    }
}
