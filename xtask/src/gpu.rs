//! `cargo xtask gpu`: what is claimed of GPUs is proven on one. A checkout enters; a kit that travels to a machine with a GPU that
//! reaches no registry leaves (`pack`, of which `prepare` makes the lighter models); there, a kit enters and a report leaves (`run`).
//!
//! Each part of a run is a file in the kit's `results/`, so that parts may be run by calls of their own; every call writes the
//! report of all that is there. What was not run is in it, with the reason.

mod arrays;
mod bench;
mod busy;
mod correctness;
mod cuda;
mod fault;
mod kit;
mod lighter;
mod load;
mod loss;
mod manifest;
mod models;
mod onnx;
mod pack;
mod prepare;
mod probe;
mod report;
mod server;
mod task;
mod tensors;
mod tolerance;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result};
use bytesize::ByteSize;
use clap::{Args, Subcommand, ValueEnum};

use crate::layout::Layout;
use kit::{Engine, Kit};
use report::{Outcome, Row, Section};

/// Settings of `cargo xtask gpu`.
#[derive(Debug, Args)]
pub(crate) struct Settings {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build what travels, and pack it
    Pack(PackSettings),
    /// Make models for TensorRT as INT8, FP16 and BF16, with items and what the originals answer, here where the tools can be had
    Prepare(PrepareSettings),
    /// Where a kit was unpacked: probe, prove and measure, and write the report
    Run(RunSettings),
}

/// Settings of `cargo xtask gpu pack`.
#[derive(Debug, Args)]
struct PackSettings {
    /// Where it goes [default: .forebay/gpu of the checkout]
    #[arg(long)]
    into: Option<PathBuf>,
    /// The largest file that can be carried, as 56MB [default: all in one]
    #[arg(long)]
    piece_size: Option<ByteSize>,
}

/// Settings of `cargo xtask gpu prepare`.
#[derive(Debug, Args)]
struct PrepareSettings {
    /// Where they go, a folder for each [default: lighter/ of .forebay/gpu/kit of the checkout]
    #[arg(long)]
    into: Option<PathBuf>,
    /// These alone
    #[arg(long, value_delimiter = ',', default_values = prepare::MODELS)]
    only: Vec<String>,
    /// The program that does it [default: built here]
    #[arg(long)]
    forebay: Option<PathBuf>,
}

/// Settings of `cargo xtask gpu run`.
#[derive(Debug, Args)]
struct RunSettings {
    /// The unpacked kit [default: .forebay/gpu/kit of the checkout]
    #[arg(long)]
    kit: Option<PathBuf>,
    /// Parts to run; the results of others are kept
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Part::ALL)]
    only: Vec<Part>,
    /// The engine to use, by its name in the probe's results [default: the first that runs a plan]
    #[arg(long)]
    engine: Option<String>,
    /// Time of each measurement, as 2s or 500ms
    #[arg(long, default_value = "2s")]
    measure: humantime::Duration,
    /// Measurements of each side of a row, in turn; the median counts
    #[arg(long, default_value_t = 3)]
    repeat: u32,
    /// ONNX's node tests to run at most [default: all]
    #[arg(long)]
    node_tests: Option<usize>,
    /// After this time, as 8m, what is left is not run [default: none is left out]
    #[arg(long)]
    within: Option<humantime::Duration>,
}

/// A part of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// What is installed; which engine can be built and run
    Probe,
    /// Copies, order, graphs, lanes, and what a fault does
    Cuda,
    /// Every test model against ONNX Runtime
    Correctness,
    /// The server against a bare loop
    Bench,
    /// Models as INT8, FP16 and BF16 against the original: what they lose, how fast they are
    Lighter,
}

impl Part {
    const ALL: [Self; 5] = [Self::Probe, Self::Cuda, Self::Correctness, Self::Bench, Self::Lighter];

    fn name(self) -> &'static str {
        match self {
            Self::Probe => "probe",
            Self::Cuda => "cuda",
            Self::Correctness => "correctness",
            Self::Bench => "bench",
            Self::Lighter => "lighter",
        }
    }
}

/// What the parts of a run share.
struct Run<'a> {
    kit: &'a Kit,
    settings: &'a RunSettings,
    deadline: Option<Instant>,
}

impl Run<'_> {
    /// Is there no time left?
    fn is_over(&self) -> bool {
        self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }
}

/// Runs `cargo xtask gpu`.
///
/// # Errors
/// Something can't be built, or files can't be read or written. What fails on a GPU is no error: it is in the report.
pub(crate) fn run(layout: &Layout, settings: &Settings) -> Result<()> {
    match &settings.command {
        Command::Pack(settings) => pack::run(layout, settings),
        Command::Prepare(settings) => prepare::run(layout, settings),
        Command::Run(settings) => {
            let kit = Kit::open(settings.kit.clone().unwrap_or_else(|| pack::unpacked(layout)))?;
            prove(&kit, settings)
        }
    }
}

fn prove(kit: &Kit, settings: &RunSettings) -> Result<()> {
    let deadline = settings.within.map(|within| Instant::now() + *within);
    let run = Run { kit, settings, deadline };
    for part in Part::ALL.into_iter().filter(|part| settings.only.contains(part)) {
        println!("gpu: {}", part.name());
        let done = match part {
            Part::Probe => probe::sections(&run),
            Part::Cuda => with_engine(&run, part, |engine| Ok(cuda::sections(&run, engine))),
            Part::Correctness => with_engine(&run, part, |engine| correctness::sections(&run, engine)),
            Part::Bench => with_engine(&run, part, |engine| bench::sections(&run, engine)),
            Part::Lighter => with_engine(&run, part, |engine| Ok(lighter::sections(&run, engine))),
        };
        // What can't go on is a failure in the report, beside what the other parts found.
        let failed = |error| vec![Section::of(judged(part.name(), false, format!("{error:#}")))];
        let sections = done.unwrap_or_else(failed);
        for row in sections.iter().flat_map(|section| &section.rows) {
            println!("    {}: {} {}", row.what, row.outcome, row.value);
        }
        report::keep(kit, part.name(), &sections)?;
    }
    let written = report::write(kit, &Part::ALL.map(Part::name))?;
    println!("gpu: the report is in {}", Layout::shown(&written));
    Ok(())
}

/// Does a part with the engine that the probe found; without one it is not run.
fn with_engine(
    run: &Run,
    part: Part,
    work: impl FnOnce(&Engine) -> Result<Vec<Section>>,
) -> Result<Vec<Section>> {
    match engine(run)? {
        Ok(engine) => work(&engine),
        Err(reason) => Ok(vec![Section::of(not_run(part.name(), reason))]),
    }
}

/// The engine that the later parts use, or why there is none.
fn engine(run: &Run) -> Result<Result<Engine, String>> {
    let found = probe::found(run.kit).context("no probe's results are there: run the part `probe` first")?;
    let engines = found.engines;
    Ok(match &run.settings.engine {
        Some(name) => engines
            .into_iter()
            .find(|engine| engine.name == *name)
            .ok_or_else(|| format!("no engine {name:?} runs here")),
        None => engines.into_iter().next().ok_or(found.reason),
    })
}

/// A row that was measured.
fn measured(what: impl Into<String>, value: impl Into<String>) -> Row {
    Row { what: what.into(), outcome: Outcome::Measured, value: value.into(), ..Row::default() }
}

/// A row of something that passed or failed.
fn judged(what: impl Into<String>, passed: bool, value: impl Into<String>) -> Row {
    let outcome = if passed { Outcome::Passed } else { Outcome::Failed };
    Row { what: what.into(), outcome, value: value.into(), ..Row::default() }
}

/// A row of something that was not run.
fn not_run(what: impl Into<String>, reason: impl Into<String>) -> Row {
    Row { what: what.into(), outcome: Outcome::NotRun, value: reason.into(), ..Row::default() }
}
