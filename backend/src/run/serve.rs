//! `forebay serve`: settings -> engine, models, pool, ports, wired together; then everything runs until a signal, and
//! ends in order: requests, writes to the pool, the word to the other instances.

mod bound;
mod edges;
mod loader;
mod pooled;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use forebay_protocol::limits::Limits;
use tokio_util::sync::CancellationToken;

use super::drain::{self, Signals};
use crate::body::Bodies;
use crate::gate::{self, Gate, Savings};
use crate::http;
use crate::http::tls::Tls;
use crate::infer::Inference;
use crate::models::control::{self, Control};
use crate::models::{Loader, Models, follow, recovery};
use crate::observe::logs::{self, Logs};
use crate::observe::metrics::{self, GateMetrics, Metrics};
use crate::observe::readiness::Draining;
use crate::schedule::busy_poll::BusyPoll;
use crate::settings::{ModelControlMode, ModelSettings, Restrictions, ServeSettings, SettingsError};
use crate::trust::Trust;
use bound::{Bound, Routes};
use edges::Edges;
use loader::loader;
use pooled::Pooled;

/// Writes to the pool that still wait at the end get so long.
const DRAIN_WRITES: Duration = Duration::from_secs(5);
/// As `--load-model`: every model of the repository.
const EVERY_MODEL: &str = "*";

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
    access: Access,
    loader: Loader,
    prometheus: Metrics,
    logs: Logs,
) -> anyhow::Result<()> {
    let mut signals = Signals::listen()?;
    let bound = Bound::bind(settings)?;
    let stop = CancellationToken::new();
    let Pooled { store, own, herald, farewell } = Pooled::start(settings, &stop).await?;
    settings.trust.follow(&access.trust, &stop);
    let models = Arc::new(Models::default());
    let draining = Draining::default();
    let mode = settings.models.model_control_mode;
    let control = Arc::new(Control::new(loader, models.clone(), herald, mode, draining.begun()));
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
            live: own.table.clone(),
            proxies: own.proxies.clone(),
            savings: Arc::new(Savings::new(own)),
            trust: access.trust.clone(),
            metrics: GateMetrics::new(),
            bodies: gate::polls(bodies.clone()),
            ending: draining.begun(),
        })
    });
    let sample = sample(&control, &bodies, gate.as_ref());
    let edges = Edges {
        inference: Inference {
            models: models.clone(),
            store: store.clone(),
            service: settings.service.clone(),
            trust: access.trust,
            busy_poll: (settings.busy_poll_us > 0)
                .then(|| BusyPoll::start(Duration::from_micros(u64::from(settings.busy_poll_us)))),
        },
        limits: Limits::of_body(settings.http.max_body_bytes),
        is_ready: draining.readiness(move || models.all_loaded()),
        control,
        logs,
        bodies,
    };
    let routes = Routes {
        http: edges.http(access.http_restrictions),
        grpc: edges.grpc(access.grpc_restrictions, &draining).await,
        gate: gate.map(|gate| http::with_fallback(gate::routes(gate))),
        metrics: http::metrics::routes(prometheus, sample),
    };
    let (ports, listeners) = (bound.ports(), bound.with(routes, access.tls));
    drain::serve_until_signal(listeners, signals, &settings.http, draining, ports).await?;
    stop.cancel();
    if let Some(store) = store {
        store.drain(DRAIN_WRITES).await;
    }
    if let Some(farewell) = farewell {
        // The pool may be gone; the end doesn't wait for it for long.
        let _ = tokio::time::timeout(DRAIN_WRITES, farewell).await;
    }
    if let Some(following) = following {
        following.await?;
    }
    Ok(())
}

/// What is looked at when `/metrics` is.
fn sample(
    control: &Arc<Control>,
    bodies: &Bodies,
    gate: Option<&Arc<Gate>>,
) -> impl Fn() + Clone + Send + Sync + 'static {
    let (control, budget, gate) = (control.clone(), bodies.budget.clone(), gate.cloned());
    move || {
        budget.publish();
        if let Some(gate) = &gate {
            gate.sweep(Instant::now());
        }
        control.models.publish_gpu_bytes();
        control.loader.engines.gpus().iter().for_each(|gpu| gpu.publish());
        metrics::publish_gpus();
    }
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
    let set = control.models.current();
    let failed = set.failed.iter().filter(|(name, failed)| {
        // A folder without a version is one only of what was named.
        !failed.is_empty || settings.load_model.contains(name)
    });
    let reasons: Vec<_> = failed.map(|(name, failed)| format!("model {name:?}: {}", failed.reason)).collect();
    if settings.exit_on_error && !reasons.is_empty() {
        anyhow::bail!("{}", reasons.join("; "));
    }
    tokio::spawn(control::retry(control.clone(), stop.clone()));
    let follows = settings.model_control_mode == ModelControlMode::Poll;
    Ok(follows.then(|| {
        let every = settings.repository_poll_secs;
        tokio::spawn(follow::follow(control.clone(), every, stop.clone()))
    }))
}
