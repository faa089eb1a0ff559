//! `forebay front`: settings -> the server in front of which it stands, the pool, ports, wired together as `serve`'s are; the ports are
//! served, and say that it isn't ready, until a look at that server finds it ready; then everything runs until a signal, and comes to an
//! [`End`].

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use forebay_protocol::limits::Limits;
use tokio_util::sync::CancellationToken;

use super::end::{End, PATIENCE};
use super::serve::{Access, Bound, Inside, Last, Pooled, Routes};
use super::serving::Serving;
use super::signals::Signals;
use crate::body::Bodies;
use crate::cache::live::Leaving;
use crate::gate::{self, Gate};
use crate::grpc;
use crate::grpc::front::GrpcFront;
use crate::grpc::health::Health;
use crate::http::front::FrontRoutes;
use crate::http::v2::InferRoutes;
use crate::http::{self, health};
use crate::infer::{BypassQuota, Inference};
use crate::models::Models;
use crate::models::front::{Front, Ground, Rules};
use crate::observe::metrics::{self, Metrics};
use crate::observe::readiness::{Draining, Readiness};
use crate::observe::{logs, trace::Tracing};
use crate::schedule::QueueLimits;
use crate::settings::{FrontSettings, KeptSettings, Restrictions, SettingsError};
use crate::upstream::Upstream;

/// Requests that are equal to others on their way and wait for those, of one version of a model.
const JOINED: usize = 16_384;

/// Runs `forebay front` until a signal to end.
///
/// # Errors
/// `SettingsError` for what can't be used; others when a port is taken.
pub(crate) fn run(settings: &FrontSettings) -> anyhow::Result<()> {
    let serving = &settings.serving;
    logs::start(&serving.logs)?;
    let signals = Signals::listen()?;
    serving.sizes.tell();
    let access = Access::read(serving)?;
    let prometheus = metrics::install()?;
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = serving.worker_threads {
        runtime.worker_threads(usize::from(threads));
    }
    let runtime = runtime.enable_all().build()?;
    runtime.spawn(metrics::keep_up(prometheus.clone()));
    let ended = runtime.block_on(front(settings, access, prometheus, signals));
    // Names that are being resolved, files that are being read.
    runtime.shutdown_timeout(PATIENCE);
    ended
}

async fn front(
    settings: &FrontSettings,
    access: Access,
    prometheus: Metrics,
    mut signals: Signals,
) -> anyhow::Result<()> {
    let FrontSettings { upstream, kept, serving: told } = settings;
    let unusable =
        |error| SettingsError::Wrong { flag: "--to-ca-file", reason: format!("can't be used: {error}") };
    let upstream = Upstream::new(upstream.clone()).map_err(unusable)?;
    let bound = Bound::bind(told)?;
    let tracing = Tracing::start(&told.trace.config()?)?;
    let (draining, stop) = (Draining::default(), CancellationToken::new());
    let leaving = Leaving { begun: draining.begun(), stop: stop.clone() };
    let Pooled { store, own, herald, farewell, .. } = tokio::select! {
        pooled = Pooled::start(told, &leaving) => pooled?,
        () = signals.wait() => return Ok(()),
    };
    access.follow(&stop);
    let models = Arc::new(Models::default());
    // Nothing is loaded at start: what isn't there is the upstream's.
    models.open();
    let limits = QueueLimits { requests: JOINED, bytes: told.http.body_budget_bytes() };
    let front = Front::new(upstream, models.clone(), herald, rules(kept), limits);
    let bodies = told.http.bodies();
    let pool = own.zip(store.clone());
    let Inside { gate, key_traces } = Inside::of(told, pool, (&access, &tracing, &bodies, &draining))?;
    let looked = front.clone();
    let edges = Edges {
        inference: Inference {
            models,
            store: store.clone(),
            service: told.service.clone(),
            trust: access.trust,
            bypass_quota: told.bypass_quota.map(BypassQuota::new).map(Arc::new),
            busy_poll: None,
            tracing: tracing.clone(),
            recorder: None,
        },
        limits: Limits::of_body(told.http.max_body_bytes()),
        bodies,
        front: front.clone(),
        is_ready: draining.readiness(move || looked.is_ready()),
    };
    let (grpc, health) = edges.grpc(access.grpc_restrictions, &draining).await;
    let routes = Routes {
        http: edges.http(access.http_restrictions),
        grpc,
        metrics: http::metrics::routes(prometheus, edges.sample(gate.clone())),
        gate: gate.map(|gate| http::with_fallback(gate::routes(gate))),
    };
    let (ports, listeners) = (bound.ports(), bound.with(routes, access.tls));
    let serving = Serving::start(listeners, &told.http, &draining)?;
    ports.say_live();
    let is_ready = tokio::select! {
        () = front.until_ready(kept.look_secs) => true,
        () = signals.wait() => false,
    };
    let mut following = None;
    if is_ready {
        following = Some(tokio::spawn(front.follow(kept.look_secs, stop.clone())));
        health.look().await;
        ports.say_ready()?;
        signals.wait().await;
    }
    let end = End::begins(&told.http, &draining);
    let last = Last { stop, store, farewell, tracing, recorder: None, key_traces, following, control: None };
    end.in_order(&mut signals, last.in_order(serving, &end)).await
}

/// What both edges share.
struct Edges {
    inference: Inference,
    limits: Limits,
    bodies: Bodies,
    front: Arc<Front>,
    is_ready: Readiness,
}

impl Edges {
    fn http(&self, restrictions: Restrictions) -> Router {
        let (inference, bodies) = (self.inference.clone(), self.bodies.clone());
        let infer = InferRoutes { inference, limits: self.limits, bodies };
        let routes = FrontRoutes { infer, front: self.front.clone() };
        http::front::routes(Arc::new(routes), health::routes(self.is_ready.clone()), restrictions)
    }

    /// Must be called inside a runtime.
    async fn grpc(&self, restrictions: Restrictions, draining: &Draining) -> (Router, Health) {
        let calls = GrpcFront {
            shared: grpc::Shared { inference: self.inference.clone(), limits: self.limits },
            bodies: self.bodies.clone(),
            front: self.front.clone(),
            is_ready: self.is_ready.clone(),
        };
        let (asked, health) = grpc::health::start(self.is_ready.clone(), draining).await;
        (grpc::restricted::restrict(grpc::front::routes(calls, asked), restrictions), health)
    }

    /// What is looked at when `/metrics` is.
    fn sample(&self, gate: Option<Arc<Gate>>) -> impl Fn() + Clone + Send + Sync + 'static {
        let (budget, models) = (self.bodies.budget.clone(), self.inference.models.clone());
        move || {
            budget.publish();
            if let Some(gate) = &gate {
                gate.sweep(Instant::now());
            }
            models.publish_states();
        }
    }
}

/// What the operator says, as the models need it.
fn rules(kept: &KeptSettings) -> Rules {
    let ground = match (&kept.model_repository, &kept.generation) {
        (Some(root), _) => Ground::Files { root: root.clone(), are_loaded: kept.files_are_loaded },
        (None, Some(word)) => Ground::Said(word.clone()),
        (None, None) => Ground::Unknown,
    };
    Rules { listed: kept.cache_models.iter().cloned().collect(), ground }
}
