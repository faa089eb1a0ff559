//! Answering a client from a stored answer: the answer, the client's id and the status enter, one local reply leaves.

use crate::cache_status::CacheStatus;
use crate::host::Host;
use crate::l1::Answer;
use forebay_protocol::{header, response};

/// Sends `answer` to the client of `context`, with the client's `id` ("" for none).
pub fn reply(host: &dyn Host, context: u32, answer: &Answer, id: &str, status: CacheStatus, now_ms: u64) {
    let with_id = (!id.is_empty() && !answer.verbatim)
        .then(|| response::with_id(&answer.body, answer.header_length, id));
    let (body, header_length) = match &with_id {
        Some(encoded) => (encoded.body.as_slice(), encoded.header_length),
        None => (answer.body.as_slice(), answer.header_length),
    };
    let header_length = header_length.map(|length| length.to_string());
    let generation = answer.generation.as_ref().map(ToString::to_string);
    let (age, status) = (answer.age_s(now_ms).to_string(), status.to_string());
    let cache_control = format!("max-age={}", answer.max_age_s);
    let content_type =
        if header_length.is_some() { header::CONTENT_TYPE_BINARY } else { header::CONTENT_TYPE_JSON };

    let mut headers = vec![
        ("content-type", content_type),
        ("cache-control", &cache_control),
        (header::AGE, &age),
        (header::CACHE_STATUS, &status),
    ];
    if let Some(length) = &header_length {
        headers.push((header::INFERENCE_HEADER_CONTENT_LENGTH, length));
    }
    if let Some(generation) = &generation {
        headers.push((header::X_FOREBAY_GENERATION, generation));
    }
    host.reply(context, 200, headers, body);
}

/// Says 504 to a client that asked for `only-if-cached`.
pub fn reply_unsatisfiable(host: &dyn Host, context: u32, status: CacheStatus) {
    let body = response::error_body("no fresh result is cached, and the request says only-if-cached");
    let status = status.to_string();
    let headers = vec![("content-type", header::CONTENT_TYPE_JSON), (header::CACHE_STATUS, &status)];
    host.reply(context, 504, headers, &body);
}
