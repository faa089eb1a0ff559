//! Content codings. An encoded request body -> the bytes it stands for, within the limit, as they arrive; and the
//! layer that encodes answers for clients that accept it. Next: `infer` decodes the bytes.

use async_compression::tokio::bufread::{GzipDecoder, ZlibDecoder, ZstdDecoder};
use async_compression::zstd::DParameter;
use axum::extract::Request;
use axum::response::Response;
use axum::{Router, middleware};
use bytes::{Bytes, BytesMut};
use forebay_protocol::field_value::members;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, VARY};
use http::{HeaderMap, HeaderValue};
use http_body_util::{BodyDataStream, BodyExt};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio_util::io::StreamReader;
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::SizeAbove;

use super::budget::Charge;
use super::error::HttpError;
use super::metered::{Metered, Unread};

/// The largest window of the coding zstd: 8 MiB (RFC 9659, section 3). It bounds what a frame makes us allocate.
const ZSTD_WINDOW_LOG: u32 = 23;
/// Room for inflated bytes grows by this much at a time, and other tasks may run in between.
const STEP_BYTES: usize = 64 << 10;
/// Smaller answers fit one packet (an Ethernet frame's payload is 1500 bytes) however they are encoded.
const COMPRESSED_ABOVE_BYTES: u64 = 1400;

/// How a request's body is encoded.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Coding {
    Gzip,
    /// Zlib's form, as RFC 9110 (section 8.4.1.2) has it.
    Deflate,
    Zstd,
}

impl Coding {
    /// What `Content-Encoding` names; `None` when the body is as it is.
    ///
    /// # Errors
    /// `Encoding` for any other coding, and for several.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Option<Self>, HttpError> {
        let is_coding = |value: &&http::HeaderValue| {
            !value.as_bytes().eq_ignore_ascii_case(b"identity") && !value.is_empty()
        };
        let mut values = headers.get_all(CONTENT_ENCODING).iter().filter(is_coding);
        let Some(value) = values.next() else { return Ok(None) };
        let name = String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase();
        match (name.as_str(), values.next()) {
            ("gzip" | "x-gzip", None) => Ok(Some(Self::Gzip)),
            ("deflate", None) => Ok(Some(Self::Deflate)),
            ("zstd", None) => Ok(Some(Self::Zstd)),
            _ => Err(HttpError::Encoding { encoding: name }),
        }
    }
}

/// Inflates a body as it arrives; the limit counts inflated bytes.
///
/// # Errors
/// `BodyTooLarge` as soon as the limit is passed, `Slow`, `Spent`, `BodyBroken`.
pub(crate) async fn inflate(
    coding: Coding,
    body: Metered,
    limit: usize,
    charge: &Charge,
) -> Result<Bytes, HttpError> {
    let reader = StreamReader::new(BodyDataStream::new(body.map_err(std::io::Error::other)));
    match coding {
        Coding::Gzip => {
            let mut decoder = GzipDecoder::new(reader);
            decoder.multiple_members(true);
            collect(decoder, limit, charge).await
        }
        Coding::Deflate => collect(ZlibDecoder::new(reader), limit, charge).await,
        Coding::Zstd => {
            let window = [DParameter::window_log_max(ZSTD_WINDOW_LOG)];
            collect(ZstdDecoder::with_params(reader, &window), limit, charge).await
        }
    }
}

async fn collect(decoder: impl AsyncRead, limit: usize, charge: &Charge) -> Result<Bytes, HttpError> {
    let mut decoder = std::pin::pin!(decoder);
    let mut inflated = BytesMut::new();
    loop {
        inflated.reserve(STEP_BYTES);
        let read = decoder.read_buf(&mut inflated).await;
        let read = read.map_err(|error| match error.downcast::<Unread>() {
            Ok(unread) => unread.into(),
            Err(error) => HttpError::BodyBroken { reason: error.to_string() },
        })?;
        if inflated.len() > limit {
            return Err(HttpError::BodyTooLarge { limit });
        }
        charge.grow(read)?;
        if read == 0 {
            return Ok(inflated.freeze());
        }
        tokio::task::consume_budget().await;
    }
}

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
