//! A request's body -> its bytes, within the limits. A body that came in one piece is not copied.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use http_body_util::{BodyExt, LengthLimitError, Limited};

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
    let encoded = headers
        .get_all(CONTENT_ENCODING)
        .iter()
        .find(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity") && !value.is_empty());
    if let Some(encoding) = encoded {
        let encoding = String::from_utf8_lossy(encoding.as_bytes()).into_owned();
        return Err(HttpError::Encoding { encoding });
    }
    let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > limits.bytes as u64) {
        return Err(HttpError::BodyTooLarge { limit: limits.bytes });
    }
    let collected = tokio::time::timeout(limits.time, Limited::new(body, limits.bytes).collect());
    match collected.await {
        Err(_) => Err(HttpError::BodyTooSlow { seconds: limits.time.as_secs_f64() }),
        Ok(Err(error)) if is_too_large(error.as_ref()) => {
            Err(HttpError::BodyTooLarge { limit: limits.bytes })
        }
        Ok(Err(error)) => Err(HttpError::BodyBroken { reason: error.to_string() }),
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
    }
}

fn is_too_large(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source())
        .any(<dyn std::error::Error>::is::<LengthLimitError>)
}
