//! `/v2/health/live` and `/v2/health/ready` of a gate of its own: 503 says in its body what the gate lacks.

use std::sync::Arc;

use axum::routing::get;
use axum::{Json, Router};
use http::StatusCode;
use serde_json::json;

use crate::cache::live::LiveTable;
use crate::cache::store::Store;
use crate::http::error::HttpError;
use crate::observe::readiness::Draining;

/// What a gate can't do without.
pub(crate) struct Needs {
    pub(crate) store: Arc<Store>,
    pub(crate) live: Arc<LiveTable>,
    pub(crate) draining: Draining,
}

impl Needs {
    fn lacks(&self) -> Option<String> {
        if self.draining.begun().is_cancelled() {
            return Some("this gate ends".to_owned());
        }
        let unknown = || (!self.live.is_known()).then(|| HttpError::NoGenerations.to_string());
        self.store.trouble().or_else(unknown)
    }
}

/// The two routes.
pub(crate) fn routes(needs: Needs) -> Router {
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
