//! `/v2/health/live` and `/v2/health/ready` of a gate of its own: 503 says in its body what the gate lacks.

use std::sync::Arc;

use axum::routing::get;
use axum::{Json, Router};
use http::StatusCode;
use serde_json::json;

use crate::http::error::HttpError;
use crate::http::health::Draining;
use crate::live::LiveTable;
use crate::pool::Server;

/// What a gate can't do without.
pub(super) struct Needs {
    pub(super) server: Server,
    pub(super) live: Arc<LiveTable>,
    pub(super) draining: Draining,
}

impl Needs {
    fn lacks(&self) -> Option<String> {
        if self.draining.begun().is_cancelled() {
            return Some("this gate ends".to_owned());
        }
        let unknown = || (!self.live.is_known()).then(|| HttpError::NoGenerations.to_string());
        self.server.trouble().or_else(unknown)
    }
}

/// The two routes.
pub(super) fn routes(needs: Needs) -> Router {
    let needs = Arc::new(needs);
    let readiness = move || {
        let answer = match needs.lacks() {
            None => (StatusCode::OK, Json(json!({ "ready": true }))),
            Some(reason) => {
                (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "ready": false, "error": reason })))
            }
        };
        std::future::ready(answer)
    };
    Router::new()
        .route("/v2/health/live", get(|| std::future::ready(Json(json!({ "live": true })))))
        .route("/v2/health/ready", get(readiness))
}
