//! `forebay gate`: settings -> the pool, what is live, ports; then everything runs until a signal, and comes to an
//! [`End`]. Next: `gate` answers.

use std::sync::Arc;
use std::time::Instant;

use ::metrics::gauge;
use axum::Router;
use forebay_protocol::limits::Limits;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::end::{End, PATIENCE};
use super::ports::Ports;
use super::serving::{Listeners, Serving};
use super::signals::Signals;
use crate::cache::PoolSecret;
use crate::cache::live::ledger::{self, Book, Ledger};
use crate::cache::live::{LiveTable, MemcachedSteps, Proxies, Registry, Shared, Steps};
use crate::cache::pool::{Memcached, Redis, RemotePool, Shelf};
use crate::cache::store::Store;
use crate::gate::key_trace::KeyTraces;
use crate::gate::{self, Gate, Savings, ready};
use crate::hold::external::External;
use crate::hold::{self, Gates, Handover, Hold, Joined, LoadFound, Watched};
use crate::http::{self, tls::Tls};
use crate::observe::metrics::{self, GateMetrics, Metrics};
use crate::observe::{logs, readiness::Draining, trace::Tracing};
use crate::schedule::QueueLimits;
use crate::settings::{
    ExternalBy, GateSettings, HeldFor, HoldSettings, PoolKind, PrivacySettings, SettingsError,
};
use crate::ui::{self, Held, Ui};

/// Runs `forebay gate` until a signal to end.
///
/// # Errors
/// `SettingsError` for what can't be used; others when a port is taken.
pub(crate) fn run(settings: &GateSettings) -> anyhow::Result<()> {
    logs::start(&settings.logs)?;
    let mut signals = Signals::listen()?;
    settings.sizes.tell();
    let trust = settings.trust.trust(&PrivacySettings::default())?;
    let tls = Tls::of(&settings.tls).map_err(SettingsError::from)?;
    let operators = settings.operators.operators()?;
    let prometheus = metrics::install()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.spawn(metrics::keep_up(prometheus.clone()));
    let ended = runtime.block_on(async {
        let stop = CancellationToken::new();
        let tracing = Tracing::start(&settings.trace.config()?)?;
        let secret = PoolSecret::followed(&settings.pool, &stop)?;
        let Pooled { store, registry, ledger } = tokio::select! {
            pooled = Pooled::open(settings, secret.clone()) => pooled?,
            () = signals.wait() => return Ok(()),
        };
        let (listener, gate_port) = http::listen(settings.gate.gate_address, settings.gate.gate_port)?;
        let (metrics_listener, metrics_port) =
            http::listen(settings.http.metrics_address, settings.metrics_port)?;
        let (live, proxies) = (Arc::new(LiveTable::of_pool(secret)), Arc::<Proxies>::default());
        trust.follow(&stop);
        if let Some(operators) = &operators {
            tokio::spawn(operators.clone().follow(stop.clone()));
        }
        let (held_for, wake_by) = (settings.hold.held_for()?, settings.hold.wake.wake_by()?);
        let external_by = settings.hold.external_by()?;
        let following = tokio::spawn(registry.follow(live.clone(), proxies.clone(), stop.clone()));
        let draining = Draining::default();
        let key_traces = settings.key_trace.config()?;
        let key_traces = key_traces.map(|config| KeyTraces::start(&config, live.clone())).transpose()?;
        let gate = Arc::new(Gate {
            store: store.clone(),
            live: live.clone(),
            proxies,
            savings: Arc::new(Savings::new(registry.clone(), key_traces.clone())),
            registry,
            trust,
            operators,
            metrics: GateMetrics::new(),
            tracing: tracing.clone(),
            bodies: gate::bodies(settings.http.bodies()),
            ending: draining.begun(),
        });
        let needs = ready::Needs { store, live, draining: draining.clone() };
        let main = gate::routes(gate.clone()).merge(ready::routes(needs));
        let mut main = vec![(listener, http::with_fallback(main))];
        let mut ports = Ports { gate: Some(gate_port), metrics: metrics_port, ..Ports::default() };
        let mut apart = None;
        let held = match held_for {
            Some(held_for) => {
                let hold = holding(settings, held_for, &gate, &draining);
                main.extend(hold_ports(settings, &hold, &mut ports)?);
                if let Some(by) = wake_by {
                    tokio::spawn(hold::wake::follow(by, hold.handover.wanted(), draining.closing()));
                }
                let watched = watching(settings, &hold, ledger, &stop);
                main.extend(scaler(settings, &watched, &draining, &mut ports)?);
                let external = external_by.map(|by| external(settings, by, &watched, &draining, &mut ports));
                apart = external.transpose()?;
                Some(Held {
                    handover: hold.handover.clone(),
                    work: watched.work.subscribe(),
                    service: settings.hold.hold_service.clone(),
                })
            }
            None => None,
        };
        let listeners = Listeners {
            main,
            tls,
            apart,
            metrics: (metrics_listener, metrics_routes(settings, prometheus, gate, (held, &stop))),
        };
        let serving = Serving::start(listeners, &settings.http, &draining)?;
        ports.say_ready()?;
        signals.wait().await;
        let end = End::begins(&settings.http, &draining);
        let order = async {
            let is_whole = serving.drain(&end).await?;
            end.goes_on_with("the last trace of keys, the pool's last answer, and spans");
            stop.cancel();
            if let Some(key_traces) = key_traces {
                key_traces.end(end.left(PATIENCE)).await;
            }
            tracing.end(end.left(PATIENCE)).await;
            following.await?;
            Ok(is_whole)
        };
        end.in_order(&mut signals, order).await
    });
    // A name that is being resolved doesn't hold up the end.
    runtime.shutdown_background();
    ended
}

/// The ports where requests come that are to be held.
fn hold_ports(
    settings: &GateSettings,
    hold: &Arc<Hold>,
    ports: &mut Ports,
) -> Result<Vec<(TcpListener, Router)>, http::ListenError> {
    let numbers = [&mut ports.http, &mut ports.grpc];
    let listen = |(port, number): (&u16, &mut Option<u16>)| {
        let (listener, bound) = http::listen(settings.hold.hold_address, *port)?;
        *number = Some(bound);
        Ok((listener, hold::routes(hold.clone())))
    };
    settings.hold.hold_ports.iter().zip(numbers).map(listen).collect()
}

/// Who looks at the backends, where somebody wants to know: KEDA, Kubernetes, or the page.
fn watching(
    settings: &GateSettings,
    hold: &Hold,
    ledger: Arc<dyn Ledger>,
    stop: &CancellationToken,
) -> Watched {
    let watched = Watched::default();
    let (gates, elsewhere) = Gates::new(ledger, hold.handover.clone());
    tokio::spawn(gates.follow(stop.clone()));
    if settings.hold.is_watched() || settings.ui.ui {
        let every = settings.hold.scaler_look_secs;
        let found = LoadFound { handover: hold.handover.clone(), elsewhere, every };
        tokio::spawn(hold::follow_load(found, watched.clone(), stop.clone()));
    }
    watched
}

/// The port at which KEDA asks.
fn scaler(
    settings: &GateSettings,
    watched: &Watched,
    draining: &Draining,
    ports: &mut Ports,
) -> Result<Option<(TcpListener, Router)>, http::ListenError> {
    let Some(port) = settings.hold.scaler_port else { return Ok(None) };
    let (listener, bound) = http::listen(settings.hold.hold_address, port)?;
    ports.scaler = Some(bound);
    Ok(Some((listener, hold::scaler::routes(watched.load.subscribe(), draining.begun()))))
}

/// The port at which Kubernetes asks for External metrics.
fn external(
    settings: &GateSettings,
    by: ExternalBy,
    watched: &Watched,
    draining: &Draining,
    ports: &mut Ports,
) -> anyhow::Result<(TcpListener, Router, Arc<Tls>)> {
    let tls = Tls::asking(&settings.tls).map_err(SettingsError::from)?;
    let (listener, bound) = http::listen(settings.hold.hold_address, by.port)?;
    ports.external_metrics = Some(bound);
    let (known, front_proxy) = watch::channel(None);
    let (load, namespace) = (watched.load.subscribe(), by.namespace.clone());
    let external = External { load, front_proxy, namespace, service: settings.hold.hold_service.clone() };
    tokio::spawn(hold::external::follow(by, tls.clone(), known, draining.closing()));
    Ok((listener, hold::external::routes(external), tls))
}

/// What people and Prometheus look at.
fn metrics_routes(
    settings: &GateSettings,
    prometheus: Metrics,
    gate: Arc<Gate>,
    (held, stop): (Option<Held>, &CancellationToken),
) -> Router {
    if let Some(price) = settings.ui.price {
        gauge!("forebay_gpu_hour_price").set(price);
    }
    let swept = gate.clone();
    let routes = http::metrics::routes(prometheus.clone(), move || swept.sweep(Instant::now()));
    if !settings.ui.ui {
        return routes;
    }
    let ui = Arc::new(Ui::new(prometheus, gate, held, settings.ui.price));
    tokio::spawn(ui::follow(ui.clone(), stop.clone()));
    routes.merge(ui::routes(ui))
}

/// What holds requests, until nothing new is taken.
fn holding(settings: &GateSettings, held_for: HeldFor, gate: &Gate, draining: &Draining) -> Arc<Hold> {
    let HoldSettings { hold_requests: requests, .. } = settings.hold;
    let limits = QueueLimits { requests, bytes: settings.hold.hold_bytes(&settings.http) };
    let handover = Handover::new(held_for, limits);
    // Who waits then asks another gate.
    tokio::spawn(handover.clone().run(draining.closing()));
    Arc::new(Hold {
        handover,
        joined: Joined::new(limits),
        store: gate.store.clone(),
        live: gate.live.clone(),
        trust: gate.trust.clone(),
        service: settings.hold.hold_service.clone(),
        bodies: settings.http.bodies(),
        limits: Limits { max_body_bytes: settings.http.max_body_bytes(), ..Limits::default() },
        longest: settings.hold.hold_timeout_secs,
        ending: draining.begun(),
    })
}

/// The pool that the settings name.
struct Pooled {
    store: Arc<Store>,
    registry: Arc<dyn Registry>,
    /// Of what waits at the gates of the service that this one holds for.
    ledger: Arc<dyn Ledger>,
}

impl Pooled {
    async fn open(settings: &GateSettings, secret: Arc<PoolSecret>) -> Result<Self, SettingsError> {
        let tier = &settings.pool.tier;
        match tier.pool {
            PoolKind::Redis => {
                let redis = Redis::open(&settings.pool.redis()).await?;
                Ok(Self::of(redis.clone(), redis, settings, secret))
            }
            PoolKind::Memcached => {
                let memcached = Memcached::open(&tier.memcached()).await?;
                Ok(Self::of(memcached.clone(), MemcachedSteps::new(memcached), settings, secret))
            }
            PoolKind::Memory | PoolKind::None => unreachable!("a gate's settings name a pool that is shared"),
        }
    }

    fn of(
        shelf: impl Shelf,
        steps: impl Steps + Clone,
        settings: &GateSettings,
        secret: Arc<PoolSecret>,
    ) -> Self {
        let GateSettings { pool, hold, .. } = settings;
        let ledger = Arc::new(ledger::Shared::of(steps.clone(), Book::Held, &hold.hold_service));
        let registry: Arc<dyn Registry> = Arc::new(Shared::heard(steps));
        let entries = RemotePool::start(shelf, secret, pool.timeout(), pool.pool_queue_bytes());
        let store = Store::new(entries, registry.purged(), pool.max_entry_bytes);
        Self { store: Arc::new(store), registry, ledger }
    }
}
