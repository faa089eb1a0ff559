//! `cargo xtask images`: the checkout enters; images of server, gate, Envoy with the filter, the filter alone, and what makes models
//! lighter leave, each as an archive with its SBOM beside it, in the builder's storage, and in a registry if one is named.

mod archive;
mod builder;
mod containerfile;
mod contents;
mod libraries;
mod machine;
mod make;
mod papers;
mod parts;
mod programs;
mod stage;
mod tools;
mod twice;

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, ValueEnum};

use crate::WrongSetting;
use crate::command::{command, output};
use crate::layout::Layout;
use crate::setup;
use builder::{Builder, Kind};
use contents::Image;
use machine::Machine;
use make::Run;

/// Settings of `cargo xtask images`.
#[derive(Debug, Args)]
pub(crate) struct Settings {
    /// Images to make [default: all]
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Image>,
    /// Machines to make them for [default: this kind, and the other where it can be built for]
    #[arg(long, value_enum, value_delimiter = ',')]
    arch: Vec<Machine>,
    /// What builds them [default: the first of these that works; else set-up brings buildah]
    #[arg(long, value_enum)]
    builder: Option<Kind>,
    /// A `forebay` for this kind of machine that is built already [default: it is built here, reproducibly]
    #[arg(long, value_name = "PROGRAM")]
    forebay: Option<PathBuf>,
    /// A filter that is built already [default: it is built here, reproducibly]
    #[arg(long, value_name = "WASM")]
    filter: Option<PathBuf>,
    /// NVIDIA's TensorRT image, by digest: NAME:TAG@sha256:DIGEST. Without it serve-gpu is checked and not built
    #[arg(long, value_name = "IMAGE")]
    tensorrt_base: Option<String>,
    /// The images' tag
    #[arg(long, default_value = env!("CARGO_PKG_VERSION"))]
    tag: String,
    /// Where the source of these images can be read, for their label `org.opencontainers.image.source`
    #[arg(long, value_name = "URL")]
    source: Option<String>,
    /// Folder of archives, of SBOMs, of cargo's outputs and of the builder's storage [default: .forebay/images]
    #[arg(long, value_name = "FOLDER")]
    output: Option<PathBuf>,
    /// Push them there too: HOST, HOST:PORT or HOST/PATH
    #[arg(long, value_name = "REGISTRY")]
    push: Option<String>,
    /// Make them once more from a clone in this folder, which is kept, compare, and write tests/reports/images.md
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["forebay", "filter", "arch", "push"])]
    check_reproducible: Option<PathBuf>,
    /// The registry speaks HTTP without TLS
    #[arg(long, requires = "push")]
    plain_http: bool,
}

/// What is built.
struct Commit {
    /// Empty outside of a repository.
    revision: String,
    /// Seconds since 1970 that all in the images gets.
    epoch: u64,
}

/// Runs `cargo xtask images`.
///
/// # Errors
/// Something can't be built, an image is not as it should be, or a registry refuses one.
pub(crate) fn run(layout: &Layout, settings: &Settings) -> Result<()> {
    check(settings)?;
    let folder =
        settings.output.clone().map_or_else(|| Ok(layout.dir.join("images")), std::path::absolute)?;
    fs::create_dir_all(&folder).with_context(|| format!("can't create {}", folder.display()))?;
    let lock = File::create(folder.join(".lock"))?;
    if lock.try_lock().is_err() {
        println!("images: another one works in {}; waiting for its end", Layout::shown(&folder));
        lock.lock()?;
    }
    setup::install(layout, &parts(settings))?;
    let builder = Builder::choose(layout, settings.builder, folder.join("storage"))?;
    let run = Run { layout, settings, folder, builder, commit: Commit::of(layout) };
    println!("images: built by {}, in {}", run.builder.version()?, Layout::shown(&run.folder));
    let mut made = Vec::new();
    for machine in machines(settings)? {
        made.extend(run.all_for(machine)?);
    }
    run.builder.tidy();
    match &settings.check_reproducible {
        Some(elsewhere) => twice::check(&run, &made, elsewhere),
        None => Ok(()),
    }
}

/// Makes those of server, gate and Envoy that run on this kind of machine. Returns the folder of their archives, and the program in them.
///
/// # Errors
/// As [`run`].
pub(crate) fn for_this_machine(layout: &Layout) -> Result<(PathBuf, PathBuf)> {
    these(layout, vec![Image::Serve, Image::Gate, Image::Front])
}

/// The image that makes models lighter, for this kind of machine; the folder of its archive.
///
/// # Errors
/// It can't be made.
pub(crate) fn optimize(layout: &Layout) -> Result<PathBuf> {
    these(layout, vec![Image::Optimize]).map(|(folder, _)| folder)
}

/// The filter's image; the folder of its archive.
///
/// # Errors
/// It can't be made.
pub(crate) fn filter(layout: &Layout) -> Result<PathBuf> {
    these(layout, vec![Image::Filter]).map(|(folder, _)| folder)
}

/// Sends an archive's image to a registry.
///
/// # Errors
/// It is none, or the registry refuses.
pub(crate) fn send(layout: &Layout, archive: &Path, to: &str, plain_http: bool) -> Result<()> {
    let builder = Builder::choose(layout, Some(Kind::Buildah), layout.dir.join("images/storage"))?;
    builder.send(archive, to, plain_http)
}

fn these(layout: &Layout, only: Vec<Image>) -> Result<(PathBuf, PathBuf)> {
    let machine = Machine::here().context("images are made for amd64 and arm64")?;
    let settings = Settings {
        only,
        arch: vec![machine],
        builder: None,
        forebay: None,
        filter: None,
        tensorrt_base: None,
        tag: env!("CARGO_PKG_VERSION").to_owned(),
        source: None,
        output: None,
        push: None,
        check_reproducible: None,
        plain_http: false,
    };
    run(layout, &settings)?;
    let folder = layout.dir.join("images");
    let program = folder.join("target").join(machine.target()).join("release/forebay");
    Ok((folder, program))
}

fn check(settings: &Settings) -> Result<()> {
    if let Some(base) = settings.tensorrt_base.as_deref().filter(|base| !containerfile::is_pinned(base)) {
        bail!(WrongSetting(format!("--tensorrt-base {base}: it needs its digest, as in NAME:TAG@sha256:…")));
    }
    for file in settings.forebay.iter().chain(&settings.filter) {
        if !file.is_file() {
            bail!(WrongSetting(format!("{} is no file", file.display())));
        }
    }
    Ok(())
}

fn parts(settings: &Settings) -> Vec<setup::Part> {
    let mut parts = vec![setup::Part::Python, setup::Part::Envoy];
    if settings.only.is_empty() || settings.only.contains(&Image::Optimize) {
        parts.push(setup::Part::ImagePython);
    }
    if settings.filter.is_none() {
        parts.push(setup::Part::Wasm);
    }
    if settings.forebay.is_none() {
        parts.extend([setup::Part::CudaHeaders, setup::Part::Libclang]);
    }
    parts
}

/// Those asked for, which must be possible; else those that are.
fn machines(settings: &Settings) -> Result<Vec<Machine>> {
    let mut machines = Vec::new();
    let all = if settings.arch.is_empty() { Machine::value_variants() } else { &settings.arch };
    for machine in all {
        let lacks = machine.lacks()?;
        if lacks.is_empty() {
            machines.push(*machine);
            continue;
        }
        let said = format!("{}: not built, for this machine lacks {}", machine.name(), lacks.join(" and "));
        ensure!(settings.arch.is_empty(), said);
        println!("images: {said}");
    }
    Ok(machines)
}

impl Commit {
    fn of(layout: &Layout) -> Self {
        let ask = |words: &[&str]| {
            let mut git = command("git", words);
            git.current_dir(&layout.root);
            output(git).map(|said| said.trim().to_owned())
        };
        let changed = ask(&["status", "--porcelain"]).is_ok_and(|changes| !changes.is_empty());
        let revision = ask(&["rev-parse", "HEAD"]).unwrap_or_default();
        let epoch = ask(&["log", "-1", "--format=%ct"]).ok().and_then(|time| time.parse().ok()).unwrap_or(0);
        Self { revision: if changed { format!("{revision}-changed") } else { revision }, epoch }
    }
}
