//! `forebay serve`: settings -> engine, models, pool, ports, wired together; then everything runs until a signal, and
//! ends in order: requests, writes to the pool, the word to the other instances.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use forebay_protocol::limits::Limits;
use redis::aio::ConnectionManager;
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::drain::{self, Ready};
use crate::engine::SessionOptions;
use crate::engine::ort::OrtEngine;
use crate::gate::{self, Gate};
use crate::http::body::BodyLimits;
use crate::http::health::{self, Draining};
use crate::http::infer::InferRoutes;
use crate::http::{self, metadata};
use crate::infer::Inference;
use crate::instances::QueueLimits;
use crate::live::{self, Heard, LiveTable, Record};
use crate::metrics::GateMetrics;
use crate::models::{Loader, ModelSet, Models};
use crate::poll::{self, OnChange};
use crate::pool::{self, MemoryPool, RedisPool};
use crate::settings::{self, ModelControlMode, ModelSettings, PoolKind, ServeSettings, SettingsError};
use crate::store::Store;
use crate::{logs, metrics};

/// Writes to the pool that still wait at the end get so long.
const DRAIN_WRITES: Duration = Duration::from_secs(5);
/// Where `ort`'s users say which library to load.
const ORT_DYLIB_PATH: &str = "ORT_DYLIB_PATH";

/// Runs `forebay serve` until SIGTERM or SIGINT.
///
/// # Errors
/// `SettingsError` for what can't be used; others when a port is taken or a model can't be loaded.
pub(crate) fn run(settings: &ServeSettings) -> anyhow::Result<()> {
    logs::start(&settings.logs)?;
    let loader = Arc::new(loader(&settings.models)?);
    let filter_token = settings::read_token("--filter-token-file", settings.filter_token_file.as_deref())?;
    let gate_token = settings::read_token("--gate-token-file", settings.gate_token_file.as_deref())?;
    let prometheus = metrics::install()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ended = runtime.block_on(async {
        let (listener, http_port) = http::listen(settings.http.http_address, settings.http_port)?;
        let (metrics_listener, metrics_port) =
            http::listen(settings.http.metrics_address, settings.metrics_port)?;
        let stop = CancellationToken::new();
        let pooled = Pooled::start(settings, &stop)?;
        let models = Arc::new(Models::default());
        let following = load(&settings.models, &loader, &models, pooled.on_change, &stop).await?;
        let inference = Inference {
            models: models.clone(),
            store: pooled.store.clone(),
            service: settings.service.clone(),
        };
        let infer = InferRoutes {
            inference: Arc::new(inference),
            limits: Limits { max_body_bytes: settings.http.max_body_bytes, ..Limits::default() },
            body_limits: BodyLimits {
                bytes: settings.http.max_body_bytes,
                time: settings.http.body_timeout_secs,
            },
            filter_token,
        };
        let draining = Draining::default();
        let ready = {
            let models = models.clone();
            move || models.all_loaded()
        };
        let mut routes = http::infer::routes(Arc::new(infer))
            .merge(metadata::routes(models))
            .merge(health::routes(draining.clone(), ready));
        if let (Some(live), Some(store)) = (pooled.own_table, pooled.store.clone()) {
            let gate = Gate { store, live, token: gate_token, metrics: GateMetrics::new() };
            routes = routes.merge(gate::routes(Arc::new(gate)));
        }
        let listeners = drain::Listeners {
            main: (listener, http::with_fallback(routes)),
            metrics: (metrics_listener, http::metrics::routes(prometheus)),
        };
        let ready = Ready { http_port, metrics_port };
        drain::serve_until_signal(listeners, &settings.http, draining, ready).await?;
        stop.cancel();
        if let Some(store) = pooled.store {
            store.drain(DRAIN_WRITES).await;
        }
        if let Some(farewell) = pooled.farewell {
            // Redis may be gone; the end doesn't wait for it for long.
            let _ = tokio::time::timeout(DRAIN_WRITES, farewell).await;
        }
        if let Some(following) = following {
            following.await?;
        }
        anyhow::Ok(())
    });
    runtime.shutdown_timeout(DRAIN_WRITES);
    ended
}

fn loader(settings: &ModelSettings) -> anyhow::Result<Loader> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let path = settings.onnxruntime.clone().or_else(|| std::env::var_os(ORT_DYLIB_PATH).map(PathBuf::from));
    let wrong = |reason: String| SettingsError::Wrong { flag: "--onnxruntime", reason };
    let path = path.ok_or_else(|| wrong("is missing: the path of libonnxruntime.so".to_owned()))?;
    let engine =
        OrtEngine::load(&path).map_err(|error| wrong(format!("can't load {}: {error}", path.display())))?;
    Ok(Loader {
        root: settings.model_repository.clone(),
        engine: Box::new(engine),
        options: SessionOptions { intra_op_threads: usize::from(settings.intra_op_threads) },
        instances: settings.instances.map_or(cores, usize::from),
        limits: QueueLimits {
            requests: usize::try_from(settings.max_queue_requests)?,
            bytes: settings.max_queue_bytes,
        },
    })
}

/// Loads the models, and follows the repository if that was asked for.
async fn load(
    settings: &ModelSettings,
    loader: &Arc<Loader>,
    models: &Arc<Models>,
    on_change: OnChange,
    stop: &CancellationToken,
) -> anyhow::Result<Option<tokio::task::JoinHandle<()>>> {
    let explicit = settings.model_control_mode == ModelControlMode::Explicit;
    let names = explicit.then(|| settings.load_model.clone());
    let on_change = Arc::new(on_change);
    let at_start = {
        let (loader, models, on_change) = (loader.clone(), models.clone(), on_change.clone());
        move || poll::load_at_start(&loader, &models, names.as_deref(), &on_change)
    };
    tokio::task::spawn_blocking(at_start).await?.context("the model repository can't be served")?;
    let failed = &models.current().failed;
    if settings.exit_on_error && !failed.is_empty() {
        let reasons = failed.iter().map(|(name, (_, reason))| format!("model {name:?}: {reason}"));
        anyhow::bail!("{}", reasons.collect::<Vec<_>>().join("; "));
    }
    let follows = settings.model_control_mode == ModelControlMode::Poll;
    Ok(follows.then(|| {
        let every = settings.repository_poll_secs;
        tokio::spawn(poll::follow(loader.clone(), models.clone(), every, on_change, stop.clone()))
    }))
}

/// The pool and who is told what is live.
struct Pooled {
    store: Option<Arc<Store>>,
    /// The table of this process alone: with the pool in memory.
    own_table: Option<Arc<LiveTable>>,
    on_change: OnChange,
    /// Done when the other instances know that this one left.
    farewell: Option<oneshot::Receiver<()>>,
}

impl Pooled {
    fn start(settings: &ServeSettings, stop: &CancellationToken) -> anyhow::Result<Self> {
        match settings.pool.pool {
            PoolKind::None => {
                Ok(Self { store: None, own_table: None, on_change: Box::new(|_| {}), farewell: None })
            }
            PoolKind::Memory => Ok(Self::memory(settings)),
            PoolKind::Redis => {
                let url = settings.pool.redis_url.clone().unwrap_or_default();
                let wrong = |reason: String| SettingsError::Wrong { flag: "--redis-url", reason };
                let connection = pool::connect(&url).map_err(|error| wrong(error.to_string()))?;
                Ok(Self::redis(settings, connection, stop)?)
            }
        }
    }

    fn memory(settings: &ServeSettings) -> Self {
        let pool = MemoryPool::new(settings.pool.pool_bytes);
        let table = Arc::new(LiveTable::new(true));
        let (own_table, service) = (table.clone(), settings.service.clone());
        let on_change = move |set: &ModelSet| {
            let record = Record { service: service.clone(), models: set.live() };
            let own = Heard { instance: String::new(), beat_ms: 0, record };
            table.set_models(live::live_models(&[own], 0));
        };
        Self {
            store: Some(Arc::new(Store::memory(pool, settings.pool.max_entry_bytes))),
            own_table: Some(own_table),
            on_change: Box::new(on_change),
            farewell: None,
        }
    }

    fn redis(
        settings: &ServeSettings,
        connection: ConnectionManager,
        stop: &CancellationToken,
    ) -> Result<Self, SettingsError> {
        let secret = settings::read_pool_secret(&settings.pool)?;
        let pool = RedisPool::new(connection.clone(), secret, settings.pool.timeout());
        let service = settings.service.clone();
        let (said, records) = watch::channel(Record { service: service.clone(), models: Vec::new() });
        let (done, farewell) = oneshot::channel();
        tokio::spawn(live::redis::register(connection, instance_name(), records, stop.clone(), done));
        let on_change = move |set: &ModelSet| {
            said.send_replace(Record { service: service.clone(), models: set.live() });
        };
        let store = Store::redis(pool, settings.pool.max_entry_bytes, settings.pool.pool_queue_bytes);
        Ok(Self {
            store: Some(Arc::new(store)),
            own_table: None,
            on_change: Box::new(on_change),
            farewell: Some(farewell),
        })
    }
}

/// A name that no other instance has: the standard library's random keys, twice.
fn instance_name() -> String {
    let random = || RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}", random(), random())
}
