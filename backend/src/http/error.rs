//! Everything that can go wrong with a request -> one answer in V2's error form. This is the only place where a cause
//! becomes a status.

use axum::response::{IntoResponse, Response};
use forebay_protocol::predict::PredictError;
use forebay_protocol::request::RequestError;
use forebay_protocol::response::{self, ResponseError};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, StatusCode};

use super::budget::Spent;
use super::metered::Unread;
use super::pace::Slow;
use crate::control::ControlError;
use crate::engine::EngineError;
use crate::gate::Uncounted;
use crate::infer::InferError;
use crate::live::{TooMany, Untold};
use crate::logs::{LogError, seldom};
use crate::models::UnknownModel;
use crate::schedule::RunError;
use crate::trace::TraceError;

/// Seconds after which a refused client may come again: queues empty in less.
const RETRY_SECONDS: u16 = 1;

/// Why a request gets no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpError {
    #[error("no such path: {path}")]
    NoSuchPath { path: String },
    #[error("{path} doesn't take {method}; the header allow names what it takes")]
    Method { path: String, method: http::Method },
    #[error("the body is larger than the limit of {limit} bytes (--max-body-bytes)")]
    BodyTooLarge { limit: usize },
    #[error("the body {0}")]
    Slow(Slow),
    #[error(transparent)]
    Spent(#[from] Spent),
    #[error("the body could not be read: {reason}")]
    BodyBroken { reason: String },
    #[error(
        "content-encoding {encoding:?} is not supported; send gzip, deflate, zstd or the body as it is (identity)"
    )]
    Encoding { encoding: String },
    #[error("the body is not as it should be: {reason}")]
    Body { reason: String },
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
    #[error("header {name}: {reason}")]
    Header { name: &'static str, reason: &'static str },
    #[error(
        "no credential is shown that may speak for this service: x-forebay-token, or a client's certificate"
    )]
    Credential,
    #[error("the credential that is shown may not speak for this tenant")]
    Tenant,
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

impl From<Unread> for HttpError {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::Slow(slow) => Self::Slow(slow),
            Unread::Spent(spent) => Self::Spent(spent),
            Unread::TooLarge { limit } => Self::BodyTooLarge { limit },
            Unread::Broken(error) => Self::BodyBroken { reason: error.to_string() },
        }
    }
}

impl HttpError {
    fn status(&self) -> StatusCode {
        match self {
            Self::NoSuchPath { .. } => StatusCode::NOT_FOUND,
            Self::Method { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::BodyTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Request(error) if error.is_too_large() => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Slow(_) => StatusCode::REQUEST_TIMEOUT,
            Self::Encoding { .. } => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Credential => StatusCode::UNAUTHORIZED,
            Self::Tenant | Self::Restricted { .. } => StatusCode::FORBIDDEN,
            Self::Log(LogError::Reload(_)) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Log(LogError::Fixed { .. }) | Self::Trace(_) => StatusCode::NOT_IMPLEMENTED,
            Self::BodyBroken { .. }
            | Self::Body { .. }
            | Self::Request(_)
            | Self::Header { .. }
            | Self::Response(_)
            | Self::Predict(_)
            | Self::Log(_) => StatusCode::BAD_REQUEST,
            Self::Control(error) => match error {
                ControlError::Polling | ControlError::NotExplicit | ControlError::Busy { .. } => {
                    StatusCode::SERVICE_UNAVAILABLE
                }
                ControlError::Unknown(_) | ControlError::NoFolder { .. } => StatusCode::NOT_FOUND,
                ControlError::Files { .. } | ControlError::Repository(_) | ControlError::Ended { .. } => {
                    StatusCode::INTERNAL_SERVER_ERROR
                }
                ControlError::Stopped { .. } => StatusCode::CONFLICT,
                _ => StatusCode::BAD_REQUEST,
            },
            Self::NoGenerations
            | Self::TooManyProxies(_)
            | Self::Uncounted(_)
            | Self::Untold(_)
            | Self::Spent(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Infer(error) => match error {
                InferError::Unknown(_) => StatusCode::NOT_FOUND,
                InferError::SharedMemory => StatusCode::NOT_IMPLEMENTED,
                InferError::OnlyIfCached | InferError::Deadline => StatusCode::GATEWAY_TIMEOUT,
                InferError::Queue(_)
                | InferError::Run(RunError::Expired | RunError::Engine(EngineError::Away { .. })) => {
                    StatusCode::SERVICE_UNAVAILABLE
                }
                InferError::Mismatch(_)
                | InferError::Manner(_)
                | InferError::Run(RunError::Engine(EngineError::BadInput(_))) => StatusCode::BAD_REQUEST,
                InferError::Run(_) | InferError::Lost => StatusCode::INTERNAL_SERVER_ERROR,
            },
        }
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
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, HeaderValue::from(RETRY_SECONDS));
        }
        answer
    }
}
