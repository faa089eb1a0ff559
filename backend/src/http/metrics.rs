//! `/metrics` in Prometheus' text form.

use axum::Router;
use axum::response::IntoResponse;
use axum::routing::get;
use http::header::CONTENT_TYPE;
use metrics_exporter_prometheus::PrometheusHandle;

/// The one route.
pub(crate) fn routes(handle: PrometheusHandle) -> Router {
    let render = move || {
        let text = handle.render();
        std::future::ready(([(CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response())
    };
    Router::new().route("/metrics", get(render))
}
