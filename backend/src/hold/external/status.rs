//! What went wrong, as Kubernetes' clients read it (`Status`): for people in one line, for programs by reason and code.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{Method, StatusCode};
use serde_json::json;

use super::{BUSY, REQUESTS};

/// Characters that an error shows of what was asked.
const SHOWN: usize = 253;

/// An answer that says no.
#[derive(Debug)]
pub(super) struct Status {
    code: StatusCode,
    reason: &'static str,
    message: String,
}

impl Status {
    fn new(code: StatusCode, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into() }
    }

    pub(super) fn front_proxy_unknown() -> Self {
        let message = "it is not known yet who may ask: the gate has not read the ConfigMap kube-system/extension-apiserver-authentication, \
                       and its log says why";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", message)
    }

    pub(super) fn no_certificate() -> Self {
        let message =
            "no certificate was shown: expected that of the API server's front proxy; ask the API server";
        Self::new(StatusCode::UNAUTHORIZED, "Unauthorized", message)
    }

    pub(super) fn not_allowed(subject: &str) -> Self {
        let subject = shown(subject);
        let message = format!("{subject:?} may not ask: expected a name of requestheader-allowed-names");
        Self::new(StatusCode::FORBIDDEN, "Forbidden", message)
    }

    pub(super) fn no_metric(namespace: &str, metric: &str, own: &str) -> Self {
        let (namespace, metric) = (shown(namespace), shown(metric));
        let message = format!(
            "no metric {metric:?} in namespace {namespace:?}: expected {REQUESTS} or {BUSY} in {own:?}"
        );
        Self::new(StatusCode::NOT_FOUND, "NotFound", message)
    }

    pub(super) fn not_known(metric: &str) -> Self {
        let message = format!(
            "{metric} is not known: the gate has just started, or can't hear from the pool what waits at others"
        );
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", message)
    }

    pub(super) fn selector(requirement: &str) -> Self {
        let requirement = shown(requirement);
        let message = format!("labelSelector: {requirement:?}: expected service=NAME, or none");
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    pub(super) fn no_path(path: &str) -> Self {
        let message = format!("{:?} is not here: expected /apis or below", shown(path));
        Self::new(StatusCode::NOT_FOUND, "NotFound", message)
    }

    pub(super) fn method(method: &Method) -> Self {
        let message = format!("{method}: expected GET");
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message)
    }
}

impl IntoResponse for Status {
    fn into_response(self) -> Response {
        let Self { code, reason, message } = self;
        let status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": message, "reason": reason, "code": code.as_u16(),
        });
        (code, Json(status)).into_response()
    }
}

fn shown(text: &str) -> String {
    text.chars().take(SHOWN).collect()
}
