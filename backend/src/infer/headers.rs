//! What HTTP headers and gRPC metadata have in common. Headers of a request -> tenant and directives; an answer -> the
//! headers that say whether it may be kept, and where it came from.

use forebay_protocol::cache_control::RequestDirectives;
use forebay_protocol::header::{
    AGE, CACHE_STATUS, X_FOREBAY_COST_US, X_FOREBAY_GENERATION, X_FOREBAY_TENANT, X_FOREBAY_TOKEN,
};
use forebay_protocol::tenant::Tenant;
use http::header::CACHE_CONTROL;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::{Answer, Miss, Source};
use crate::http::error::HttpError;
use crate::http::single;

/// Whether the filter proves itself.
pub(crate) fn is_filter(headers: &HeaderMap, filter_token: Option<blake3::Hash>) -> bool {
    let token = headers.get(X_FOREBAY_TOKEN).map(|token| blake3::hash(token.as_bytes()));
    // Hashes compare in constant time.
    token.is_some() && token == filter_token
}

/// The tenant that the filter names; none of others, whatever they sent.
///
/// # Errors
/// `Header` when the filter's tenant is ambiguous, or none.
pub(crate) fn tenant(headers: &HeaderMap, is_filter: bool) -> Result<Option<Tenant>, HttpError> {
    if is_filter { tenant_of(headers) } else { Ok(None) }
}

/// The tenant that the headers name.
///
/// # Errors
/// `Header` when it is ambiguous, or none.
pub(crate) fn tenant_of(headers: &HeaderMap) -> Result<Option<Tenant>, HttpError> {
    match single(headers, X_FOREBAY_TENANT)? {
        "" => Ok(None),
        name => Tenant::parse(name).map(Some).map_err(|_| HttpError::Header {
            name: X_FOREBAY_TENANT,
            reason: "must be 1 to 256 bytes of visible ASCII without comma and double quote",
        }),
    }
}

/// What the request says in `Cache-Control`.
pub(crate) fn directives(headers: &HeaderMap) -> RequestDirectives {
    RequestDirectives::parse(headers.get_all(CACHE_CONTROL).iter().map(HeaderValue::as_bytes))
}

/// The headers of an answer.
pub(crate) fn of(answer: &Answer) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(8);
    headers.insert(CACHE_CONTROL, policy(answer));
    let mut ours = |name: &'static str, value: HeaderValue| {
        headers.insert(HeaderName::from_static(name), value);
    };
    ours(X_FOREBAY_GENERATION, answer.version.generation_header.clone());
    ours(X_FOREBAY_COST_US, HeaderValue::from(answer.cost_us));
    if let Source::Pool { age_s } = answer.source {
        ours(AGE, HeaderValue::from(age_s));
    }
    ours(CACHE_STATUS, HeaderValue::from_static(status(answer.source)));
    headers
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
        Source::Collapsed => return "forebay-serve; fwd=uri-miss; collapsed",
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

/// A header's value; empty for what can't be one.
pub(crate) fn visible(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}
