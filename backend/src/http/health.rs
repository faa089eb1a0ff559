//! `/v2/health/live` and `/v2/health/ready`: 200 or 503, as Triton answers, with the body that `KServe`'s clients read.

use axum::routing::get;
use axum::{Json, Router};
use http::StatusCode;
use serde_json::json;

use crate::observe::readiness::Readiness;

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
