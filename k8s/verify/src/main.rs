//! `verify-k8s`: the command line enters, one line a failure leaves. Exit 0 and silence where nothing is wrong, 1 where something is,
//! 2 where the command line is.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use forebay_verify::outsiders::Outsiders;
use forebay_verify::project::Project;
use forebay_verify::skips::Skips;
use forebay_verify::{Tools, World, judge};

/// Judges Kubernetes manifests before a cluster sees them.
#[derive(Debug, Parser)]
#[command(name = "verify-k8s")]
struct Arguments {
    /// Judge this file or folder, and nothing else (may be repeated) [default: the project's chart and overlays]
    #[arg(long, value_name = "FILE|FOLDER")]
    manifests: Vec<PathBuf>,
    /// `CustomResourceDefinitions` in this file or folder are known too (may be repeated)
    #[arg(long, value_name = "FOLDER")]
    crds: Vec<PathBuf>,
    /// What the manifests refer to and don't make: a list of kind, name, namespace, keys, why (may be repeated)
    #[arg(long, value_name = "FILE")]
    outsiders: Vec<PathBuf>,
    /// What pod security forbids and the manifests must do: a list of kind, name, path, why
    #[arg(long, value_name = "FILE", requires = "manifests")]
    skips: Option<PathBuf>,
    /// Kubernetes' own schemas, one file a version
    #[arg(long, value_name = "FOLDER", env = "FOREBAY_KUBERNETES_SCHEMAS")]
    kubernetes: Option<PathBuf>,
    /// Programs that set-up installed
    #[arg(long, value_name = "FOLDER")]
    bin: Option<PathBuf>,
    /// The checkout whose chart and overlays are judged
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    root: PathBuf,
    /// Take what the chart renders now for what it is compared with
    #[arg(long, conflicts_with = "manifests")]
    write_golden: bool,
    /// The `forebay` whose flags and variables are right
    #[arg(long, value_name = "FILE")]
    forebay: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &Arguments) -> Result<usize> {
    let mut tools = arguments.bin.as_deref().map(Tools::of).unwrap_or_default();
    tools.forebay = arguments.forebay.as_deref().map(std::path::absolute).transpose()?;
    let mut world = World { tools, ..World::default() };
    for file in &arguments.outsiders {
        world.outsiders.list.extend(Outsiders::read(file)?.list);
    }
    if let Some(file) = &arguments.skips {
        world.skips = Skips::read(file)?;
    }
    if let Some(folder) = &arguments.kubernetes {
        world.schemas.read_kubernetes(folder)?;
    }
    let vendored = arguments.root.join("k8s/crds");
    for path in arguments.crds.iter().chain(Some(&vendored).filter(|folder| folder.is_dir())) {
        world.read_crds(path)?;
    }
    for path in &arguments.manifests {
        world.read(path)?;
    }
    let failures = if arguments.manifests.is_empty() {
        let renders = arguments.root.join(".forebay/verify-k8s");
        let write_golden = arguments.write_golden;
        Project { root: &arguments.root, renders, base: &world, write_golden }.judge()?
    } else {
        let mut failures = judge(&world);
        failures.extend(world.skips.stale());
        failures
    };
    for failure in &failures {
        println!("{failure}");
    }
    Ok(failures.len())
}
