//! Kubernetes' API, asked as the pod's `ServiceAccount`: a path enters, the body of an answer that went well leaves, or what was wrong and
//! what would be right. Next: `wake` reads and writes a scale; `external::front_proxy` reads who may ask for metrics.

use std::path::PathBuf;
use std::time::Duration;

use axum::body::Body;
use http::header::{AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use http::{HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::Deserialize;

use crate::settings::Account;
use crate::trust::roots::{self, RootsError};

/// All that is asked at once, from the files to the last answer.
pub(super) const CALL: Duration = Duration::from_secs(5);
const AGENT: &str = concat!("forebay-gate/", env!("CARGO_PKG_VERSION"));
/// Of an answer.
const MOST_SAID: usize = 256 << 10;

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApiError {
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

/// What the API says of a call that it refuses.
#[derive(Deserialize)]
struct Refusal {
    message: String,
}

/// Connections to the API, for one call: it is made too seldom for them to be kept, and the files may be others by the next.
pub(super) struct Api {
    client: Client<HttpsConnector<HttpConnector>, Body>,
    token: HeaderValue,
    /// What would be right where the API refuses so.
    right: fn(StatusCode) -> &'static str,
}

impl Api {
    pub(super) async fn open(
        account: &Account,
        right: fn(StatusCode) -> &'static str,
    ) -> Result<Self, ApiError> {
        let mut plain = HttpConnector::new();
        plain.enforce_http(false);
        let tls = HttpsConnectorBuilder::new().with_tls_config(roots::config(Some(&account.ca_file))?);
        let client = Client::builder(TokioExecutor::new())
            .build(tls.https_only().enable_http1().wrap_connector(plain));
        Ok(Self { client, token: token(account).await?, right })
    }

    pub(super) async fn get(&self, uri: &Uri) -> Result<Vec<u8>, ApiError> {
        self.ask(self.request(Method::GET, uri).body(Body::empty())).await
    }

    pub(super) async fn patch(&self, uri: &Uri, patch: String) -> Result<Vec<u8>, ApiError> {
        let request = self.request(Method::PATCH, uri).header(CONTENT_TYPE, "application/merge-patch+json");
        self.ask(request.body(Body::from(patch))).await
    }

    fn request(&self, method: Method, uri: &Uri) -> http::request::Builder {
        let request = Request::builder().method(method).uri(uri.clone());
        // The name that the log of calls (audit) has for it.
        request.header(AUTHORIZATION, &self.token).header(USER_AGENT, AGENT)
    }

    /// The body of an answer that went well.
    async fn ask(&self, request: http::Result<Request<Body>>) -> Result<Vec<u8>, ApiError> {
        // With its causes: the outermost says only that it could not connect.
        let lost = |error: anyhow::Error| ApiError::Lost(format!("{error:#}"));
        let request = request.map_err(|error| lost(error.into()))?;
        let answer = self.client.request(request).await.map_err(|error| lost(error.into()))?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), MOST_SAID).collect().await;
        let body = body.map_err(|error| lost(anyhow::anyhow!(error)))?;
        let body = body.to_bytes().to_vec();
        if status.is_success() {
            return Ok(body);
        }
        let said = serde_json::from_slice(&body)
            .map_or_else(|_| "no reason".to_owned(), |Refusal { message }| message);
        let right = match status {
            StatusCode::UNAUTHORIZED => {
                "--hold-wake-token-file to hold a token of this pod's ServiceAccount that has not ended"
            }
            _ => (self.right)(status),
        };
        Err(ApiError::Refused { status, said, right })
    }
}

/// What proves who asks. Kubernetes writes another long before it ends.
async fn token(account: &Account) -> Result<HeaderValue, ApiError> {
    let unread = |reason: String| ApiError::Token { path: account.token_file.clone(), reason };
    let text =
        tokio::fs::read_to_string(&account.token_file).await.map_err(|error| unread(error.to_string()))?;
    let mut token = HeaderValue::try_from(format!("Bearer {}", text.trim()))
        .map_err(|_| unread("it holds no token".to_owned()))?;
    token.set_sensitive(true);
    Ok(token)
}
