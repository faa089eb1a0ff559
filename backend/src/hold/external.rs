//! External metrics (`external.metrics.k8s.io/v1beta1`), for autoscalers of a cluster where nothing else gives them: the loads that `load`
//! finds enter; what Kubernetes' API server asks for itself, and hands on to autoscalers, leaves. It asks with the certificate of its front
//! proxy, and nobody else is answered; who may ask *it* is its own to say. What is not known is an error and no 0: an autoscaler then
//! leaves things as they are.

mod front_proxy;
mod status;

use std::sync::Arc;
use std::time::SystemTime;

use axum::extract::{Extension, Path, Query, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use humantime::format_rfc3339_seconds;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::load::Load;
use super::scaler::{BUSY, REQUESTS};
use crate::trust::Peer;
pub(crate) use front_proxy::{FrontProxy, follow};
use status::Status;

const GROUP: &str = "external.metrics.k8s.io";
const VERSION: &str = "external.metrics.k8s.io/v1beta1";

/// What answers.
pub(crate) struct External {
    pub(crate) load: watch::Receiver<Load>,
    pub(crate) front_proxy: watch::Receiver<Option<FrontProxy>>,
    /// Whose metrics they are: of the backends of that service, in that namespace.
    pub(crate) namespace: String,
    pub(crate) service: String,
}

/// Its routes.
pub(crate) fn routes(external: External) -> Router {
    let external = Arc::new(external);
    let groups =
        || async { Json(json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": [group()] })) };
    let metric = "/apis/external.metrics.k8s.io/v1beta1/namespaces/{namespace}/{metric}";
    Router::new()
        .route("/apis", get(groups))
        .route("/apis/external.metrics.k8s.io", get(async || Json(group())))
        .route("/apis/external.metrics.k8s.io/v1beta1", get(async || Json(resources())))
        .route(metric, get(values))
        .route("/openapi/v2", get(async || Json(openapi())))
        .route("/openapi/v3", get(async || Json(json!({ "paths": {} }))))
        .fallback(async |uri: http::Uri| Status::no_path(uri.path()))
        .method_not_allowed_fallback(async |method: http::Method| Status::method(&method))
        .layer(from_fn_with_state(external.clone(), admitted))
        .with_state(external)
}

/// Only the API server is answered, which has asked whoever asks it who they are.
async fn admitted(
    State(external): State<Arc<External>>,
    peer: Option<Extension<Peer>>,
    request: Request,
    next: Next,
) -> Response {
    let refused = match &*external.front_proxy.borrow() {
        None => Some(Status::front_proxy_unknown()),
        Some(front_proxy) => front_proxy.refuses(peer.as_deref().and_then(Peer::subject)),
    };
    match refused {
        Some(status) => status.into_response(),
        None => next.run(request).await,
    }
}

#[derive(Deserialize)]
struct Asked {
    #[serde(default, rename = "labelSelector")]
    label_selector: String,
}

async fn values(
    State(external): State<Arc<External>>,
    Path((namespace, metric)): Path<(String, String)>,
    Query(asked): Query<Asked>,
) -> Result<Json<Value>, Status> {
    external.values(&namespace, &metric, &asked.label_selector).map(Json)
}

impl External {
    fn values(&self, namespace: &str, metric: &str, selector: &str) -> Result<Value, Status> {
        if ![REQUESTS, BUSY].contains(&metric) || namespace != self.namespace {
            return Err(Status::no_metric(namespace, metric, &self.namespace));
        }
        let items = if selects(selector, &self.service)? { vec![self.value(metric)?] } else { Vec::new() };
        let kind = "ExternalMetricValueList";
        Ok(json!({ "kind": kind, "apiVersion": VERSION, "metadata": {}, "items": items }))
    }

    fn value(&self, metric: &str) -> Result<Value, Status> {
        let load = *self.load.borrow();
        let value = if metric == REQUESTS {
            load.requests().map(|requests| requests.to_string())
        } else {
            load.busy.map(thousandths)
        };
        let value = value.ok_or_else(|| Status::not_known(metric))?;
        let timestamp = format_rfc3339_seconds(SystemTime::now()).to_string();
        let labels = json!({ "service": self.service });
        Ok(json!({ "metricName": metric, "metricLabels": labels, "timestamp": timestamp, "value": value }))
    }
}

/// As a quantity of Kubernetes'.
fn thousandths(value: f64) -> String {
    format!("{:.0}m", (value * 1000.0).ceil())
}

/// Whether a selector by equality takes what has `service` for its one label.
fn selects(selector: &str, service: &str) -> Result<bool, Status> {
    let requirements = selector.split(',').filter(|requirement| !requirement.trim().is_empty());
    let mut selects = true;
    for requirement in requirements {
        let (key, is_not, value) = if let Some((key, value)) = requirement.split_once("!=") {
            (key, true, value)
        } else if let Some((key, value)) =
            requirement.split_once("==").or_else(|| requirement.split_once('='))
        {
            (key, false, value)
        } else {
            return Err(Status::selector(requirement));
        };
        let is_it = key.trim() == "service" && value.trim() == service;
        selects &= is_it != is_not;
    }
    Ok(selects)
}

fn group() -> Value {
    let version = json!({ "groupVersion": VERSION, "version": "v1beta1" });
    json!({ "kind": "APIGroup", "apiVersion": "v1", "name": GROUP, "versions": [version], "preferredVersion": version })
}

fn resources() -> Value {
    let resource = |name: &str| {
        let kind = "ExternalMetricValueList";
        json!({ "name": name, "singularName": "", "namespaced": true, "kind": kind, "verbs": ["get"] })
    };
    let resources = [resource(REQUESTS), resource(BUSY)];
    json!({ "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": VERSION, "resources": resources })
}

/// Nothing that a client would want to know, so that the API server need not ask again and again.
fn openapi() -> Value {
    let info = json!({ "title": "forebay-gate", "version": env!("CARGO_PKG_VERSION") });
    json!({ "swagger": "2.0", "info": info, "paths": {} })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selector_by_equality_takes_the_service_or_not_and_another_is_refused() {
        for (selector, taken) in [
            ("", true),
            ("service=demo", true),
            ("service==demo", true),
            ("service!=demo", false),
            ("service=other", false),
            ("service!=other", true),
            ("team!=a,service=demo", true),
            ("team=a,service=demo", false),
        ] {
            assert_eq!(selects(selector, "demo").ok(), Some(taken), "{selector}");
        }
        for selector in ["service in (demo)", "service", "!service"] {
            assert!(selects(selector, "demo").is_err(), "{selector}");
        }
    }

    #[test]
    fn seconds_a_second_are_told_in_thousandths_and_never_less_than_they_are() {
        assert_eq!([0.0, 0.8, 1.0001, 12.5].map(thousandths), ["0m", "800m", "1001m", "12500m"]);
    }
}
