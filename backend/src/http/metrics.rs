//! `/metrics` in Prometheus' text form.

use axum::Router;
use axum::response::IntoResponse;
use axum::routing::get;
use http::header::CONTENT_TYPE;

use crate::observe::metrics::Metrics;

/// The one route. `sample` sets what is looked up when it is asked for, which may take a while.
pub(crate) fn routes(metrics: Metrics, sample: impl Fn() + Clone + Send + Sync + 'static) -> Router {
    let render = async move || {
        // What can't be looked up stays as it was.
        let _ = tokio::task::spawn_blocking(sample).await;
        ([(CONTENT_TYPE, "text/plain; version=0.0.4")], metrics.render()).into_response()
    };
    Router::new().route("/metrics", get(render))
}
