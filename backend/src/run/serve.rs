//! `forebay serve`: settings -> engine, models, pool, ports, wired together; the ports are served, and say that it isn't ready, while the
//! models are loaded (`start`); then everything runs until a signal, and comes to an [`End`] (`last`).

mod bound;
mod edges;
mod inside;
mod last;
mod loader;
mod pooled;
mod start;

use std::sync::Arc;
use std::time::{Duration, Instant};

use forebay_bindings::telemetry;
use forebay_protocol::limits::Limits;
use tokio_util::sync::CancellationToken;

use super::end::{End, PATIENCE};
use super::serving::Serving;
use super::signals::Signals;
use crate::body::Bodies;
use crate::cache::live::Leaving;
use crate::gate::{self, Gate};
use crate::http;
use crate::http::tls::Tls;
use crate::infer::{BypassQuota, Inference};
use crate::models::control::{Control, Replays};
use crate::models::fleet::Fleet;
use crate::models::{Loader, Models, recovery};
use crate::observe::logs::{self, Logs};
use crate::observe::metrics::{self, Metrics};
use crate::observe::readiness::Draining;
use crate::observe::trace::Tracing;
use crate::record::Recorder;
use crate::replay::Replay;
use crate::schedule::busy_poll::BusyPoll;
use crate::settings::{Restrictions, ServeSettings, ServingSettings, SettingsError};
use crate::time::steps::Steps;
use crate::trust::{Operators, Trust};
pub(super) use bound::{Bound, Routes};
use edges::Edges;
pub(super) use inside::Inside;
pub(super) use last::Last;
pub(super) use loader::{loader, no_onnxruntime};
pub(super) use pooled::Pooled;
use start::Start;

/// Runs `forebay serve` until a signal to end.
///
/// # Errors
/// `SettingsError` for what can't be used; others when a port is taken or a model can't be loaded.
pub(crate) fn run(settings: &ServeSettings) -> anyhow::Result<()> {
    let mut steps = Steps::begin();
    // First of all: there is no other thread yet.
    let quiet = telemetry::off();
    let logs = logs::start(&settings.serving.logs)?;
    if let Err(error) = quiet {
        tracing::warn!("ONNX Runtime may call its maker: {error}");
    }
    // Before what takes a while: as the first process of a container it would not be ended by a signal that nobody listens to.
    let signals = Signals::listen()?;
    settings.serving.sizes.tell();
    let access = Access::read(&settings.serving)?;
    steps.ends("settings");
    let loader = Loader {
        shadows: Some(settings.shadow.clone()),
        ..loader(&settings.models, &settings.serving.logs)?
    };
    let onnxruntime = loader.engines.onnxruntime.clone();
    steps.ends("engines");
    let prometheus = metrics::install()?;
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = settings.serving.worker_threads {
        runtime.worker_threads(usize::from(threads));
    }
    let runtime = runtime.enable_all().build()?;
    runtime.spawn(metrics::keep_up(prometheus.clone()));
    let ended = runtime.block_on(serve(settings, (access, loader), prometheus, (logs, signals), steps));
    // Names that are being resolved, files that are being read.
    runtime.shutdown_timeout(PATIENCE);
    // Though somebody holds it who was not waited for.
    onnxruntime.end();
    ended
}

async fn serve(
    settings: &ServeSettings,
    (access, loader): (Access, Loader),
    prometheus: Metrics,
    (logs, mut signals): (Logs, Signals),
    mut steps: Steps,
) -> anyhow::Result<()> {
    let bound = Bound::bind(&settings.serving)?;
    let tracing = Tracing::start(&settings.serving.trace.config()?)?;
    let recorder = settings.record.config()?.map(|config| Recorder::start(&config)).transpose()?;
    let (draining, stop) = (Draining::default(), CancellationToken::new());
    let leaving = Leaving { begun: draining.begun(), stop: stop.clone() };
    let Pooled { store, own, herald, farewell, ledger } = tokio::select! {
        pooled = Pooled::start(&settings.serving, &leaving) => pooled?,
        () = signals.wait() => return Ok(()),
    };
    access.follow(&stop);
    let models = Arc::new(Models::default());
    let mode = settings.models.model_control_mode;
    let inference = Inference {
        models: models.clone(),
        store: store.clone(),
        service: settings.serving.service.clone(),
        trust: access.trust.clone(),
        bypass_quota: settings.serving.bypass_quota.map(BypassQuota::new).map(Arc::new),
        busy_poll: (settings.busy_poll_us > 0)
            .then(|| BusyPoll::start(Duration::from_micros(u64::from(settings.busy_poll_us)))),
        tracing: tracing.clone(),
        recorder: recorder.clone(),
    };
    let replay = |config| Box::new(Replay::new(config, &inference)) as Box<dyn Replays>;
    let control = Control::new(loader, models.clone(), herald, mode, draining.begun())
        .with_replays(settings.replay()?.map(replay));
    let control = Arc::new(control);
    recovery::start(&control, &stop);
    let bodies = settings.serving.http.bodies();
    let Inside { gate, key_traces } =
        Inside::of(&settings.serving, own.zip(store.clone()), (&access, &tracing, &bodies, &draining))?;
    let sample = sample(&control, &bodies, gate.as_ref());
    let edges = Edges {
        inference,
        limits: Limits::of_body(settings.serving.http.max_body_bytes()),
        is_ready: draining.readiness(move || models.all_loaded()),
        control: control.clone(),
        logs,
        bodies,
    };
    let (grpc, health) = edges.grpc(access.grpc_restrictions, &draining).await;
    let routes = Routes {
        http: edges.http(access.http_restrictions),
        grpc,
        gate: gate.map(|gate| http::with_fallback(gate::routes(gate))),
        metrics: http::metrics::routes(prometheus, sample),
    };
    let (ports, listeners) = (bound.ports(), bound.with(routes, access.tls));
    let serving = Serving::start(listeners, &settings.serving.http, &draining)?;
    ports.say_live();
    steps.ends("ports");
    let fleet = Fleet::new(control.clone(), ledger, settings.shadow.shadow_broken);
    // What is out for all of the service is not loaded.
    fleet.hear().await;
    let mut start = Start::begin(&settings.models, &control);
    let opened = tokio::select! {
        opened = start.opened(&settings.models, &control, &stop) => opened,
        () = signals.wait() => {
            let end = End::begins(&settings.serving.http, &draining);
            draining.close();
            stop.cancel();
            return end.in_order(&mut signals, start.given_up(&end)).await;
        }
    };
    if let Some(reason) = control.loader.engines.onnxruntime.refusal() {
        return Err(no_onnxruntime(reason).into());
    }
    let following = opened?;
    steps.ends("models");
    metrics::started(&steps);
    if let Some(recorder) = &recorder {
        recorder.say_unknown(|model| control.models.find(model, "").is_ok());
    }
    tokio::spawn(fleet.follow(stop.clone()));
    health.look().await;
    ports.say_ready()?;
    tokio::select! {
        () = signals.wait() => {}
        reason = is_refused(&control) => return Err(no_onnxruntime(&reason).into()),
    }
    let end = End::begins(&settings.serving.http, &draining);
    let last =
        Last { stop, store, farewell, tracing, recorder, key_traces, following, control: Some(control) };
    end.in_order(&mut signals, last.in_order(serving, &end)).await
}

/// Why there is no ONNX Runtime, when that is known. Where there is one this takes for ever.
async fn is_refused(control: &Arc<Control>) -> String {
    let control = control.clone();
    let looked = tokio::task::spawn_blocking(move || {
        control.loader.engines.onnxruntime.engine().err().map(str::to_owned)
    });
    match looked.await {
        Ok(Some(reason)) => reason,
        Ok(None) | Err(_) => std::future::pending().await,
    }
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
        control.models.publish_states();
        control.loader.engines.gpus().iter().for_each(|gpu| gpu.publish());
        metrics::publish_gpus();
    }
}

/// Who gets in, and who may do what.
pub(super) struct Access {
    pub(super) trust: Trust,
    /// Of the gate in this process.
    pub(super) operators: Option<Arc<Operators>>,
    pub(super) tls: Option<Arc<Tls>>,
    pub(super) http_restrictions: Restrictions,
    pub(super) grpc_restrictions: Restrictions,
}

impl Access {
    /// Follows its files until `stop`. Must be called inside a runtime.
    pub(super) fn follow(&self, stop: &CancellationToken) {
        self.trust.follow(stop);
        if let Some(operators) = &self.operators {
            tokio::spawn(operators.clone().follow(stop.clone()));
        }
    }

    /// # Errors
    /// A file can't be used.
    pub(super) fn read(settings: &ServingSettings) -> Result<Self, SettingsError> {
        Ok(Self {
            trust: settings.trust.trust(&settings.privacy)?,
            operators: settings.operators.operators()?,
            tls: Tls::of(&settings.tls)?,
            http_restrictions: settings.restricted.http()?,
            grpc_restrictions: settings.restricted.grpc()?,
        })
    }
}
