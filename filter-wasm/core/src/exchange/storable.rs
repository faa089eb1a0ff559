//! May an upstream's answer be stored, going by its headers? They enter; what they say of it leaves, or why it may not.

use crate::cache_status::NotStored;
use crate::host::{Headers, first, number, values};
use forebay_protocol::cache_control::{Freshness, ResponseDirectives};
use forebay_protocol::digest::Generation;
use forebay_protocol::{header, request};

/// What the headers of a storable answer say.
pub(super) struct Storable {
    pub(super) generation: Option<Generation>,
    pub(super) age_s: u64,
    pub(super) freshness: Freshness,
    pub(super) header_length: Option<usize>,
    pub(super) content_length: Option<usize>,
}

/// Reads them.
pub(super) fn storable(
    headers: &Headers,
    needs_generation: bool,
    max_bytes: usize,
) -> Result<Storable, NotStored> {
    if first(headers, ":status") != Some(b"200") {
        return Err(NotStored::Status);
    }
    let directives =
        ResponseDirectives::parse(values(headers, "cache-control")).ok_or(NotStored::Uncacheable)?;
    if values(headers, "content-encoding").any(|encoding| !encoding.eq_ignore_ascii_case(b"identity")) {
        return Err(NotStored::Encoded);
    }
    if first(headers, "vary").is_some() || first(headers, "set-cookie").is_some() {
        return Err(NotStored::Varies);
    }
    let header_length = request::header_length(values(headers, header::INFERENCE_HEADER_CONTENT_LENGTH))
        .map_err(|_| NotStored::AmbiguousHeaders)?;
    let content_length = number(headers, "content-length");
    if content_length.is_some_and(|length| length > max_bytes) {
        return Err(NotStored::TooLarge);
    }
    let generation = number(headers, header::X_FOREBAY_GENERATION);
    if needs_generation && generation.is_none() {
        return Err(NotStored::NoGeneration);
    }
    let age_s = number(headers, header::AGE).unwrap_or(0);
    Ok(Storable { generation, age_s, freshness: directives.freshness, header_length, content_length })
}
