//! The gate: lookups by digest and the table of live generations, over HTTP, for the filters. `forebay gate` runs it
//! on Redis; `serve` has the same routes with the pool in memory, on a port of their own too.

mod lookup;
mod poll;
mod ready;
mod savings;

use std::sync::Arc;
use std::time::Instant;

use ::http::{HeaderMap, HeaderValue};
use axum::Router;
use axum::middleware::map_response;
use axum::response::Response;
use axum::routing::{get, post};
use forebay_protocol::gate::{FORMAT, LOOKUP_PATH, POLL_PATH};
use forebay_protocol::header::X_FOREBAY_FORMAT;
use forebay_protocol::poll::MAX_POLL_BYTES;
use forebay_protocol::proof::Prover;
use tokio_util::sync::CancellationToken;

use crate::drain::{self, Ports, Signals};
use crate::http::body::Bodies;
use crate::http::error::HttpError;
use crate::http::health::Draining;
use crate::http::tls::Tls;
use crate::live::{self, Follow, LiveTable, Proxies, Reports};
use crate::metrics::{self, GateMetrics};
use crate::pool::{RedisPool, Server};
use crate::settings::{self, GateSettings, PrivacySettings, SettingsError};
use crate::store::Store;
use crate::trust::{Peer, Trust};
use crate::{http, logs};
pub(crate) use savings::{Savings, Uncounted};

/// What the gate's routes need.
pub(crate) struct Gate {
    pub(crate) store: Arc<Store>,
    pub(crate) live: Arc<LiveTable>,
    pub(crate) trust: Trust,
    /// Those that poll.
    pub(crate) proxies: Arc<Proxies>,
    pub(crate) savings: Arc<Savings>,
    pub(crate) metrics: GateMetrics,
    /// How large a poll may be.
    pub(crate) bodies: Bodies,
    /// Cancelled once the process ends: no poll is held then.
    pub(crate) ending: CancellationToken,
}

/// The routes. Every answer of theirs names its format.
pub(crate) fn routes(gate: Arc<Gate>) -> Router {
    Router::new()
        .route(LOOKUP_PATH, get(lookup::lookup))
        .route(POLL_PATH, post(poll::poll))
        .layer(map_response(with_format))
        .with_state(gate)
}

/// The bounds of bodies, for polls.
pub(crate) fn polls(bodies: Bodies) -> Bodies {
    Bodies { bytes: MAX_POLL_BYTES, ..bodies }
}

async fn with_format(mut answer: Response) -> Response {
    answer.headers_mut().insert(X_FOREBAY_FORMAT, HeaderValue::from(FORMAT));
    answer
}

impl Gate {
    /// Lets a caller in that has proven itself, for that service if it asks for one.
    fn admit(
        &self,
        service: Option<&str>,
        headers: &HeaderMap,
        peer: Option<&Peer>,
    ) -> Result<(), HttpError> {
        if self.trust.admits(service, headers, peer) { Ok(()) } else { Err(HttpError::Credential) }
    }

    /// Takes away the sums of models that are served no more.
    pub(crate) fn sweep(&self, now: Instant) {
        self.savings.sweep(now, |service, model| self.live.lists(service, model) == Some(false));
    }
}

/// Runs `forebay gate` until a signal to end.
///
/// # Errors
/// `SettingsError` for what can't be used; others when a port is taken.
pub(crate) fn run(settings: &GateSettings) -> anyhow::Result<()> {
    logs::start(&settings.logs)?;
    let trust = settings.trust.trust(&PrivacySettings::default())?;
    let secret = settings::read_pool_secret(&settings.pool)?;
    let url = settings.pool.redis_url.clone().unwrap_or_default();
    let tls = Tls::of(&settings.tls).map_err(SettingsError::from)?;
    let prometheus = metrics::install()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.spawn(metrics::keep_up(prometheus.clone()));
    let ended = runtime.block_on(async {
        let signals = Signals::listen()?;
        let server = Server::open(&url).await?;
        let (listener, gate_port) = http::listen(settings.gate.gate_address, settings.gate.gate_port)?;
        let (metrics_listener, metrics_port) =
            http::listen(settings.http.metrics_address, settings.metrics_port)?;
        let (live, proxies) = (LiveTable::of_pool(Prover::of(&secret)), Arc::<Proxies>::default());
        let live = Arc::new(live);
        let redis = RedisPool::new(server.clone(), secret, settings.pool.timeout());
        let stop = CancellationToken::new();
        settings.trust.follow(&trust, &stop);
        let (table, name) = (live.clone(), live::random_name());
        let follow = Follow { server: server.clone(), gate: name, table, proxies: proxies.clone() };
        let following = tokio::spawn(follow.run(stop.clone()));
        let store = Store::redis(redis, settings.pool.max_entry_bytes, settings.pool.pool_queue_bytes);
        let draining = Draining::default();
        let gate = Arc::new(Gate {
            store: Arc::new(store),
            live: live.clone(),
            proxies,
            savings: Arc::new(Savings::new(Reports::Redis(server.clone()))),
            trust,
            metrics: GateMetrics::new(),
            bodies: polls(settings.http.bodies()),
            ending: draining.begun(),
        });
        let needs = ready::Needs { server, live, draining: draining.clone() };
        let main = routes(gate.clone()).merge(ready::routes(needs));
        let ports = Ports { gate: Some(gate_port), metrics: metrics_port, ..Ports::default() };
        let listeners = drain::Listeners {
            main: vec![(listener, http::with_fallback(main))],
            tls,
            metrics: (
                metrics_listener,
                http::metrics::routes(prometheus, move || gate.sweep(Instant::now())),
            ),
        };
        drain::serve_until_signal(listeners, signals, &settings.http, draining, ports).await?;
        stop.cancel();
        following.await?;
        Ok(())
    });
    // A name that is being resolved doesn't hold up the end.
    runtime.shutdown_background();
    ended
}
