//! `/v2/health/live` and `/v2/health/ready`: 200 or 503, as Triton answers, with the body that `KServe`'s clients read.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::routing::get;
use axum::{Json, Router};
use http::StatusCode;
use serde_json::json;

/// Whether this process wants requests. Not once the drain has begun.
#[derive(Debug, Default, Clone)]
pub(crate) struct Draining(Arc<AtomicBool>);

impl Draining {
    /// From here on readiness says 503.
    pub(crate) fn begin(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Whether requests are wanted now: not drained, and what the process needs is there.
pub(crate) type Readiness = Arc<dyn Fn() -> bool + Send + Sync>;

impl Draining {
    /// `needed` says whether what the process needs is there.
    pub(crate) fn readiness(&self, needed: impl Fn() -> bool + Send + Sync + 'static) -> Readiness {
        let draining = self.0.clone();
        Arc::new(move || !draining.load(Ordering::Relaxed) && needed())
    }
}

/// The two routes.
pub(crate) fn routes(is_ready: Readiness) -> Router {
    let readiness = move || {
        let ready = is_ready();
        let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        std::future::ready((status, Json(json!({ "ready": ready }))))
    };
    Router::new()
        .route("/v2/health/live", get(|| std::future::ready(Json(json!({ "live": true })))))
        .route("/v2/health/ready", get(readiness))
}
