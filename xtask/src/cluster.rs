//! `cargo xtask cluster`: a command enters; a real Kubernetes on this machine, a verdict on Forebay in it, or nothing of it leaves.
//!
//! Nothing is simulated and no Docker is needed: upstream's programs, built from their Go modules, in namespaces of this machine.
//! `k8s/cluster/README.md` says how it is made. Nothing of it is needed to use Forebay.

mod await_it;
mod down;
mod image;
mod instance;
mod keys;
mod kube;
mod machine;
mod network;
mod node;
mod programs;
mod registry;
mod test;
mod tools;
mod up;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Subcommand};

use crate::layout::Layout;
use crate::setup::{self, Part};

use instance::Instance;
use registry::Registry;
use tools::Tools;
use up::Parts;

/// Settings of `cargo xtask cluster`.
#[derive(Debug, Args)]
pub(crate) struct Settings {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start a cluster, in place of one of that name; it runs until `down`
    Up(Name),
    /// Show on a cluster of its own that Forebay installs, answers, is updated and is lost in part without a request that fails
    Test(test::Settings),
    /// End a cluster, whatever state it is in, and leave nothing of it but its logs
    Down(Name),
}

#[derive(Debug, Args)]
struct Name {
    /// Name of the cluster: all of it is in .forebay/cluster/<name>/
    #[arg(long, default_value = "default")]
    name: String,
}

/// Runs `cargo xtask cluster`.
///
/// # Errors
/// The machine lacks something, a part does not start or won't end, or a check fails.
pub(crate) fn run(layout: &Layout, settings: &Settings) -> Result<()> {
    match &settings.command {
        Command::Up(name) => start(layout, &name.name),
        Command::Test(settings) => test::run(layout, settings),
        Command::Down(name) => {
            machine::check_root()?;
            setup::install(layout, &[Part::Nodes])?;
            let instance = Instance::new(layout, &name.name)?;
            down::run(&instance, &Tools::new(layout))?;
            println!(
                "{} is down; its logs are in {}",
                name.name,
                Layout::shown(&instance.folder.join("logs"))
            );
            Ok(())
        }
    }
}

/// OpenTelemetry's collector, built if it isn't there, and its version. It runs without a cluster.
///
/// # Errors
/// There is no Go, or it does not build.
pub(crate) fn collector(layout: &Layout) -> Result<(PathBuf, String)> {
    Ok((programs::COLLECTOR.program(layout)?, programs::COLLECTOR.version(layout)?))
}

fn start(layout: &Layout, name: &str) -> Result<()> {
    machine::check()?;
    let instance = Instance::new(layout, name)?;
    let parts = Parts::get(layout)?;
    await_it::hear()?;
    if let Err(error) = up::run(layout, &instance, &parts) {
        await_it::forget();
        // What did not come up is of no use to anyone; its logs stay.
        return match down::run(&instance, &parts.tools) {
            Ok(()) => Err(error),
            Err(also) => Err(error.context(format!("and it could not be ended: {also:#}"))),
        };
    }
    let shown = Layout::shown(&instance.kubeconfig());
    println!("\n{name} is up: Kubernetes {}, two nodes, DNS.", programs::KUBE.version(layout)?);
    println!("  export KUBECONFIG={shown}");
    println!("  cargo xtask images --plain-http --push {}", Registry::address(&instance)?);
    println!("  cargo xtask cluster down --name {name}");
    Ok(())
}
