//! The routes of shared memory: regions of the client's machine, which a server in a cluster can't see. There are none, and
//! none can be registered.

use axum::Router;
use axum::routing::{get, post};
use http::StatusCode;

use super::error::HttpError;
use crate::infer::InferError;

/// Status says that there is nothing; unregistering it does nothing; registering is refused.
pub(crate) fn routes() -> Router {
    let mut routes = Router::new();
    for kind in ["system", "cuda"] {
        let at = |path: &str| format!("/v2/{kind}sharedmemory{path}");
        let none = || std::future::ready(axum::Json(serde_json::json!([])));
        let nothing = || std::future::ready(StatusCode::OK);
        let refused = || std::future::ready(HttpError::from(InferError::SharedMemory));
        routes = routes
            .route(&at("/status"), get(none))
            .route(&at("/region/{region}/status"), get(none))
            .route(&at("/region/{region}/register"), post(refused))
            .route(&at("/region/{region}/unregister"), post(nothing))
            .route(&at("/unregister"), post(nothing));
    }
    routes
}
