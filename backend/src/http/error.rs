//! Everything that can go wrong with a request -> one answer in V2's error form. This is the only place where a class of error
//! becomes a status.

use axum::response::{IntoResponse, Response};
use forebay_protocol::path::PathError;
use forebay_protocol::predict::PredictError;
use forebay_protocol::raw::RawError;
use forebay_protocol::request::RequestError;
use forebay_protocol::response::{self, ResponseError};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, StatusCode};

use crate::body::BodyError;
use crate::body::budget::Spent;
use crate::cache::live::{PurgeError, TooMany, Uncounted, Untold};
use crate::class::Class;
use crate::infer::InferError;
use crate::models::UnknownModel;
use crate::models::control::ControlError;
use crate::observe::logs::{LogError, seldom};
use crate::observe::trace::TraceError;
use crate::schedule::RunError;
use crate::upstream::UpstreamError;

/// Seconds after which a refused client may come again: queues empty in less.
const RETRY_SECONDS: u16 = 1;

/// Why a request gets no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpError {
    #[error("no such path: {path}")]
    NoSuchPath { path: String },
    #[error("{path} doesn't take {method}; the header allow names what it takes")]
    Method { path: String, method: http::Method },
    #[error(transparent)]
    Body(#[from] BodyError),
    #[error(transparent)]
    Control(#[from] ControlError),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Trace(#[from] TraceError),
    #[error("{0}")]
    Request(#[from] RequestError),
    #[error(transparent)]
    Infer(#[from] InferError),
    #[error("{0}")]
    Response(#[from] ResponseError),
    #[error("{0}")]
    Predict(#[from] PredictError),
    #[error(transparent)]
    Raw(#[from] RawError),
    #[error(transparent)]
    Path(#[from] PathError),
    #[error("header {name}: {reason}")]
    Header { name: &'static str, reason: &'static str },
    #[error(
        "no credential is shown that may speak for this service: x-forebay-token, or a client's certificate"
    )]
    Credential,
    #[error("the credential that is shown may not speak for this tenant")]
    Tenant,
    #[error("nobody may purge or look here: this gate was started without --operators-file")]
    NoOperators,
    #[error("no token of the gate's --operators-file is shown in x-forebay-token")]
    NoOperator,
    #[error(transparent)]
    Purge(#[from] PurgeError),
    /// Triton's words.
    #[error("This API is restricted, expecting header '{header}'")]
    Restricted { header: http::HeaderName },
    #[error("the live generations are not known: the pool can't be reached")]
    NoGenerations,
    #[error(transparent)]
    TooManyProxies(#[from] TooMany),
    #[error(transparent)]
    Uncounted(#[from] Uncounted),
    #[error(transparent)]
    Untold(#[from] Untold),
}

impl From<UnknownModel> for HttpError {
    fn from(unknown: UnknownModel) -> Self {
        Self::Infer(unknown.into())
    }
}

impl From<UpstreamError> for HttpError {
    fn from(error: UpstreamError) -> Self {
        Self::Infer(RunError::from(error).into())
    }
}

impl From<Spent> for HttpError {
    fn from(spent: Spent) -> Self {
        Self::Body(spent.into())
    }
}

impl HttpError {
    /// 404 and 405 of paths are HTTP's own; all else is of a class.
    pub(crate) fn status(&self) -> StatusCode {
        let class = match self {
            Self::NoSuchPath { .. } => return StatusCode::NOT_FOUND,
            Self::Method { .. } => return StatusCode::METHOD_NOT_ALLOWED,
            Self::Request(error) if error.is_too_large() => Class::TooLarge,
            Self::Raw(RawError::Decode(error)) if error.is_too_large() => Class::TooLarge,
            Self::Request(_)
            | Self::Header { .. }
            | Self::Response(_)
            | Self::Predict(_)
            | Self::Raw(_)
            | Self::Path(_) => Class::Wrong,
            Self::Body(error) => error.class(),
            Self::Control(error) => error.class(),
            Self::Log(error) => error.class(),
            Self::Trace(error) => error.class(),
            Self::Infer(error) => error.class(),
            Self::Credential | Self::NoOperator => Class::Unproven,
            Self::Tenant | Self::Restricted { .. } | Self::NoOperators => Class::Forbidden,
            Self::NoGenerations
            | Self::TooManyProxies(_)
            | Self::Uncounted(_)
            | Self::Untold(_)
            | Self::Purge(_) => Class::Rejected,
        };
        status(class)
    }
}

/// The status of a class.
pub(crate) fn status(class: Class) -> StatusCode {
    match class {
        Class::Wrong | Class::Left => StatusCode::BAD_REQUEST,
        Class::Unproven => StatusCode::UNAUTHORIZED,
        Class::Forbidden => StatusCode::FORBIDDEN,
        Class::Unknown => StatusCode::NOT_FOUND,
        Class::Slow => StatusCode::REQUEST_TIMEOUT,
        Class::Conflict => StatusCode::CONFLICT,
        Class::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Class::Coding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Class::Often => StatusCode::TOO_MANY_REQUESTS,
        Class::Failed => StatusCode::INTERNAL_SERVER_ERROR,
        Class::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Class::Rejected | Class::Full | Class::Away => StatusCode::SERVICE_UNAVAILABLE,
        Class::Late | Class::Uncached => StatusCode::GATEWAY_TIMEOUT,
    }
}

impl IntoResponse for HttpError {
    fn into_response(self) -> Response {
        let status = self.status();
        if status == StatusCode::INTERNAL_SERVER_ERROR {
            seldom!(error, "a request failed: {self}");
        }
        let mut answer = (status, response::error_body(&self.to_string())).into_response();
        let headers = answer.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
            headers.insert(RETRY_AFTER, HeaderValue::from(RETRY_SECONDS));
        }
        answer
    }
}
