//! `cargo xtask fuzz`: each target of `tests/fuzz` under libFuzzer, one after the other. Names and a time enter, a line for each
//! leaves: how often it ran, and where the input is that broke it. What covers something new is kept in `.forebay/fuzz/`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use crate::command::{cargo, command, output, shown};
use crate::layout::Layout;
use crate::setup::{self, Part};

/// What libFuzzer needs the compiler to count, as `cargo fuzz` asks for it: all of it stable flags.
const COVERAGE: [&str; 7] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Cdebug-assertions",
    "-Ccodegen-units=1",
];

/// Inputs longer than this find nothing that shorter ones don't, and slow everything down.
const MAX_INPUT_BYTES: u32 = 4096;

/// Settings of `cargo xtask fuzz`.
#[derive(Debug, Args)]
pub(crate) struct Settings {
    /// Targets to run, folders of tests/fuzz/corpus; all of them without one
    targets: Vec<String>,
    /// Time of each target, as 90s or 10m
    #[arg(long, default_value = "10m")]
    time: humantime::Duration,
}

/// Runs `cargo xtask fuzz`.
///
/// # Errors
/// A target doesn't build or doesn't exist, or there was a finding.
pub(crate) fn run(layout: &Layout, settings: &Settings) -> Result<()> {
    let known = targets(layout)?;
    for name in &settings.targets {
        ensure!(known.contains(name), "there is no target {name:?}; there are {}", known.join(", "));
    }
    // Fuzz targets link the backend, and that the bindings.
    setup::install(layout, &[Part::CudaHeaders, Part::Libclang])?;
    let folder = layout.dir.join("fuzz");
    let program = build(layout, &folder)?;
    let chosen = if settings.targets.is_empty() { &known } else { &settings.targets };
    let mut findings = 0;
    for name in chosen {
        let outcome = fuzz(layout, &folder, &program, name, *settings.time)?;
        let found = match &outcome.finding {
            None => "no finding".to_owned(),
            Some(input) => format!("FINDING: {}", Layout::shown(input)),
        };
        println!("fuzz: {name}: {} executions in {}, {found}", outcome.executions, settings.time);
        findings += usize::from(outcome.finding.is_some());
    }
    if findings > 0 {
        bail!("{findings} targets have a finding; mend it and put its input into tests/fuzz/corpus/");
    }
    Ok(())
}

fn targets(layout: &Layout) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(layout.root.join("tests/fuzz/corpus"))? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort_unstable();
    Ok(names)
}

/// The fuzzer, in a target folder of its own: everything in it is built to be counted.
fn build(layout: &Layout, folder: &Path) -> Result<PathBuf> {
    let version = output(command("rustc", ["-vV"]))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc has no host")?;
    let target = folder.join("target");
    let mut build = cargo();
    build.args(["build", "--release", "--package", "fuzz", "--features", "libfuzzer,forebay/tensorrt"]);
    // With a target named, the flags don't reach build scripts and macros.
    build.args(["--target", host, "--target-dir"]).arg(&target).current_dir(&layout.root);
    build.env("RUSTFLAGS", COVERAGE.join(" ")).env("CARGO_PROFILE_RELEASE_LTO", "off");
    println!("fuzz: building");
    shown(build)?;
    Ok(target.join(host).join("release/fuzz"))
}

struct Outcome {
    executions: u64,
    /// The input that broke it.
    finding: Option<PathBuf>,
}

fn fuzz(layout: &Layout, folder: &Path, program: &Path, name: &str, time: Duration) -> Result<Outcome> {
    let (corpus, findings) = (folder.join("corpus").join(name), folder.join("findings").join(name));
    std::fs::create_dir_all(&corpus)?;
    // Findings of before would be taken for this run's.
    let _ = std::fs::remove_dir_all(&findings);
    std::fs::create_dir_all(&findings)?;
    let mut run = Command::new(program);
    run.arg(&corpus).arg(layout.root.join("tests/fuzz/corpus").join(name));
    run.arg(format!("-max_total_time={}", time.as_secs())).arg(format!("-max_len={MAX_INPUT_BYTES}"));
    run.arg(format!("-artifact_prefix={}/", findings.display()));
    run.args(["-print_final_stats=1", "-timeout=10", "-rss_limit_mb=2048"]);
    run.env("FOREBAY_FUZZ_TARGET", name).stdin(Stdio::null());
    let ended = run.output().with_context(|| format!("can't run {}", program.display()))?;
    let said = String::from_utf8_lossy(&ended.stderr);
    let finding = std::fs::read_dir(&findings)?.next().transpose()?.map(|entry| entry.path());
    if finding.is_some() || !ended.status.success() {
        eprintln!("{}", crate::command::last_lines(&said));
    }
    ensure!(finding.is_some() || ended.status.success(), "{name} ended with {}", ended.status);
    let executions = said.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
    Ok(Outcome { executions: executions.and_then(|count| count.trim().parse().ok()).unwrap_or(0), finding })
}
