//! `cargo xtask up`: flags enter; a running Envoy, backend, gate and Redis or Memcached leave, until Ctrl-C. With `--once`, the outcome of a
//! few real requests.

mod envoy_config;
mod folder;
pub(crate) mod sample;
pub(crate) mod services;
pub(crate) mod try_it;

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};

use crate::command::{cargo, shown, target_folder};
use crate::layout::Layout;
use crate::once::{self, Caller};
use crate::setup::{self, Part};
use crate::{WrongSetting, wasm};
use rig::group::{Group, Interrupted};

use folder::Folder;
use services::Services;

/// Where cached results are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Pool {
    /// In Redis, with a gate of its own
    Redis,
    /// In Memcached, with a gate of its own
    Memcached,
    /// In the backend, which then answers for the gate too
    Memory,
}

/// Settings of `cargo xtask up`.
#[derive(Debug, Args)]
pub(crate) struct Settings {
    /// Name of this copy: its logs and secrets are in .forebay/run/<name>/
    #[arg(long, env = "FOREBAY_NAME", default_value = "default")]
    name: String,
    /// Where cached results are kept
    #[arg(long, env = "FOREBAY_POOL", value_enum, default_value = "redis")]
    pool: Pool,
    /// A Triton-style repository with models of your own, served as it is; changes in it are followed
    #[arg(long, value_name = "FOLDER", env = "FOREBAY_MODEL_REPOSITORY", conflicts_with = "models")]
    model_repository: Option<PathBuf>,
    /// Models to serve, out of .forebay/repository and .forebay/test-repository
    #[arg(long, env = "FOREBAY_MODELS", value_delimiter = ',', default_value = "vad,magika")]
    models: Vec<String>,
    /// A `forebay` that is built already [default: it is built here, as it is shipped]
    #[arg(long, value_name = "PROGRAM", env = "FOREBAY_BINARY")]
    forebay: Option<PathBuf>,
    /// A filter that is built already [default: it is built here]
    #[arg(long, value_name = "WASM", env = "FOREBAY_FILTER")]
    filter: Option<PathBuf>,
    /// Send real requests, print latency and Cache-Status of each, and stop
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    ports: Ports,
}

/// Ports, all on 127.0.0.1; 0 picks a free one.
#[derive(Debug, Args)]
#[command(next_help_heading = "Ports on 127.0.0.1 (0 picks a free one)")]
struct Ports {
    /// Envoy, where clients go
    #[arg(long = "envoy-port", env = "FOREBAY_ENVOY_PORT", default_value_t = 8080)]
    envoy: u16,
    /// Envoy's admin interface
    #[arg(long = "admin-port", env = "FOREBAY_ADMIN_PORT", default_value_t = 9901)]
    admin: u16,
    /// Backend
    #[arg(long = "backend-port", env = "FOREBAY_BACKEND_PORT", default_value_t = 8000)]
    backend: u16,
    /// Backend's gRPC
    #[arg(long = "backend-grpc-port", env = "FOREBAY_BACKEND_GRPC_PORT", default_value_t = 8001)]
    backend_grpc: u16,
    /// Backend's /metrics
    #[arg(long = "backend-metrics-port", env = "FOREBAY_BACKEND_METRICS_PORT", default_value_t = 8002)]
    backend_metrics: u16,
    /// Gate
    #[arg(long = "gate-port", env = "FOREBAY_GATE_PORT", default_value_t = 8010)]
    gate: u16,
    /// Gate's /metrics
    #[arg(long = "gate-metrics-port", env = "FOREBAY_GATE_METRICS_PORT", default_value_t = 8012)]
    gate_metrics: u16,
    /// Redis
    #[arg(long = "redis-port", env = "FOREBAY_REDIS_PORT", default_value_t = 6380)]
    redis: u16,
    /// Memcached
    #[arg(long = "memcached-port", env = "FOREBAY_MEMCACHED_PORT", default_value_t = 11212)]
    memcached: u16,
}

impl Settings {
    /// What must be installed for that.
    fn parts(&self) -> Vec<Part> {
        let mut parts = vec![Part::Python, Part::Envoy];
        let wanted = [
            (self.model_repository.is_none(), &[Part::Models][..]),
            (self.filter.is_none(), &[Part::Wasm]),
            (self.forebay.is_none(), &[Part::CudaHeaders, Part::Libclang]),
            (self.pool == Pool::Redis, &[Part::Redis]),
            (self.pool == Pool::Memcached, &[Part::Memcached]),
        ];
        parts.extend(wanted.iter().filter(|(wanted, _)| *wanted).flat_map(|(_, parts)| *parts));
        parts
    }
}

/// Runs `cargo xtask up`.
///
/// # Errors
/// Something can't be installed, built or started, ends before it should, or does not end well; with `--once` also an answer
/// that is not as it should be.
pub(crate) fn run(layout: &Layout, settings: &Settings) -> Result<()> {
    if let Some(own) = settings.model_repository.as_ref().filter(|own| !own.is_dir()) {
        bail!(WrongSetting(format!("--model-repository: {} is not a folder", own.display())));
    }
    setup::install(layout, &settings.parts())?;
    if settings.filter.is_none() {
        wasm::run(layout)?;
    }
    if settings.forebay.is_none() {
        build_backend(layout)?;
    }

    let models = settings.model_repository.is_none().then_some(&*settings.models);
    let folder = Folder::claim(layout, &settings.name, models.unwrap_or_default())?;
    let mut group = Group::new(&folder.path)?;
    let outcome = serve(layout, settings, &folder, &mut group);
    if outcome.is_ok() || outcome.as_ref().is_err_and(Interrupted::is) {
        println!("stopping");
    }
    let stopped = group.stop();
    match outcome {
        Err(error) if Interrupted::is(&error) && !settings.once => stopped,
        outcome => outcome.and(stopped),
    }
}

/// Builds the backend as it is shipped.
///
/// # Errors
/// It does not build.
pub(crate) fn build_backend(layout: &Layout) -> Result<()> {
    println!("building the backend (some minutes the first time)");
    let mut build = cargo();
    build.current_dir(&layout.root).args(["build", "--release", "--package", "forebay"]);
    build.args(["--features", "tensorrt"]);
    shown(build).context("the backend does not build")
}

/// The built backend.
///
/// # Errors
/// Cargo can't say where it builds.
pub(crate) fn backend(layout: &Layout) -> Result<std::path::PathBuf> {
    Ok(target_folder(&layout.root)?.join("release/forebay"))
}

fn serve(layout: &Layout, settings: &Settings, folder: &Folder, group: &mut Group) -> Result<()> {
    let services = Services::start(layout, settings, folder, group)?;
    announce(folder, &services);
    let tries = try_it::all(&services.backend)?;
    try_it::print(&tries, &services.envoy, &folder.path)?;
    if settings.once {
        let caller = Caller { program: &services.forebay, folder: &folder.path };
        return once::run(&services.envoy, &tries, &caller);
    }
    println!("Ctrl-C stops it.");
    group.watch()
}

fn announce(folder: &Folder, services: &Services) {
    println!("\nForebay is up.");
    println!("  Envoy with the filter  {}   gRPC on the same port", services.envoy);
    println!("  backend                {}   gRPC {}", services.backend, services.backend_grpc);
    println!("  backend's metrics      {}/metrics", services.backend_metrics);
    println!("  gate                   {}", services.gate);
    println!("  Envoy's admin          {}", services.admin);
    println!("  logs                   {}/", Layout::shown(&folder.path));
    let (forebay, token) = (Layout::shown(&services.forebay), Layout::shown(&services.operators));
    println!("What is kept: {forebay} cache stats --gate {} --token-file {token}", services.gate);
}
