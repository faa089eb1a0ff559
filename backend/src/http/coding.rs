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

/// Ours, the best first where a client likes several as much.
const CODINGS: [&str; 3] = ["zstd", "gzip", "deflate"];
const IDENTITY: &str = "identity";

/// Leaves of what a client accepts the one coding that it likes best of ours, if it likes any better than its answer as it is. So
/// nobody after this has a reason to refuse: who accepts nothing that there is gets the answer as it is (RFC 9110, 12.1), rather
/// than a 406 about a request that was done.
async fn choose(mut request: Request) -> Request {
    let headers = request.headers_mut();
    if headers.contains_key(ACCEPT_ENCODING) {
        let accepted = headers.get_all(ACCEPT_ENCODING).iter().map(HeaderValue::as_bytes);
        let chosen = best(accepted);
        headers.remove(ACCEPT_ENCODING);
        if let Some(coding) = chosen {
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(coding));
        }
    }
    request
}

/// The coding of an answer (RFC 9110, 12.5.3); `None`: as it is.
fn best<'a>(accepted: impl Iterator<Item = &'a [u8]>) -> Option<&'static str> {
    let mut said: Vec<(Vec<u8>, u16)> = Vec::new();
    for value in accepted {
        // A member that can't be read, or a list, says nothing.
        let read = members(value).unwrap_or_default();
        said.extend(read.into_iter().filter_map(weighed));
    }
    let weight =
        |name: &str| said.iter().find(|(said, _)| said == name.as_bytes()).map(|(_, weight)| *weight);
    let (others, unsaid) = (weight("*").unwrap_or(0), weight("*").unwrap_or(LEAST));
    let as_it_is = weight(IDENTITY).unwrap_or(unsaid);
    let ours = CODINGS.map(|coding| (coding, weight(coding).unwrap_or(others)));
    let liked = ours.into_iter().rev().max_by_key(|(_, weight)| *weight);
    liked.filter(|(_, weight)| *weight > 0 && *weight >= as_it_is).map(|(coding, _)| coding)
}

/// Of what is accepted without a word: less than anything that is named.
const LEAST: u16 = 1;
/// A weight of 1 (RFC 9110, 12.4.2).
const FULL: u16 = 1000;

/// A coding, in lower case, and how much it is liked; `None` for what is no weight.
fn weighed(member: &[u8]) -> Option<(Vec<u8>, u16)> {
    let mut parts = member.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    let mut name = parts.next().unwrap_or_default().to_ascii_lowercase();
    if name == b"x-gzip" {
        name = b"gzip".to_vec();
    }
    match (parts.next(), parts.next()) {
        (None, _) => Some((name, FULL)),
        (Some(weight), None) => Some((name, thousandths(weight)?)),
        (Some(_), Some(_)) => None,
    }
}

/// `q=0.5` as 500.
fn thousandths(weight: &[u8]) -> Option<u16> {
    let value = weight.strip_prefix(b"q=").or(weight.strip_prefix(b"Q="))?;
    let (whole, rest) = value.split_first()?;
    let digits = match rest {
        [] => rest,
        [b'.', digits @ ..] if digits.len() <= 3 && digits.iter().all(u8::is_ascii_digit) => digits,
        _ => return None,
    };
    let fraction =
        (0..3).fold(0, |sum, at| sum * 10 + u16::from(digits.get(at).map_or(0, |digit| digit - b'0')));
    match whole {
        b'0' => Some(fraction),
        b'1' if fraction == 0 => Some(FULL),
        _ => None,
    }
}

/// Encodes answers as `Accept-Encoding` asks, fast rather than small. One that goes out as it is says nothing of encodings:
/// it is right for whoever gets it, so caches may keep it for all.
pub(crate) fn encoded<S: Clone + Send + Sync + 'static>(routes: Router<S>) -> Router<S> {
    let compression = CompressionLayer::new()
        .quality(CompressionLevel::Fastest)
        .compress_when(SizeAbove::new(COMPRESSED_ABOVE_BYTES));
    let routes = routes.layer(compression).layer(middleware::map_request(choose));
    routes.layer(middleware::map_response(|mut answer: Response| {
        if !answer.headers().contains_key(CONTENT_ENCODING) {
            answer.headers_mut().remove(VARY);
        }
        std::future::ready(answer)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_coding_is_the_one_that_is_liked_best_of_those_that_there_are() {
        for (accepted, coding) in [
            (&[""][..], None),
            (&["gzip"], Some("gzip")),
            (&["X-GZip"], Some("gzip")),
            (&["deflate"], Some("deflate")),
            (&["br"], None),
            (&["br, deflate, gzip"], Some("gzip")),
            (&["deflate", "gzip, zstd"], Some("zstd")),
            (&["gzip;q=0.1, deflate;q=0.9"], Some("deflate")),
            (&["gzip ; q=0.5 , identity"], None),
            (&["gzip;q=0.5, identity;q=0.5"], Some("gzip")),
            (&["gzip;q=0.001"], Some("gzip")),
            (&["*"], Some("zstd")),
            (&["*;q=0.5, zstd;q=0"], Some("gzip")),
            (&["identity, *;q=0.1"], None),
            (&["gzip;q=0, gzip"], None),
        ] {
            assert_eq!(best(accepted.iter().map(|value| value.as_bytes())), coding, "{accepted:?}");
        }
    }

    #[test]
    fn who_accepts_nothing_that_there_is_gets_the_answer_as_it_is() {
        for accepted in [
            "br, *;q=0",
            "*;q=0",
            "*; Q=0.000",
            "identity;q=0",
            "identity;q=0, gzip;q=0",
            "br;q=1, identity;q=0.0",
            "*;q=0, identity;q=0",
            "identity;q=0, \"gzip",
            "gzip;q=2",
            "gzip;q=1.5",
            "gzip;q=0.1234",
            "gzip;q=-1",
            "gzip;q=",
            "gzip;q=0x",
            "gzip;level=1",
            "gzip;q=1;level=1",
            ";q=1",
            ",,",
            "gzip\u{e9}",
            "q=1",
        ] {
            assert_eq!(best([accepted.as_bytes()].into_iter()), None, "{accepted}");
        }
        assert_eq!(best([&b"\xff"[..], b"*;q=0"].into_iter()), None);
    }
}
