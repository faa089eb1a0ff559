//! `POST .../infer`: path, headers and body -> a decoded request -> `infer` -> the answer in the encoding the client
//! wants, with the model's policy as `Cache-Control`.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::Bytes;
use forebay_protocol::cache_control::RequestDirectives;
use forebay_protocol::header::{
    AGE, CACHE_STATUS, INFERENCE_HEADER_CONTENT_LENGTH, X_FOREBAY_COST_US, X_FOREBAY_GENERATION,
    X_FOREBAY_TENANT, X_FOREBAY_TOKEN,
};
use forebay_protocol::limits::Limits;
use forebay_protocol::path::InferPath;
use forebay_protocol::request;
use forebay_protocol::response::{self, Encoded};
use forebay_protocol::wants::Wants;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::body::{self, BodyLimits};
use super::error::HttpError;
use super::single;
use crate::infer::{Answer, Caller, Inference, Miss, Source};

/// What the infer routes need.
pub(crate) struct InferRoutes {
    pub(crate) inference: Inference,
    pub(crate) limits: Limits,
    pub(crate) body_limits: BodyLimits,
    /// Hash of the token by which the filter proves itself.
    pub(crate) filter_token: Option<blake3::Hash>,
}

/// The two spellings of infer.
pub(crate) fn routes(state: Arc<InferRoutes>) -> Router {
    Router::new()
        .route("/v2/models/{model}/infer", post(infer))
        .route("/v2/models/{model}/versions/{version}/infer", post(infer))
        .with_state(state)
}

async fn infer(State(routes): State<Arc<InferRoutes>>, request: Request) -> Result<Response, HttpError> {
    let (head, body) = request.into_parts();
    let path = head.uri.path();
    let parsed = InferPath::parse(path).ok_or_else(|| HttpError::NoSuchPath { path: path.to_owned() })?;
    let lengths = head.headers.get_all(INFERENCE_HEADER_CONTENT_LENGTH);
    let header_length = request::header_length(lengths.iter().map(HeaderValue::as_bytes))?;
    let body: Bytes = body::read(&head.headers, body, routes.body_limits).await?;
    let request = request::decode(&parsed, header_length, &body, &routes.limits)?;
    let wants = Wants::of(&request);
    let id = request.id.clone();
    let tenant = routes.tenant(&head.headers)?;
    let directives =
        RequestDirectives::parse(head.headers.get_all(CACHE_CONTROL).iter().map(HeaderValue::as_bytes));
    let caller = Caller { tenant, directives: &directives, deadline: None };
    let answer = routes.inference.answer(request, &caller).await?;
    let encoded = response::encode(&answer.response, &wants, &id)?;
    Ok(respond(&answer, encoded))
}

impl InferRoutes {
    /// The tenant that an authenticated filter names; "" otherwise, whatever the client sent.
    fn tenant<'a>(&self, headers: &'a HeaderMap) -> Result<&'a str, HttpError> {
        let token = headers.get(X_FOREBAY_TOKEN).map(|token| blake3::hash(token.as_bytes()));
        match (token, self.filter_token) {
            // Hashes compare in constant time.
            (Some(token), Some(expected)) if token == expected => single(headers, X_FOREBAY_TENANT),
            _ => Ok(""),
        }
    }
}

fn respond(answer: &Answer, encoded: Encoded) -> Response {
    let mut response = Body::from(encoded.body).into_response();
    let headers = response.headers_mut();
    let content_type = match encoded.header_length {
        None => "application/json",
        Some(length) => {
            headers
                .insert(HeaderName::from_static(INFERENCE_HEADER_CONTENT_LENGTH), HeaderValue::from(length));
            "application/octet-stream"
        }
    };
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, policy(answer));
    let mut ours = |name: &'static str, value: HeaderValue| {
        headers.insert(HeaderName::from_static(name), value);
    };
    ours(X_FOREBAY_GENERATION, visible(&answer.version.generation.to_string()));
    ours(X_FOREBAY_COST_US, HeaderValue::from(answer.cost_us));
    if let Source::Pool { age_s } = answer.source {
        ours(AGE, HeaderValue::from(age_s));
    }
    ours(CACHE_STATUS, HeaderValue::from_static(status(answer.source)));
    response
}

/// The model's policy; no-store when caching is off, or this answer isn't kept here either.
fn policy(answer: &Answer) -> HeaderValue {
    match (answer.version.freshness, answer.source) {
        (None, _) | (_, Source::Session { miss: Miss::Off | Miss::Bypass, .. }) => {
            HeaderValue::from_static("no-store")
        }
        (Some(freshness), _) => visible(&freshness.to_string()),
    }
}

/// RFC 9211, with this server as the cache.
fn status(source: Source) -> &'static str {
    let (miss, stored) = match source {
        Source::Pool { .. } => return "forebay-serve; hit",
        Source::Session { miss, stored } => (miss, stored),
    };
    match (miss, stored) {
        (Miss::Off, _) => "forebay-serve; fwd=bypass; detail=off",
        (Miss::Bypass, _) => "forebay-serve; fwd=bypass",
        (Miss::Request, true) => "forebay-serve; fwd=request; stored",
        (Miss::Request, false) => "forebay-serve; fwd=request",
        (Miss::Absent, true) => "forebay-serve; fwd=uri-miss; stored",
        (Miss::Absent, false) => "forebay-serve; fwd=uri-miss",
    }
}

fn visible(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}
