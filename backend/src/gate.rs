//! The gate: lookups by digest and the table of live generations, over HTTP, for the filters. `forebay gate` serves it
//! with a pool that many share; `serve` has the same routes with the pool in memory, on a port of their own too. Next: `cache` looks
//! entries up, and knows what is live; what filters tell is summed up (`savings`), and kept where a folder is named (`key_trace`). Operators
//! purge there (`operate`).

mod ends;
pub(crate) mod key_trace;
mod lookup;
mod lookups;
mod operate;
mod poll;
pub(crate) mod ready;
mod savings;
pub(crate) mod spoken;

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::middleware::map_response;
use axum::response::Response;
use axum::routing::{get, post};
use forebay_protocol::gate::{FORMAT, LOOKUP_PATH, LOOKUPS_PATH, POLL_PATH, PURGE_PATH, STATS_PATH};
use forebay_protocol::header::X_FOREBAY_FORMAT;
use forebay_protocol::lookups::MAX_LOOKUPS_BYTES;
use forebay_protocol::poll::MAX_POLL_BYTES;
use http::{HeaderMap, HeaderValue};
use metrics::gauge;
use tokio_util::sync::CancellationToken;

use crate::body::Bodies;
use crate::cache::live::{self, LiveTable, Proxies, Registry};
use crate::cache::store::Store;
use crate::http::error::HttpError;
use crate::observe::metrics::GateMetrics;
use crate::observe::trace::Tracing;
use crate::trust::{Operators, Peer, Trust};
pub(crate) use savings::Savings;

/// What the gate's routes need.
pub(crate) struct Gate {
    pub(crate) store: Arc<Store>,
    pub(crate) live: Arc<LiveTable>,
    pub(crate) registry: Arc<dyn Registry>,
    pub(crate) trust: Trust,
    /// Who may purge; `None`: nobody.
    pub(crate) operators: Option<Arc<Operators>>,
    /// Those that poll.
    pub(crate) proxies: Arc<Proxies>,
    pub(crate) savings: Arc<Savings>,
    pub(crate) metrics: GateMetrics,
    pub(crate) tracing: Tracing,
    /// How large a poll may be, and lookups that come together.
    pub(crate) bodies: Bodies,
    /// Cancelled once the process ends: no poll is held then.
    pub(crate) ending: CancellationToken,
}

/// The routes. Every answer of theirs names its format.
pub(crate) fn routes(gate: Arc<Gate>) -> Router {
    Router::new()
        .route(LOOKUP_PATH, get(lookup::lookup))
        .route(LOOKUPS_PATH, post(lookups::lookups))
        .route(POLL_PATH, post(poll::poll))
        .route(PURGE_PATH, post(operate::purge).get(operate::lags))
        .route(STATS_PATH, get(operate::stats))
        .layer(map_response(with_format))
        .with_state(gate)
}

/// What an operator asks to purge, for the fuzz targets: what is read has a name that is read again.
pub(crate) fn purge_again(body: &[u8]) {
    if let Ok((_, name)) = operate::read(body) {
        live::name_again(&name);
    }
}

/// The bounds of bodies, for polls and for lookups.
pub(crate) fn bodies(bodies: Bodies) -> Bodies {
    const { assert!(MAX_LOOKUPS_BYTES == MAX_POLL_BYTES, "one bound is of both") }
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

    /// Lets an operator in.
    fn admit_operator(&self, headers: &HeaderMap) -> Result<(), HttpError> {
        match &self.operators {
            None => Err(HttpError::NoOperators),
            Some(operators) if operators.admit(headers) => Ok(()),
            Some(_) => Err(HttpError::NoOperator),
        }
    }

    /// Tells `/metrics` what is known of generations and replicas, and takes away the sums of models that are served no more.
    pub(crate) fn sweep(&self, now: Instant) {
        let (proxies, behind) = self.proxies.count(self.live.epoch(), now);
        gauge!("forebay_generations_known").set(f64::from(u8::from(self.live.is_known())));
        gauge!("forebay_proxies").set(proxies as f64);
        gauge!("forebay_proxies_behind").set(behind as f64);
        for (service, alive) in &*self.live.replicas() {
            gauge!("forebay_replicas", "service" => service.clone()).set(*alive as f64);
        }
        self.savings.sweep(now, |service, model| self.live.lists(service, model) == Some(false));
    }
}
