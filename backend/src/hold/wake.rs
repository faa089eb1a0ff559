//! One is wanted and none is there -> Kubernetes' API is asked to start one: the scale of what runs backends goes from 0 to 1. Never
//! further, and never down. What is written names the version of the scale that was read, so gates that do the same at once, and whoever
//! else scales, undo nothing of each other's. Next: the backend comes, and `handover` finds it by its name.

use std::path::PathBuf;
use std::time::Duration;

use axum::body::Body;
use http::header::{AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use http::{HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use metrics::counter;
use serde::Deserialize;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::settings::WakeBy;
use crate::trust::roots::{self, RootsError};

/// All that one wake asks, from the files to the last answer.
const CALL: Duration = Duration::from_secs(5);
/// After a call that failed, and after as many as have failed. One that went well is followed by a look after the longest, for as long
/// as no backend is there: somebody may have taken it back.
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Times that the scale is read anew in one call because somebody else wrote it.
const TRIES: usize = 3;
const AGENT: &str = concat!("forebay-gate/", env!("CARGO_PKG_VERSION"));
/// Of an answer.
const MOST_SAID: usize = 64 << 10;

type Api = Client<HttpsConnector<HttpConnector>, Body>;

/// What a call came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Woken {
    /// It was at 0, and is at 1.
    Woken,
    /// It was at 1 or more: a backend starts already.
    There,
}

/// Why nobody was woken.
#[derive(Debug, thiserror::Error)]
enum WakeError {
    #[error("can't read {path}: {reason}: expected the token of the pod's ServiceAccount")]
    Token { path: PathBuf, reason: String },
    #[error("--hold-wake-ca-file: {0}")]
    Ca(#[from] RootsError),
    #[error("can't be asked: {0}")]
    Lost(String),
    #[error("it did not answer within {} s", CALL.as_secs())]
    Late,
    #[error("it answers {status}: {said}: expected {right}")]
    Refused { status: StatusCode, said: String, right: &'static str },
}

impl WakeError {
    /// As a metric's label.
    fn result(&self) -> &'static str {
        match self {
            Self::Refused { .. } => "refused",
            Self::Late => "late",
            Self::Token { .. } | Self::Ca(_) | Self::Lost(_) => "failed",
        }
    }
}

/// A scale as the API says it; 0 replicas are left out.
#[derive(Deserialize)]
struct Scale {
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(rename = "resourceVersion")]
    version: String,
}

#[derive(Default, Deserialize)]
struct Spec {
    #[serde(default)]
    replicas: u64,
}

/// What the API says of a call that it refuses.
#[derive(Deserialize)]
struct Refusal {
    message: String,
}

/// Asks whenever a backend is wanted, until `stop`.
pub(crate) async fn follow(by: WakeBy, mut wanted: watch::Receiver<bool>, stop: CancellationToken) {
    let asking = async {
        let mut pause = PAUSE;
        while wanted.wait_for(|is_wanted| *is_wanted).await.is_ok() {
            let came_to = tokio::time::timeout(CALL, wake(&by)).await.unwrap_or(Err(WakeError::Late));
            let went_well = came_to.is_ok();
            tell(&by, came_to);
            // Who comes and goes has nobody asked more often.
            tokio::time::sleep(pause).await;
            if went_well {
                pause = PAUSE;
                let _ = tokio::time::timeout(LONGEST_PAUSE, wanted.wait_for(|is_wanted| !*is_wanted)).await;
            } else {
                pause = LONGEST_PAUSE.min(2 * pause);
            }
        }
    };
    stop.run_until_cancelled(asking).await;
}

fn tell(by: &WakeBy, came_to: Result<Woken, WakeError>) {
    let scale = &by.scale;
    let result = match came_to {
        Ok(Woken::Woken) => {
            tracing::info!(%scale, "a backend is woken: it was at 0 replicas, and is at 1");
            "woken"
        }
        Ok(Woken::There) => {
            tracing::debug!(%scale, "a backend starts already");
            "there"
        }
        Err(error) => {
            tracing::warn!(%scale, "no backend is woken: {error}");
            error.result()
        }
    };
    counter!("forebay_hold_wake_calls", "result" => result).increment(1);
}

async fn wake(by: &WakeBy) -> Result<Woken, WakeError> {
    let api = api(by)?;
    let token = token(by).await?;
    let mut tries = TRIES;
    loop {
        let read = asked(&api, by, &token, Method::GET, None).await?;
        let scale: Scale = serde_json::from_slice(&read)
            .map_err(|error| WakeError::Lost(format!("its answer is no scale: {error}")))?;
        if scale.spec.replicas > 0 {
            return Ok(Woken::There);
        }
        let patch = serde_json::json!({
            "metadata": { "resourceVersion": scale.metadata.version },
            "spec": { "replicas": 1 },
        });
        tries -= 1;
        match asked(&api, by, &token, Method::PATCH, Some(patch.to_string())).await {
            Ok(_) => return Ok(Woken::Woken),
            Err(WakeError::Refused { status: StatusCode::CONFLICT, .. }) if tries > 0 => {}
            Err(error) => return Err(error),
        }
    }
}

/// Connections to the API, for one call: they are too seldom to be kept, and the CA's file may be another by the next.
fn api(by: &WakeBy) -> Result<Api, WakeError> {
    let mut plain = HttpConnector::new();
    plain.enforce_http(false);
    let tls = HttpsConnectorBuilder::new().with_tls_config(roots::config(Some(&by.ca_file))?);
    Ok(Client::builder(TokioExecutor::new()).build(tls.https_only().enable_http1().wrap_connector(plain)))
}

/// What proves who asks. Kubernetes writes another long before it ends.
async fn token(by: &WakeBy) -> Result<HeaderValue, WakeError> {
    let unread = |reason: String| WakeError::Token { path: by.token_file.clone(), reason };
    let text = tokio::fs::read_to_string(&by.token_file).await.map_err(|error| unread(error.to_string()))?;
    let mut token = HeaderValue::try_from(format!("Bearer {}", text.trim()))
        .map_err(|_| unread("it holds no token".to_owned()))?;
    token.set_sensitive(true);
    Ok(token)
}

/// The body of an answer that went well.
async fn asked(
    api: &Api,
    by: &WakeBy,
    token: &HeaderValue,
    method: Method,
    patch: Option<String>,
) -> Result<Vec<u8>, WakeError> {
    // With its causes: the outermost says only that it could not connect.
    let lost = |error: anyhow::Error| WakeError::Lost(format!("{error:#}"));
    let request = Request::builder().method(method).uri(by.scale.clone());
    // The name that the log of calls (audit) has for it.
    let request = request.header(AUTHORIZATION, token).header(USER_AGENT, AGENT);
    let request = match patch {
        Some(patch) => request.header(CONTENT_TYPE, "application/merge-patch+json").body(Body::from(patch)),
        None => request.body(Body::empty()),
    };
    let request = request.map_err(|error| lost(error.into()))?;
    let answer = api.request(request).await.map_err(|error| lost(error.into()))?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), MOST_SAID).collect().await;
    let body = body.map_err(|error| lost(anyhow::anyhow!(error)))?;
    let body = body.to_bytes().to_vec();
    if status.is_success() {
        return Ok(body);
    }
    let said =
        serde_json::from_slice(&body).map_or_else(|_| "no reason".to_owned(), |Refusal { message }| message);
    Err(WakeError::Refused { status, said, right: right(status) })
}

/// What would be right where the API refuses so.
fn right(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED => {
            "--hold-wake-token-file to hold a token of this pod's ServiceAccount that has not ended"
        }
        StatusCode::FORBIDDEN => {
            "a Role that gives the gate's ServiceAccount the verbs get and patch of that one scale: resources: \
             [deployments/scale], resourceNames: [NAME]"
        }
        StatusCode::NOT_FOUND => "--hold-wake-scale to name what runs backends",
        StatusCode::CONFLICT => "nobody to write that scale all the time",
        _ => "200",
    }
}
