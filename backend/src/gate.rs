//! The gate: lookups by digest and the table of live generations, over HTTP, for the filters. `forebay gate` runs it
//! on Redis; `serve` has the same routes with the pool in memory.

mod lookup;

use std::sync::Arc;

use ::http::HeaderMap;
use ::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::Router;
use axum::extract::{Extension, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use forebay_protocol::gate::{GENERATIONS_PATH, LOOKUP_PATH};
use tokio_util::sync::CancellationToken;

use crate::drain::{self, Ports, Signals};
use crate::http::error::HttpError;
use crate::http::health::{self, Draining};
use crate::http::tls::Tls;
use crate::live::{self, LiveTable};
use crate::metrics::{self, GateMetrics};
use crate::pool::{self, RedisPool};
use crate::settings::{self, GateSettings, PrivacySettings, SettingsError};
use crate::store::Store;
use crate::trust::{Peer, Trust};
use crate::{http, logs};

/// What the gate's routes need.
pub(crate) struct Gate {
    pub(crate) store: Arc<Store>,
    pub(crate) live: Arc<LiveTable>,
    pub(crate) trust: Trust,
    pub(crate) metrics: GateMetrics,
}

/// The two routes.
pub(crate) fn routes(gate: Arc<Gate>) -> Router {
    Router::new()
        .route(LOOKUP_PATH, get(lookup::lookup))
        .route(GENERATIONS_PATH, get(generations))
        .with_state(gate)
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
}

async fn generations(
    State(gate): State<Arc<Gate>>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
) -> Result<Response, HttpError> {
    gate.admit(None, &headers, peer.as_deref())?;
    let table = gate.live.table().ok_or(HttpError::NoGenerations)?;
    let body = serde_json::to_vec(&*table).map_err(|_| HttpError::NoGenerations)?;
    let headers = [(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-store")];
    Ok((headers, body).into_response())
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
    runtime.block_on(async {
        let signals = Signals::listen()?;
        let connection = pool::connect(&url)
            .map_err(|error| SettingsError::Wrong { flag: "--redis-url", reason: error.to_string() })?;
        let (listener, http_port) = http::listen(settings.http.http_address, settings.http_port)?;
        let (metrics_listener, metrics_port) =
            http::listen(settings.http.metrics_address, settings.metrics_port)?;
        let redis = RedisPool::new(connection.clone(), secret, settings.pool.timeout());
        let live = Arc::new(LiveTable::new(false));
        let stop = CancellationToken::new();
        settings.trust.follow(&trust, &stop);
        let following = tokio::spawn(live::redis::follow(connection, live.clone(), stop.clone()));
        let store = Store::redis(redis, settings.pool.max_entry_bytes, settings.pool.pool_queue_bytes);
        let gate =
            Arc::new(Gate { store: Arc::new(store), live: live.clone(), trust, metrics: GateMetrics::new() });
        let draining = Draining::default();
        let main = routes(gate).merge(health::routes(draining.readiness(move || live.table().is_some())));
        let ports = Ports { http: http_port, grpc: None, metrics: metrics_port };
        let listeners = drain::Listeners {
            main: vec![(listener, http::with_fallback(main))],
            tls,
            metrics: (metrics_listener, http::metrics::routes(prometheus, || {})),
        };
        drain::serve_until_signal(listeners, signals, &settings.http, draining, ports).await?;
        stop.cancel();
        following.await?;
        Ok(())
    })
}
