//! An entry of the pool -> the answer to a request, in its encoding.

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use forebay_protocol::entry::Entry;
use forebay_protocol::header::{
    AGE, CACHE_STATUS, INFERENCE_HEADER_CONTENT_LENGTH, X_FOREBAY_COST_US, X_FOREBAY_GENERATION,
};
use forebay_protocol::messages::ModelInferRequest;
use forebay_protocol::response;
use forebay_protocol::wants::Wants;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::asked::Protocol;
use crate::cache::store::age_s;
use crate::grpc;
use crate::time::clock::now_ms;

/// The answer; `None` where the entry can't be one, as when an output is asked for that it doesn't have.
pub(super) fn of(
    protocol: Protocol,
    entry: &Entry,
    request: &ModelInferRequest,
    is_private: bool,
) -> Option<Response> {
    let kept = entry.response.as_ref()?;
    let mut answer = match protocol {
        Protocol::Http => {
            let encoded = response::encode(kept, &Wants::of(request), &request.id).ok()?;
            let kind = HeaderValue::from_static(encoded.content_type());
            let length = encoded.header_length;
            let mut answer = Body::from(encoded.body).into_response();
            answer.headers_mut().insert(CONTENT_TYPE, kind);
            if let Some(length) = length {
                answer.headers_mut().insert(
                    HeaderName::from_static(INFERENCE_HEADER_CONTENT_LENGTH),
                    HeaderValue::from(length),
                );
            }
            answer
        }
        Protocol::Grpc => {
            let mut kept = kept.clone();
            let wanted = request.outputs.iter().map(|output| output.name.as_str());
            response::arrange(&mut kept, wanted).ok()?;
            kept.id.clone_from(&request.id);
            grpc::message(HeaderMap::new(), kept).ok()?
        }
    };
    tell(answer.headers_mut(), entry, is_private);
    Some(answer)
}

fn tell(headers: &mut HeaderMap, entry: &Entry, is_private: bool) {
    for field in &entry.fields {
        let is_hidden = field.name == CACHE_CONTROL.as_str() && is_private;
        let value =
            if is_hidden { [b"private, ", &field.value[..]].concat().into() } else { field.value.clone() };
        let value = HeaderValue::from_maybe_shared(value);
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(field.name.as_bytes()), value) {
            headers.append(name, value);
        }
    }
    let mut ours =
        |name: &'static str, value: HeaderValue| headers.insert(HeaderName::from_static(name), value);
    let generation = entry.generation().map(|generation| generation.to_string()).unwrap_or_default();
    ours(X_FOREBAY_GENERATION, HeaderValue::from_str(&generation).unwrap_or(HeaderValue::from_static("")));
    ours(X_FOREBAY_COST_US, HeaderValue::from(entry.cost_us));
    ours(AGE, HeaderValue::from(age_s(entry, now_ms())));
    ours(CACHE_STATUS, HeaderValue::from_static("forebay-gate; hit"));
}
