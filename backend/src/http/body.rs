//! A request's body -> its bytes, within the limits. A body that came as it is, in one piece, is not copied; an
//! encoded one is inflated (`coding`).

use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;

use super::coding::{self, Coding};
use super::error::HttpError;

/// How large and how slow a body may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BodyLimits {
    pub(crate) bytes: usize,
    pub(crate) time: Duration,
}

/// Reads the whole body.
///
/// # Errors
/// `Encoding`, `BodyTooLarge` (at once where the length is announced), `BodyTooSlow` and `BodyBroken`.
pub(crate) async fn read(headers: &HeaderMap, body: Body, limits: BodyLimits) -> Result<Bytes, HttpError> {
    let coding = Coding::of(headers)?;
    let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > limits.bytes as u64) {
        return Err(HttpError::BodyTooLarge { limit: limits.bytes });
    }
    let bytes = async {
        match coding {
            None => plain(body, limits.bytes).await,
            Some(coding) => coding::inflate(coding, body, limits.bytes).await,
        }
    };
    let in_time = tokio::time::timeout(limits.time, bytes).await;
    in_time.unwrap_or_else(|_| Err(HttpError::BodyTooSlow { seconds: limits.time.as_secs_f64() }))
}

/// Reads a small request of management; an empty body is an empty one.
///
/// # Errors
/// Those of [`read`], and `Body` for what is not the JSON that is expected.
pub(crate) async fn read_json<T: Default + DeserializeOwned>(
    request: Request,
    limits: BodyLimits,
) -> Result<T, HttpError> {
    let (head, body) = request.into_parts();
    let body = read(&head.headers, body, limits).await?;
    if body.is_empty() {
        return Ok(T::default());
    }
    serde_json::from_slice(&body).map_err(|error| HttpError::Body { reason: error.to_string() })
}

async fn plain(body: Body, limit: usize) -> Result<Bytes, HttpError> {
    match Limited::new(body, limit).collect().await {
        Err(error) if is_too_large(error.as_ref()) => Err(HttpError::BodyTooLarge { limit }),
        Err(error) => Err(HttpError::BodyBroken { reason: error.to_string() }),
        Ok(collected) => Ok(collected.to_bytes()),
    }
}

fn is_too_large(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source())
        .any(<dyn std::error::Error>::is::<LengthLimitError>)
}
