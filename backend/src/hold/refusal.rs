//! Why a held request gets no answer -> one in its protocol's own form, with the time after which it may come again.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use forebay_protocol::response::error_body;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderName, HeaderValue, StatusCode};
use tonic::Code;

use super::asked::Protocol;
use super::line::Full;
use crate::body::BodyError;
use crate::class::Class;

/// When a client of gRPC may try again, in milliseconds (gRFC A6).
const PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HoldError {
    #[error(transparent)]
    Full(#[from] Full),
    #[error("no backend was ready in the time that the request had")]
    Late,
    #[error("a backend took the request and did not answer it in the time that it had")]
    Unanswered,
    #[error(
        "a backend is awake, and has not answered an equal request, which came before, in the time that this one had"
    )]
    Behind,
    #[error("no backend is awake; an inference wakes one")]
    Asleep,
    #[error("the backend broke off before it answered: {0}")]
    Broken(String),
    #[error("the request says only-if-cached, and no answer is cached")]
    OnlyIfCached,
    #[error("this gate ends")]
    Ends,
    #[error(transparent)]
    Body(#[from] BodyError),
}

impl HoldError {
    fn class(&self) -> Class {
        match self {
            Self::Full(_) | Self::Late | Self::Asleep | Self::Ends | Self::Broken(_) => Class::Rejected,
            // It may have been computed: whoever sends it again has it computed twice.
            Self::Unanswered | Self::Behind => Class::Late,
            Self::OnlyIfCached => Class::Uncached,
            Self::Body(error) => error.class(),
        }
    }

    /// As a metric's label.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::Full(_) => "full",
            Self::Late => "late",
            Self::Unanswered | Self::Behind => "unanswered",
            Self::Asleep => "asleep",
            Self::Broken(_) => "broken",
            Self::OnlyIfCached => "only_if_cached",
            Self::Ends => "ends",
            Self::Body(_) => "body",
        }
    }

    /// The answer; a client that may come again is told after how many seconds.
    pub(super) fn answer(&self, protocol: Protocol, retry_after: u64) -> Response {
        let class = self.class();
        let mut answer = match protocol {
            Protocol::Http => {
                let mut answer =
                    (crate::http::error::status(class), error_body(&self.to_string())).into_response();
                answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                answer
            }
            Protocol::Grpc => crate::grpc::status::status(class, self).into_http::<Body>(),
        };
        let headers = answer.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if matches!(class, Class::Rejected | Class::Full) {
            headers.insert(RETRY_AFTER, HeaderValue::from(retry_after));
            if protocol == Protocol::Grpc {
                headers.insert(PUSHBACK, HeaderValue::from(retry_after.saturating_mul(1000)));
            }
        }
        answer
    }
}

/// Whether a backend says that it took no more, and so has not begun.
pub(super) fn is_refusal<T>(answer: &http::Response<T>) -> bool {
    let status =
        answer.headers().get("grpc-status").and_then(|status| status.to_str().ok()?.parse::<i32>().ok());
    match status.map(Code::from) {
        Some(code) => matches!(code, Code::Unavailable | Code::ResourceExhausted),
        None => [StatusCode::SERVICE_UNAVAILABLE, StatusCode::TOO_MANY_REQUESTS].contains(&answer.status()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_protocol_is_told_in_its_own_words_when_to_come_again() {
        let full = HoldError::Full(Full::Requests(5));
        let answer = full.answer(Protocol::Http, 12);
        assert_eq!(
            (answer.status(), &answer.headers()[RETRY_AFTER]),
            (StatusCode::SERVICE_UNAVAILABLE, &"12".parse().unwrap())
        );
        let answer = HoldError::Late.answer(Protocol::Grpc, 12);
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.headers()["grpc-status"], "14");
        assert_eq!(answer.headers()[PUSHBACK], "12000");
        // One that was taken is not to be sent again without thought.
        let answer = HoldError::Unanswered.answer(Protocol::Http, 12);
        assert_eq!((answer.status(), answer.headers().get(RETRY_AFTER)), (StatusCode::GATEWAY_TIMEOUT, None));
        assert_eq!(HoldError::Behind.answer(Protocol::Grpc, 12).headers()["grpc-status"], "4");
        let body = HoldError::Body(BodyError::TooLarge { limit: 1 });
        assert_eq!(body.answer(Protocol::Http, 1).status(), StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(body.answer(Protocol::Grpc, 1).headers()["grpc-status"], "11");
    }

    #[test]
    fn what_a_backend_has_not_begun_is_told_from_what_it_failed_at() {
        let answer = |status: u16, grpc: Option<&str>| {
            let mut answer = http::Response::builder().status(status);
            if let Some(code) = grpc {
                answer = answer.header("grpc-status", code);
            }
            is_refusal(&answer.body(()).unwrap())
        };
        assert!(answer(503, None) && answer(429, None) && answer(200, Some("14")) && answer(200, Some("8")));
        assert!(
            !answer(200, None) && !answer(500, None) && !answer(200, Some("0")) && !answer(200, Some("13"))
        );
    }
}
