//! `forebay serve`: settings -> engine, models, pool, ports, wired together; then everything runs until a signal, and
//! ends in order: requests, writes to the pool, the word to the other instances.

mod pooled;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use axum::Router;
use forebay_bindings::{Flavour, HostCode};
use forebay_protocol::limits::Limits;
use tokio_util::sync::CancellationToken;

use crate::busy_poll::BusyPoll;
use crate::control::{self, Control};
use crate::drain::{self, Ports, Signals};
use crate::engine::choice::{Choice, Compiling};
use crate::engine::kept::Kept;
use crate::engine::ort::OrtEngine;
use crate::engine::tensorrt::TensorRt;
use crate::engine::{Engine as _, Engines, SessionOptions};
use crate::gate::{self, Gate, Savings};
use crate::grpc::{self, GrpcService};
use crate::http::health::{self, Draining, Readiness};
use crate::http::infer::InferRoutes;
use crate::http::observe::ObserveRoutes;
use crate::http::repository::RepositoryRoutes;
use crate::http::tls::Tls;
use crate::http::{self, metadata};
use crate::infer::Inference;
use crate::live::Reports;
use crate::load::Loader;
use crate::logs::{self, Logs};
use crate::metrics;
use crate::metrics::{GateMetrics, Metrics};
use crate::models::Models;
use crate::poll;
use crate::recovery;
use crate::restricted::Restrictions;
use crate::schedule::QueueLimits;
use crate::settings::{
    LogSettings, ModelControlMode, ModelSettings, PoolKind, ServeSettings, SettingsError, TensorRtFlavour,
};
use crate::trust::Trust;
use pooled::Pooled;

/// Writes to the pool that still wait at the end get so long.
const DRAIN_WRITES: Duration = Duration::from_secs(5);
/// Unless `--compile-timeout-secs` says.
const COMPILE_TIMEOUT: Duration = Duration::from_hours(1);
/// As `--load-model`: every model of the repository.
const EVERY_MODEL: &str = "*";
/// Where `ort`'s users say which library to load.
const ORT_DYLIB_PATH: &str = "ORT_DYLIB_PATH";

/// Runs `forebay serve` until a signal to end.
///
/// # Errors
/// `SettingsError` for what can't be used; others when a port is taken or a model can't be loaded.
pub(crate) fn run(settings: &ServeSettings) -> anyhow::Result<()> {
    let logs = logs::start(&settings.logs)?;
    let access = Access::read(settings)?;
    let loader = loader(&settings.models, &settings.logs)?;
    let prometheus = metrics::install()?;
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = settings.worker_threads {
        runtime.worker_threads(usize::from(threads));
    }
    let runtime = runtime.enable_all().build()?;
    runtime.spawn(metrics::keep_up(prometheus.clone()));
    let ended = runtime.block_on(serve(settings, access, loader, prometheus, logs));
    runtime.shutdown_timeout(DRAIN_WRITES);
    ended
}

async fn serve(
    settings: &ServeSettings,
    Access { trust, tls, http_restrictions, grpc_restrictions }: Access,
    loader: Loader,
    prometheus: Metrics,
    logs: Logs,
) -> anyhow::Result<()> {
    let mut signals = Signals::listen()?;
    let (listener, http_port) = http::listen(settings.http_address, settings.http_port)?;
    let (grpc_listener, grpc_port) = http::listen(settings.grpc_address, settings.grpc_port)?;
    let (metrics_listener, metrics_port) =
        http::listen(settings.http.metrics_address, settings.metrics_port)?;
    let stop = CancellationToken::new();
    let gate_listener = match settings.pool.pool {
        PoolKind::Memory => Some(http::listen(settings.gate.gate_address, settings.gate.gate_port)?),
        PoolKind::Redis | PoolKind::None => None,
    };
    let Pooled { store, own, tier, farewell } = Pooled::start(settings, &stop).await?;
    settings.trust.follow(&trust, &stop);
    let models = Arc::new(Models::default());
    let draining = Draining::default();
    let mode = settings.models.model_control_mode;
    let control = Arc::new(Control::new(loader, models.clone(), tier, mode, draining.begun()));
    recovery::start(&control, &stop);
    let following = tokio::select! {
        following = load(&settings.models, &control, &stop) => following?,
        () = signals.wait() => {
            draining.begin();
            return Ok(());
        }
    };
    let bodies = settings.http.bodies();
    let gate = own.zip(store.clone()).map(|(own, store)| {
        Arc::new(Gate {
            store,
            live: own.table,
            proxies: own.proxies,
            savings: Arc::new(Savings::new(Reports::own())),
            trust: trust.clone(),
            metrics: GateMetrics::new(),
            bodies: gate::polls(bodies.clone()),
            ending: draining.begun(),
        })
    });
    let is_ready = {
        let models = models.clone();
        draining.readiness(move || models.all_loaded())
    };
    let busy_poll = (settings.busy_poll_us > 0)
        .then(|| BusyPoll::start(Duration::from_micros(u64::from(settings.busy_poll_us))));
    let inference =
        Inference { models, store: store.clone(), service: settings.service.clone(), trust, busy_poll };
    let limits = Limits::of_body(settings.http.max_body_bytes);
    let service = GrpcService {
        shared: Arc::new(grpc::Shared { inference: inference.clone(), limits }),
        is_ready: is_ready.clone(),
        control: control.clone(),
        logs: logs.clone(),
        bodies: bodies.clone(),
    };
    let sample = {
        let (control, budget, gate) = (control.clone(), bodies.budget.clone(), gate.clone());
        move || {
            budget.publish();
            if let Some(gate) = &gate {
                gate.sweep(Instant::now());
            }
            control.models.publish_gpu_bytes();
            control.loader.engines.gpus().iter().for_each(|gpu| gpu.publish());
            metrics::publish_gpus();
        }
    };
    let infer = InferRoutes { inference, limits, bodies: bodies.clone() };
    let observe = ObserveRoutes { logs, models: control.models.clone(), bodies: bodies.clone() };
    let repository = RepositoryRoutes { control, bodies };
    let health = grpc::health::start(is_ready.clone(), &draining).await;
    let calls = grpc_restrictions.grpc(grpc::routes(service, health));
    let routes = routes(infer, is_ready)
        .merge(http::repository::routes(Arc::new(repository)))
        .merge(http::observe::routes(Arc::new(observe)))
        .merge(http::shared_memory::routes());
    let mut main =
        vec![(listener, http::with_fallback(http_restrictions.http(routes))), (grpc_listener, calls)];
    let mut ports = Ports { http: Some(http_port), grpc: Some(grpc_port), gate: None, metrics: metrics_port };
    if let (Some((listener, port)), Some(gate)) = (gate_listener, gate) {
        main.push((listener, http::with_fallback(gate::routes(gate))));
        ports.gate = Some(port);
    }
    let listeners = drain::Listeners {
        tls,
        main,
        metrics: (metrics_listener, http::metrics::routes(prometheus, sample)),
    };
    drain::serve_until_signal(listeners, signals, &settings.http, draining, ports).await?;
    stop.cancel();
    if let Some(store) = store {
        store.drain(DRAIN_WRITES).await;
    }
    if let Some(farewell) = farewell {
        // Redis may be gone; the end doesn't wait for it for long.
        let _ = tokio::time::timeout(DRAIN_WRITES, farewell).await;
    }
    if let Some(following) = following {
        following.await?;
    }
    Ok(())
}

/// Who gets in, and who may do what.
struct Access {
    trust: Trust,
    tls: Option<Arc<Tls>>,
    http_restrictions: Restrictions,
    grpc_restrictions: Restrictions,
}

impl Access {
    fn read(settings: &ServeSettings) -> Result<Self, SettingsError> {
        Ok(Self {
            trust: settings.trust.trust(&settings.privacy)?,
            tls: Tls::of(&settings.tls)?,
            http_restrictions: settings.restricted.http()?,
            grpc_restrictions: settings.restricted.grpc()?,
        })
    }
}

/// Inference over V2 and V1, metadata and health.
fn routes(infer: InferRoutes, is_ready: Readiness) -> Router {
    let models = infer.inference.models.clone();
    let infer = Arc::new(infer);
    http::infer::routes(infer.clone())
        .merge(http::v1::routes(infer))
        .merge(metadata::routes(models))
        .merge(health::routes(is_ready))
}

fn loader(settings: &ModelSettings, logs: &LogSettings) -> anyhow::Result<Loader> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let path = settings.onnxruntime.clone().or_else(|| std::env::var_os(ORT_DYLIB_PATH).map(PathBuf::from));
    let wrong = |reason: String| SettingsError::Wrong { flag: "--onnxruntime", reason };
    let path = path.ok_or_else(|| wrong("is missing: the path of libonnxruntime.so".to_owned()))?;
    let kept = settings.optimized_model_dir.as_ref().map(|folder| {
        Kept::at(folder, settings.optimized_model_bytes as u64).map_err(|error| SettingsError::Wrong {
            flag: "--optimized-model-dir",
            reason: format!("can't use {}: {error}", folder.display()),
        })
    });
    let kept = kept.transpose()?;
    let engine = OrtEngine::load(&path, usize::from(settings.intra_op_threads), kept.clone())
        .map_err(|error| wrong(format!("can't load {}: {error}", path.display())))?;
    let compiling = Compiling {
        kept,
        limit: settings.compile_timeout_secs.unwrap_or(COMPILE_TIMEOUT),
        logs: logs.environment(),
    };
    let engines = Engines { onnxruntime: engine, tensorrt: tensorrt(settings, compiling)? };
    let onnxruntime = engines.onnxruntime.identity();
    match &engines.tensorrt {
        Ok(tensorrt) => tracing::info!("engines: {onnxruntime}, {}", tensorrt.identity()),
        Err(reason) => tracing::info!("engines: {onnxruntime}; no TensorRT: {reason}"),
    }
    Ok(Loader {
        root: settings.model_repository.clone(),
        engines,
        options: SessionOptions { intra_op_threads: usize::from(settings.intra_op_threads) },
        instances: settings.instances.map_or(cores, usize::from),
        limits: QueueLimits {
            requests: usize::try_from(settings.max_queue_requests)?,
            bytes: settings.max_queue_bytes,
        },
    })
}

/// TensorRT, or why there is none; a library that was asked for must be there.
fn tensorrt(
    settings: &ModelSettings,
    compiling: Compiling,
) -> Result<Result<TensorRt, String>, SettingsError> {
    let flavour = match settings.tensorrt_flavour {
        None | Some(TensorRtFlavour::Enterprise) => Flavour::Enterprise,
        Some(TensorRtFlavour::Lean) => Flavour::Lean,
        Some(TensorRtFlavour::Rtx) => Flavour::Rtx,
    };
    let host_code = if settings.tensorrt_host_code { HostCode::Allow } else { HostCode::Refuse };
    let (path, budget) = (settings.tensorrt.clone(), settings.gpu_memory_bytes);
    #[cfg(not(feature = "tensorrt"))]
    refuse_flags(settings)?;
    match TensorRt::load(Choice { flavour, path, host_code, budget, compiling }) {
        Err(reason) if settings.tensorrt.is_some() => {
            Err(SettingsError::Wrong { flag: "--tensorrt", reason })
        }
        loaded => Ok(loaded),
    }
}

/// Of flags that TensorRT alone reads, none may be given where there is none.
#[cfg(not(feature = "tensorrt"))]
fn refuse_flags(settings: &ModelSettings) -> Result<(), SettingsError> {
    let given = [
        ("--tensorrt", settings.tensorrt.is_some()),
        ("--tensorrt-flavour", settings.tensorrt_flavour.is_some()),
        ("--tensorrt-host-code", settings.tensorrt_host_code),
        ("--gpu-memory-bytes", settings.gpu_memory_bytes.is_some()),
        ("--compile-timeout-secs", settings.compile_timeout_secs.is_some()),
    ];
    let reason = || crate::engine::tensorrt::NONE.to_owned();
    let wrong = |flag| Err(SettingsError::Wrong { flag, reason: reason() });
    given.into_iter().find(|(_, given)| *given).map_or(Ok(()), |(flag, _)| wrong(flag))
}

/// Loads the models, and follows the repository if that was asked for.
async fn load(
    settings: &ModelSettings,
    control: &Arc<Control>,
    stop: &CancellationToken,
) -> anyhow::Result<Option<tokio::task::JoinHandle<()>>> {
    let explicit = settings.model_control_mode == ModelControlMode::Explicit;
    let all = settings.load_model.iter().any(|name| name == EVERY_MODEL);
    let names = (explicit && !all).then(|| settings.load_model.clone());
    let at_start = {
        let control = control.clone();
        move || control.load_at_start(names.as_deref())
    };
    tokio::task::spawn_blocking(at_start).await?.context("the model repository can't be served")?;
    let failed = &control.models.current().failed;
    if settings.exit_on_error && !failed.is_empty() {
        let reasons = failed.iter().map(|(name, failed)| format!("model {name:?}: {}", failed.reason));
        anyhow::bail!("{}", reasons.collect::<Vec<_>>().join("; "));
    }
    tokio::spawn(control::retry(control.clone(), stop.clone()));
    let follows = settings.model_control_mode == ModelControlMode::Poll;
    Ok(follows.then(|| {
        let every = settings.repository_poll_secs;
        tokio::spawn(poll::follow(control.clone(), every, stop.clone()))
    }))
}
