//! The content coding of a request's body: encoded bytes -> those they stand for, within the limit, as they arrive.

use async_compression::tokio::bufread::{GzipDecoder, ZlibDecoder, ZstdDecoder};
use async_compression::zstd::DParameter;
use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::CONTENT_ENCODING;
use http_body_util::{BodyDataStream, BodyExt};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio_util::io::StreamReader;

use super::BodyError;
use super::budget::Charge;
use super::metered::{Metered, Unread};

/// The largest window of the coding zstd: 8 MiB (RFC 9659, section 3). It bounds what a frame makes us allocate.
const ZSTD_WINDOW_LOG: u32 = 23;
/// Room for inflated bytes grows by this much at a time, and other tasks may run in between.
const STEP_BYTES: usize = 64 << 10;

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
    pub(crate) fn of(headers: &HeaderMap) -> Result<Option<Self>, BodyError> {
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
            _ => Err(BodyError::Encoding { encoding: name }),
        }
    }
}

/// Inflates a body as it arrives; the limit counts inflated bytes.
///
/// # Errors
/// `TooLarge` as soon as the limit is passed, `Slow`, `Spent`, `Broken`.
pub(crate) async fn inflate(
    coding: Coding,
    body: Metered,
    limit: usize,
    charge: &Charge,
) -> Result<Bytes, BodyError> {
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

async fn collect(decoder: impl AsyncRead, limit: usize, charge: &Charge) -> Result<Bytes, BodyError> {
    let mut decoder = std::pin::pin!(decoder);
    let mut inflated = BytesMut::new();
    loop {
        inflated.reserve(STEP_BYTES);
        let read = decoder.read_buf(&mut inflated).await;
        let read = read.map_err(|error| match error.downcast::<Unread>() {
            Ok(unread) => unread.into(),
            Err(error) => BodyError::Broken { reason: error.to_string() },
        })?;
        if inflated.len() > limit {
            return Err(BodyError::TooLarge { limit });
        }
        charge.grow(read)?;
        if read == 0 {
            return Ok(inflated.freeze());
        }
        tokio::task::consume_budget().await;
    }
}
