//! `cargo xtask`: the commands of this repository, one file each. A command line enters; a set-up checkout, a running Forebay
//! or a test verdict leaves. Everything that is installed goes into `.forebay/` (see [`layout`]).

mod bench;
mod chaos;
mod chart;
mod cluster;
mod command;
mod deployment;
mod diff_k8s;
mod forge;
mod fuzz;
mod gpu;
mod http;
mod images;
mod layout;
mod memcheck;
mod once;
mod optimize_table;
#[cfg(test)]
mod pages;
mod release;
mod setup;
mod test;
mod traces;
mod triton;
mod up;
mod verify_k8s;
mod wasm;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::layout::Layout;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The commands of the Forebay repository")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install what the other commands need into .forebay/ (they do it themselves); nothing is done twice
    Setup(setup::Settings),
    /// Build the Envoy filter into .forebay/wasm/
    Wasm,
    /// Run Envoy with the filter, the backend, the gate and Redis or Memcached until Ctrl-C
    Up(Box<up::Settings>),
    /// Formatting, lints, and every test there is
    Test,
    /// Container images: server, gate, Envoy with the filter, and the filter alone
    Images(images::Settings),
    /// What a hit, a miss and the backend cost, each beside its base from the same run
    Bench(bench::Settings),
    /// Feed every parser of bytes from outside what nobody thought of, ten minutes each
    Fuzz(fuzz::Settings),
    /// Write the table of values in the chart's README anew, from the comments in its values.yaml
    Chart,
    /// What is claimed of GPUs, on one: pack what travels, run it there
    Gpu(gpu::Settings),
    /// A real Kubernetes on this machine, for tests: two nodes, without Docker
    Cluster(cluster::Settings),
    /// Spans of `serve` in OpenTelemetry's own collector, which is built for it once; writes tests/reports/traces.md
    Traces,
    /// `forebay front` before Triton itself, which is installed for it; writes tests/reports/triton.md
    Triton,
    /// Real models made lighter by `forebay optimize`, minutes each; writes tests/reports/optimize-<date>.md and backend/OPTIMIZE.md
    OptimizeTable(optimize_table::Settings),
    /// The bindings on their test double, under AddressSanitizer and valgrind
    Memcheck,
    /// A mesh under load of which one part after the other fails; writes tests/reports/chaos.md
    Chaos,
    /// What would change on a cluster if this were deployed: objects, restarts, models' results
    DiffK8s(Box<diff_k8s::Settings>),
    /// Bring an environment to a cluster, and back if it does not work; whatever state the last call left
    Release(Box<release::Settings>),
    /// What is wrong in Kubernetes manifests: the project's own, or those that are named
    VerifyK8s(verify_k8s::Settings),
}

/// A flag or variable that can't be used, found later than clap finds it; ends with the same exit code.
#[derive(Debug)]
struct WrongSetting(String);

impl std::fmt::Display for WrongSetting {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for WrongSetting {}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match Layout::find().and_then(|layout| run(&layout, arguments.command)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            if error.is::<WrongSetting>() { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}

fn run(layout: &Layout, command: Command) -> anyhow::Result<ExitCode> {
    match command {
        // Its exit code says more than whether it went well.
        Command::VerifyK8s(settings) => return verify_k8s::run(layout, &settings),
        Command::Release(settings) => return release::run(layout, &settings),
        Command::DiffK8s(settings) => diff_k8s::run(layout, &settings)?,
        Command::Setup(settings) => setup::run(layout, &settings)?,
        Command::Wasm => wasm::run(layout)?,
        Command::Up(settings) => up::run(layout, &settings)?,
        Command::Test => test::run(layout)?,
        Command::Images(settings) => images::run(layout, &settings)?,
        Command::Bench(settings) => bench::run(layout, &settings)?,
        Command::Fuzz(settings) => fuzz::run(layout, &settings)?,
        Command::Chart => chart::run(layout)?,
        Command::Gpu(settings) => gpu::run(layout, &settings)?,
        Command::Cluster(settings) => cluster::run(layout, &settings)?,
        Command::Traces => traces::run(layout)?,
        Command::Triton => triton::run(layout)?,
        Command::OptimizeTable(settings) => optimize_table::run(layout, &settings)?,
        Command::Memcheck => memcheck::run(layout)?,
        Command::Chaos => chaos::run(layout)?,
    }
    Ok(ExitCode::SUCCESS)
}
