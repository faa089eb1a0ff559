//! What HTTP headers and gRPC metadata have in common: an answer -> the headers that say whether it may be kept, and where it
//! came from.

use forebay_protocol::entry::Field;
use forebay_protocol::header::{AGE, CACHE_STATUS, HIT_BY_SERVE, X_FOREBAY_COST_US, X_FOREBAY_GENERATION};
use http::header::CACHE_CONTROL;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::{Answer, Bypass, Miss, Source};
use crate::models::Policy;
use crate::trust::Unproven;

/// The headers of an answer.
pub(crate) fn of(answer: &Answer) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(8);
    headers.insert(CACHE_CONTROL, policy(answer));
    let mut ours = |name: &'static str, value: HeaderValue| {
        headers.insert(HeaderName::from_static(name), value);
    };
    if !answer.version.generation_header.is_empty() {
        ours(X_FOREBAY_GENERATION, generation(answer));
    }
    ours(X_FOREBAY_COST_US, HeaderValue::from(answer.cost_us));
    if let Source::Pool { age_s } = answer.source {
        ours(AGE, HeaderValue::from(age_s));
    }
    ours(CACHE_STATUS, HeaderValue::from_static(status(answer.source)));
    headers
}

/// The version's own was written once; of one that was purged it is another.
fn generation(answer: &Answer) -> HeaderValue {
    if answer.generation == answer.version.generation {
        return answer.version.generation_header.clone();
    }
    visible(&answer.generation.to_string())
}

/// Says of an answer that an upstream gave, to a request that went on as it came, why it did; and that nobody keeps it, unless the
/// upstream says otherwise.
pub(crate) fn passed(headers: &mut HeaderMap, miss: Miss) {
    let status = HeaderValue::from_static(status(Source::Session { miss, stored: false }));
    headers.append(HeaderName::from_static(CACHE_STATUS), status);
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
}

/// The model's policy, within the time that this answer is kept for; no-store when caching is off, or this answer isn't kept here either;
/// private when caches in front would give a tenant's answer to others.
fn policy(answer: &Answer) -> HeaderValue {
    let policy = answer.version.policy.map(|policy| policy.within(answer.response.max_age_s()));
    match (policy, answer.source) {
        (None, _) | (_, Source::Session { miss: Miss::Off | Miss::Bypass(_), .. }) => {
            HeaderValue::from_static("no-store")
        }
        (Some(policy), _) if answer.private => visible(&format!("private, {}", policy.freshness)),
        (Some(policy), _) => visible(&policy.to_string()),
    }
}

/// The field that is kept with an answer of that policy. It is never private: the key has the tenant, so only who parts by it
/// finds the entry.
pub(super) fn kept(policy: Policy) -> Field {
    Field { name: CACHE_CONTROL.as_str().to_owned(), value: policy.to_string().into() }
}

/// RFC 9211, with this server as the cache.
pub(super) fn status(source: Source) -> &'static str {
    let (miss, stored) = match source {
        Source::Pool { .. } => return HIT_BY_SERVE,
        Source::Collapsed => return "forebay-serve; fwd=uri-miss; collapsed",
        Source::Session { miss, stored } => (miss, stored),
    };
    match (miss, stored) {
        (Miss::Off, _) => "forebay-serve; fwd=bypass; detail=off",
        (Miss::Bypass(why), _) => bypass(why),
        (Miss::Request, true) => "forebay-serve; fwd=request; stored",
        (Miss::Request, false) => "forebay-serve; fwd=request",
        (Miss::Absent, true) => "forebay-serve; fwd=uri-miss; stored",
        (Miss::Absent, false) => "forebay-serve; fwd=uri-miss",
    }
}

fn bypass(why: Bypass) -> &'static str {
    match why {
        Bypass::NoStore => "forebay-serve; fwd=bypass; detail=no-store",
        Bypass::Uncacheable => "forebay-serve; fwd=bypass; detail=uncacheable",
        Bypass::Authorization => "forebay-serve; fwd=bypass; detail=authorization",
        Bypass::Unproven(Unproven::NoTenant) => "forebay-serve; fwd=bypass; detail=no-tenant",
        Bypass::Unproven(Unproven::TenancyDiffers) => "forebay-serve; fwd=bypass; detail=tenancy-differs",
    }
}

/// A header's value; empty for what can't be one.
fn visible(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use forebay_protocol::header::BY_SERVE;

    use super::*;

    #[test]
    fn every_status_begins_as_filters_know_it() {
        let misses = [Miss::Off, Miss::Request, Miss::Absent, Miss::Bypass(Bypass::NoStore)];
        let sessions = misses.map(|miss| Source::Session { miss, stored: false });
        let all = [Source::Pool { age_s: 0 }, Source::Collapsed].into_iter().chain(sessions);
        assert!(all.map(status).all(|status| status.starts_with(BY_SERVE)));
    }
}
