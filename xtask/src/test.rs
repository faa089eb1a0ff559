//! `cargo xtask test`: the checkout enters, a verdict leaves: formatting, lints, licences, and every test there is.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context, Result, anyhow, bail};

use crate::command::{WITH_TENSORRT, cargo, on_path, shown};
use crate::layout::Layout;
use crate::setup::{self, Part, Toolchain};
use crate::wasm;

/// Everything but the load generator, which only benchmarks use.
const PARTS: [Part; 13] = [
    Part::Python,
    Part::Envoy,
    Part::Redis,
    Part::Models,
    Part::NodeTests,
    Part::Wasm,
    Part::TensorrtHeaders,
    Part::TensorrtHeadersOlder,
    Part::CudaHeaders,
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
    // Set-up waits for the network mostly, and the first checks need nothing of it.
    thread::scope(|scope| {
        let installing = scope.spawn(|| setup::install(layout, &PARTS));
        let checked = step(layout, "formatting", &["fmt", "--all", "--check"])
            .and_then(|()| lint_without_tensorrt(layout));
        let installed = installing.join().map_err(|_| anyhow!("set-up ended in a panic"));
        installed?.and(checked)
    })?;
    server_without_tensorrt(layout)?;
    step(layout, "lints", &lints(&WITH_TENSORRT))?;
    lint_for_wasm(layout)?;
    if on_path("cargo-deny").is_some() {
        step(layout, "licences and bans", &["deny", "check", "licenses", "bans", "sources"])?;
    } else {
        println!("test: licences and bans: skipped, cargo-deny is not installed");
    }
    println!("test: building the filter");
    wasm::run(layout)?;
    println!("test: tests");
    let mut tests = cargo();
    tests.args(["test", "--workspace", "--no-fail-fast"]).args(WITH_TENSORRT).current_dir(&layout.root);
    tests.env("FOREBAY_DIR", &layout.dir).env("FOREBAY_PYTHON", layout.python());
    tests.env("FOREBAY_ONNXRUNTIME", layout.onnxruntime()).env("ORT_DYLIB_PATH", layout.onnxruntime());
    tests.envs(layout.tensorrt());
    summed(tests)?;
    older_headers(layout)
}

/// The features of a plain build, which has no TensorRT, but with the dependencies of one that has it: others would be compiled anew,
/// every one.
const WITHOUT_TENSORRT: [&str; 2] = ["--features", "forebay-bindings/tensorrt-dependencies"];

/// That a plain build needs nothing of NVIDIA's, and its lints.
fn lint_without_tensorrt(layout: &Layout) -> Result<()> {
    step(layout, "the bindings without TensorRT", &["check", "--package", "forebay-bindings"])?;
    step(layout, "lints without TensorRT", &lints(&WITHOUT_TENSORRT))
}

/// What the server of a plain build says. From then on all is built with TensorRT.
fn server_without_tensorrt(layout: &Layout) -> Result<()> {
    println!("test: the server without TensorRT");
    let mut tests = cargo();
    tests.args(["test", "--workspace", "--test", "serve"]).args(WITHOUT_TENSORRT).arg("no_tensorrt");
    tests.current_dir(&layout.root).env("FOREBAY_DIR", &layout.dir);
    shown(tests).context("the server without TensorRT")
}

/// The bindings over the headers of older versions, each with a double of that version: their tests that run on it, and those of
/// libraries. It comes last, for what is built next is built over the usual headers again.
fn older_headers(layout: &Layout) -> Result<()> {
    for version in ["10.16", "11.1"] {
        println!("test: the bindings over the headers of TensorRT {version}");
        let mut tests = cargo();
        tests.args(["test", "--workspace"]).args(WITH_TENSORRT).current_dir(&layout.root);
        tests.args(["scenarios", "run", "double_errors", "library"].iter().flat_map(|test| ["--test", test]));
        let include = layout.dir.join(format!("tensorrt-{version}/include"));
        tests.env("FOREBAY_DIR", &layout.dir).env("FOREBAY_TENSORRT_INCLUDE", include);
        tests.envs(layout.tensorrt());
        shown(tests).with_context(|| format!("over the headers of TensorRT {version}"))?;
    }
    Ok(())
}

fn lints<'a>(features: &[&'a str]) -> Vec<&'a str> {
    [&["clippy", "--workspace", "--all-targets"][..], features, &["--", "-D", "warnings"]].concat()
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
