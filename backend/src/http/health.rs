//! `/v2/health/live` and `/v2/health/ready`: 200 or 503, as Triton answers, with the body that `KServe`'s clients read.

use std::sync::Arc;

use axum::routing::get;
use axum::{Json, Router};
use http::StatusCode;
use serde_json::json;
use tokio_util::sync::CancellationToken;

/// Whether this process wants requests. Not once the drain has begun.
#[derive(Debug, Default, Clone)]
pub(crate) struct Draining {
    begun: CancellationToken,
    closing: CancellationToken,
}

impl Draining {
    /// From here on readiness says 503, and no load goes on.
    pub(crate) fn begin(&self) {
        self.begun.cancel();
    }

    /// From here on nothing new is taken, and what would go on for ever is to end.
    pub(crate) fn close(&self) {
        self.closing.cancel();
    }

    /// Cancelled once the drain has begun.
    pub(crate) fn begun(&self) -> CancellationToken {
        self.begun.clone()
    }

    /// Cancelled once nothing new is taken.
    pub(crate) fn closing(&self) -> CancellationToken {
        self.closing.clone()
    }
}

/// Whether requests are wanted now: not drained, and what the process needs is there.
pub(crate) type Readiness = Arc<dyn Fn() -> bool + Send + Sync>;

impl Draining {
    /// `needed` says whether what the process needs is there.
    pub(crate) fn readiness(&self, needed: impl Fn() -> bool + Send + Sync + 'static) -> Readiness {
        let begun = self.begun();
        Arc::new(move || !begun.is_cancelled() && needed())
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
