//! `cargo xtask test`: the checkout enters, a verdict leaves: formatting, lints, licences, and every test there is, each with an end.

mod dependencies;
mod run;

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use humantime::format_duration;

use crate::command::{WITH_TENSORRT, cargo, command, shown, target_folder};
use crate::layout::Layout;
use crate::setup::{self, Part, Toolchain};
use crate::wasm;
use run::Total;

/// Everything but the load generator, which only benchmarks use.
const PARTS: [Part; 25] = [
    Part::Python,
    Part::Envoy,
    Part::Redis,
    Part::Memcached,
    Part::Models,
    Part::NodeTests,
    Part::Wasm,
    Part::Deny,
    Part::CudaHeaders,
    Part::Libclang,
    Part::TensorrtRtx,
    Part::TensorrtLean,
    Part::TensorrtLean10,
    Part::Buildah,
    Part::Runc,
    Part::Browser,
    Part::ImagePython,
    Part::Helm3,
    Part::Helm4,
    Part::Kustomize,
    Part::Promtool,
    Part::Prometheus,
    Part::Openbao,
    Part::KubernetesSchemas,
    Part::ScikitLearn,
];

/// Runs `cargo xtask test`.
///
/// # Errors
/// A check or a test fails.
pub(crate) fn run(layout: &Layout) -> Result<()> {
    let (since, mut total) = (Instant::now(), Total::default());
    let outcome = checks(layout).and_then(|()| tests(layout, &mut total));
    println!("\ntest: took {}", format_duration(Duration::from_secs(since.elapsed().as_secs())));
    println!("{total}");
    outcome
}

/// All that is no test.
fn checks(layout: &Layout) -> Result<()> {
    // Set-up waits for the network mostly, and the first checks need nothing of it.
    thread::scope(|scope| {
        let installing = scope.spawn(|| setup::install(layout, &PARTS));
        let checked = step(layout, "formatting", &["fmt", "--all", "--check"])
            .and_then(|()| lint_without_tensorrt(layout));
        let installed = installing.join().map_err(|_| anyhow!("set-up ended in a panic"));
        installed?.and(checked)
    })?;
    dependencies::check(layout)
}

fn tests(layout: &Layout, total: &mut Total) -> Result<()> {
    server_without_tensorrt(layout, total)?;
    step(layout, "lints", &lints(&WITH_TENSORRT))?;
    lint_for_wasm(layout)?;
    wasm::run(layout)?;
    tools_of_optimize(layout)?;
    println!("test: tests");
    run::run(tests_with(layout, &["--no-fail-fast"]), total)?;
    older_headers(layout, total)
}

/// Tests of the workspace, as cargo's words choose them, with what they need of what is installed.
pub(crate) fn tests_with(layout: &Layout, words: &[&str]) -> Command {
    let mut tests = cargo();
    tests.args(["test", "--workspace"]).args(words).args(WITH_TENSORRT).current_dir(&layout.root);
    tests.env("FOREBAY_DIR", &layout.dir).env("FOREBAY_PYTHON", layout.python());
    tests.env("FOREBAY_ONNXRUNTIME", layout.onnxruntime()).env("ORT_DYLIB_PATH", layout.onnxruntime());
    tests.envs(layout.tensorrt());
    tests
}

/// What `forebay optimize` drives, so that its tests wait for no network.
fn tools_of_optimize(layout: &Layout) -> Result<()> {
    let build = [&["build", "--workspace", "--bin", "forebay"][..], &WITH_TENSORRT].concat();
    step(layout, "the tools that make models lighter", &build)?;
    let mut setup = command(target_folder(&layout.root)?.join("debug/forebay"), ["optimize", "--setup"]);
    let folder = layout.dir.join("optimize");
    setup.env("FOREBAY_TOOLS_DIR", &folder).env("FOREBAY_WORK_DIR", &folder);
    setup.env("FOREBAY_PYTHON", layout.python());
    shown(setup)
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
fn server_without_tensorrt(layout: &Layout, total: &mut Total) -> Result<()> {
    println!("test: the server without TensorRT");
    let mut tests = cargo();
    tests.args(["test", "--workspace", "--test", "serve"]).args(WITHOUT_TENSORRT).arg("no_tensorrt");
    tests.current_dir(&layout.root).env("FOREBAY_DIR", &layout.dir);
    run::run(tests, total).context("the server without TensorRT")
}

/// The bindings over the headers of older versions, each with a double of that version: their tests that run on it, and those of
/// libraries. It comes last, for what is built next is built over the usual headers again.
fn older_headers(layout: &Layout, total: &mut Total) -> Result<()> {
    for version in ["10.16", "11.1"] {
        println!("test: the bindings over the headers of TensorRT {version}");
        let mut tests = cargo();
        tests.args(["test", "--workspace"]).args(WITH_TENSORRT).current_dir(&layout.root);
        let names = ["scenarios", "run", "graphs", "outputs", "double_errors", "library"];
        tests.args(names.iter().flat_map(|test| ["--test", test]));
        let include = layout.root.join(format!("bindings/headers/tensorrt-{version}"));
        tests.env("FOREBAY_DIR", &layout.dir).env("FOREBAY_TENSORRT_INCLUDE", include);
        tests.envs(layout.tensorrt());
        run::run(tests, total).with_context(|| format!("over the headers of TensorRT {version}"))?;
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
