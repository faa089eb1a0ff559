//! The content coding of answers: what a client accepts -> its answer, encoded where that helps.

use axum::extract::Request;
use axum::response::Response;
use axum::{Router, middleware};
use forebay_protocol::field_value::members;
use http::HeaderValue;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, VARY};
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::SizeAbove;

/// Smaller answers fit one packet (an Ethernet frame's payload is 1500 bytes) however they are encoded.
const COMPRESSED_ABOVE_BYTES: u64 = 1400;

/// What a client accepts, without a word against answers as they are: those it gets all the same where no other coding is
/// known (RFC 9110, 12.5.3), rather than a 406 about a request that was done.
async fn take_identity(mut request: Request) -> Request {
    let accepted = request.headers().get_all(ACCEPT_ENCODING);
    let lists: Vec<_> = accepted.iter().filter_map(|value| members(value.as_bytes()).ok()).collect();
    if lists.iter().flatten().any(|member| refuses_identity(member)) {
        let kept = lists.iter().flatten().filter(|member| !refuses_identity(member));
        let kept = HeaderValue::from_bytes(&kept.copied().collect::<Vec<_>>().join(&b", "[..]));
        request.headers_mut().remove(ACCEPT_ENCODING);
        if let Ok(kept) = kept {
            request.headers_mut().insert(ACCEPT_ENCODING, kept);
        }
    }
    request
}

/// `identity` or `*`, with a weight of 0.
fn refuses_identity(member: &[u8]) -> bool {
    let mut parts = member.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    let name = parts.next().unwrap_or_default();
    let is_zero = |part: &[u8]| {
        let weight = part.strip_prefix(b"q=").or(part.strip_prefix(b"Q="));
        weight.is_some_and(|weight| {
            weight.first() == Some(&b'0') && weight.iter().all(|byte| matches!(byte, b'0' | b'.'))
        })
    };
    (name == b"*" || name.eq_ignore_ascii_case(b"identity")) && parts.any(is_zero)
}

/// Encodes answers as `Accept-Encoding` asks, fast rather than small. One that goes out as it is says nothing of encodings:
/// it is right for whoever gets it, so caches may keep it for all.
pub(crate) fn encoded<S: Clone + Send + Sync + 'static>(routes: Router<S>) -> Router<S> {
    let compression = CompressionLayer::new()
        .quality(CompressionLevel::Fastest)
        .compress_when(SizeAbove::new(COMPRESSED_ABOVE_BYTES));
    let routes = routes.layer(compression).layer(middleware::map_request(take_identity));
    routes.layer(middleware::map_response(|mut answer: Response| {
        if !answer.headers().contains_key(CONTENT_ENCODING) {
            answer.headers_mut().remove(VARY);
        }
        std::future::ready(answer)
    }))
}
