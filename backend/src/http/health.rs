//! `/v2/health/live` and `/v2/health/ready`: 200 or 503 with an empty body, as Triton answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::routing::get;
use http::StatusCode;

/// Whether this process wants requests. Not once the drain has begun.
#[derive(Debug, Default, Clone)]
pub(crate) struct Draining(Arc<AtomicBool>);

impl Draining {
    /// From here on readiness says 503.
    pub(crate) fn begin(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The two routes; `ready` says whether what the process needs is there.
pub(crate) fn routes(draining: Draining, ready: impl Fn() -> bool + Clone + Send + Sync + 'static) -> Router {
    let readiness = move || {
        let is_ready = !draining.0.load(Ordering::Relaxed) && ready();
        std::future::ready(if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE })
    };
    Router::new()
        .route("/v2/health/live", get(|| std::future::ready(StatusCode::OK)))
        .route("/v2/health/ready", get(readiness))
}
