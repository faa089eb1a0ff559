//! What the server says of itself over HTTP: whether it is ready, which models it has, their metadata and configurations, as JSON. Next:
//! `models::front` goes by it.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use forebay_protocol::header::CONTENT_TYPE_JSON;
use forebay_protocol::path::encoded;
use http::header::CONTENT_TYPE;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use serde::Deserialize;
use serde_json::Value;

use super::{Protocol, Upstream, UpstreamError, late};

/// What it says of itself comes within so long.
const PATIENCE: Duration = Duration::from_secs(5);
/// Of one answer.
const MOST_BYTES: usize = 8 << 20;

/// Of a question that has a body: some servers refuse an empty one.
const NOTHING_MORE: &str = "{}";
/// How servers say that something isn't there: Triton has 400 for a model that it doesn't serve.
const NOT_THERE: [StatusCode; 4] = [
    StatusCode::BAD_REQUEST,
    StatusCode::NOT_FOUND,
    StatusCode::METHOD_NOT_ALLOWED,
    StatusCode::NOT_IMPLEMENTED,
];

/// A model of the server's index that is served.
#[derive(Debug, Deserialize)]
struct Indexed {
    name: String,
    #[serde(default)]
    state: String,
}

impl Upstream {
    /// Whether it takes requests, over HTTP and gRPC.
    ///
    /// # Errors
    /// `Unreachable`, `Late`, and what it says instead.
    pub(crate) async fn is_ready(&self) -> Result<bool, UpstreamError> {
        let (status, _) = self.ask(Method::GET, "/v2/health/ready").await?;
        Ok(status == StatusCode::OK && self.is_ready_over_grpc(PATIENCE).await?)
    }

    /// Its name, version and extensions.
    ///
    /// # Errors
    /// As [`Self::is_ready`], and `Unusable`.
    pub(crate) async fn server(&self) -> Result<Value, UpstreamError> {
        let said = self.said(Method::GET, "/v2").await?;
        said.ok_or_else(|| UpstreamError::Unusable { reason: "/v2 is not there".to_owned() })
    }

    /// The models that it serves; none where it has no index.
    ///
    /// # Errors
    /// As [`Self::server`].
    pub(crate) async fn index(&self) -> Result<Vec<String>, UpstreamError> {
        let Some(said) = self.said(Method::POST, "/v2/repository/index").await? else {
            return Ok(Vec::new());
        };
        let unusable = |error: serde_json::Error| UpstreamError::Unusable { reason: error.to_string() };
        let mut index: Vec<Indexed> = serde_json::from_value(said).map_err(unusable)?;
        index.retain(|model| model.state == "READY");
        let mut names: Vec<String> = index.into_iter().map(|model| model.name).collect();
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }

    /// A model's metadata; `None` if it isn't served.
    ///
    /// # Errors
    /// As [`Self::server`].
    pub(crate) async fn metadata(&self, model: &str) -> Result<Option<Value>, UpstreamError> {
        self.said(Method::GET, &format!("/v2/models/{}", encoded(model))).await
    }

    /// A model's configuration; `None` where servers have none.
    ///
    /// # Errors
    /// As [`Self::server`].
    pub(crate) async fn configuration(&self, model: &str) -> Result<Option<Value>, UpstreamError> {
        self.said(Method::GET, &format!("/v2/models/{}/config", encoded(model))).await
    }

    /// What stands at a path; `None` if the server says that nothing does.
    async fn said(&self, method: Method, path: &str) -> Result<Option<Value>, UpstreamError> {
        let (status, body) = self.ask(method, path).await?;
        let unusable = |reason: String| UpstreamError::Unusable { reason: format!("{path}: {reason}") };
        match status {
            StatusCode::OK => Ok(Some(
                serde_json::from_slice(&body).map_err(|error| unusable(format!("it is no JSON: {error}")))?,
            )),
            status if NOT_THERE.contains(&status) => Ok(None),
            status => Err(unusable(format!("status {status}"))),
        }
    }

    async fn ask(&self, method: Method, path: &str) -> Result<(StatusCode, Bytes), UpstreamError> {
        let unusable = |reason: String| UpstreamError::Unusable { reason: format!("{path}: {reason}") };
        let request = Request::builder().uri(path);
        let request = if method == Method::POST {
            let request = request.header(CONTENT_TYPE, CONTENT_TYPE_JSON);
            request.method(method).body(Body::from(NOTHING_MORE))
        } else {
            request.method(method).body(Body::empty())
        };
        let request = request.map_err(|error| unusable(error.to_string()))?;
        let asked = async {
            let answer = self.pass(Protocol::Http, request, Some(PATIENCE)).await?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), MOST_BYTES).collect().await;
            Ok((status, body.map_err(|error| unusable(error.to_string()))?.to_bytes()))
        };
        let late = |_| late(&self.reach.to, PATIENCE);
        tokio::time::timeout(PATIENCE, asked).await.map_err(late)?
    }
}
