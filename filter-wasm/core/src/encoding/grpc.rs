//! V2 over gRPC: how a call reads, and how its answer is written. No filter can write trailers, so an answer is written into one that
//! the proxy makes: its headers, then its one message, behind which the proxy puts the status.
//!
//! ```text
//! open    a call's body -> its message, inflated
//! read    the message -> digest, wanted outputs, id
//! keep    the upstream's bytes -> a message to keep, without an id
//! begin   a reply -> headers
//! fill    a reply -> a body of one message
//! ```

use super::{Parsed, Said, parsed};
use crate::cache_status::Bypass;
use crate::reply::Reply;
use bytes::Bytes;
use flate2::bufread::GzDecoder;
use forebay_protocol::call::message::{self, Coding, HEAD_BYTES};
use forebay_protocol::call::take_wish;
use forebay_protocol::digest::Scope;
use forebay_protocol::limits::Limits;
use forebay_protocol::messages::ModelInferRequest;
use forebay_protocol::path::InferPath;
use forebay_protocol::wants::Wants;
use forebay_protocol::{contents, request};
use prost::Message as _;
use std::io::Read as _;

/// How messages may be compressed for the filter to look into them.
pub const GZIP: &[u8] = b"gzip";

/// The message of a call's body, of at most `room` bytes; one that is compressed is so by gzip.
///
/// # Errors
/// [`Bypass`]: it is no message, or one for which there is no room.
pub fn open(mut body: Vec<u8>, room: usize) -> Result<Vec<u8>, Bypass> {
    match message::coding(&body).ok_or(Bypass::Malformed)? {
        Coding::Plain => {
            body.drain(..HEAD_BYTES.min(body.len()));
            Ok(body)
        }
        Coding::Compressed => inflated(body.get(HEAD_BYTES..).unwrap_or_default(), room),
    }
}

fn inflated(compressed: &[u8], room: usize) -> Result<Vec<u8>, Bypass> {
    let most = u64::try_from(room).unwrap_or(u64::MAX).saturating_add(1);
    let mut message = Vec::new();
    let mut reader = GzDecoder::new(compressed);
    reader.by_ref().take(most).read_to_end(&mut message).map_err(|_| Bypass::Malformed)?;
    if message.len() > room {
        return Err(Bypass::BodyTooLarge);
    }
    // More behind it would be read by some and not by others.
    if reader.into_inner().is_empty() { Ok(message) } else { Err(Bypass::Malformed) }
}

/// Reads a request.
///
/// # Errors
/// [`Bypass`]: it is not understood without doubt, or not for a cache.
pub fn read(
    scope: &Scope<'_>,
    path: &InferPath<'_>,
    message: Vec<u8>,
    max_body_bytes: usize,
) -> Result<Parsed, Bypass> {
    let limits = Limits { max_body_bytes, ..Limits::default() };
    let mut request = ModelInferRequest::decode(Bytes::from(message)).map_err(|_| Bypass::Malformed)?;
    // A name may come twice, and the last one counts.
    if (request.model_name.as_str(), request.model_version.as_str()) != (path.model, path.version) {
        return Err(Bypass::Malformed);
    }
    take_wish(&mut request).map_err(|_| Bypass::Malformed)?;
    contents::canonicalize(&mut request, &limits).map_err(|_| Bypass::Malformed)?;
    request::validate(&request, &limits).map_err(|_| Bypass::Malformed)?;
    parsed(scope, &request, Wants::of_call(&request))
}

/// The message of an upstream's body, without its id. `None`: it is not one, or has more than `room` bytes.
pub fn keep(body: Vec<u8>, room: usize) -> Option<Vec<u8>> {
    open(body, room).ok().and_then(message::without_id)
}

/// Writes the headers of `reply`, to be handed to the proxy.
pub fn begin(reply: &Reply, write: impl FnOnce(Vec<(&str, &str)>)) {
    if let Reply::Kept { answer, status, now_ms, .. } = reply {
        let (said, status) = (Said::of(answer, *now_ms), status.to_string());
        let mut headers = said.headers(answer, &status);
        headers.insert(0, (":status", "200"));
        write(headers);
    }
}

/// The body of `reply`.
pub fn fill(reply: &Reply) -> Vec<u8> {
    let Reply::Kept { answer, id, .. } = reply else { return Vec::new() };
    let id = message::id_field(id);
    let Some(head) = message::head(answer.body.len().saturating_add(id.len())) else { return Vec::new() };
    [&head[..], &answer.body, &id].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::io::Write as _;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn framed(flag: u8, message: &[u8]) -> Vec<u8> {
        let [_, length @ ..] = message::head(message.len()).unwrap();
        [&[flag], &length[..], message].concat()
    }

    #[test]
    fn a_message_is_opened_within_its_room() {
        let zeros = vec![0; 100_000];
        assert_eq!(open(framed(0, b"abc"), 0), Ok(b"abc".to_vec()), "what came is there already");
        assert_eq!(open(framed(1, &gzip(&zeros)), 100_000), Ok(zeros.clone()));
        assert_eq!(open(framed(1, &gzip(&zeros)), 99_999), Err(Bypass::BodyTooLarge));
        for body in [
            b"".to_vec(),
            framed(1, b"abc"),
            framed(1, &gzip(&zeros)[..50]),
            framed(1, &[gzip(b"a"), b"b".to_vec()].concat()),
            [framed(0, b""), framed(0, b"")].concat(),
        ] {
            assert_eq!(open(body.clone(), 100_000), Err(Bypass::Malformed), "{:?}", body.escape_ascii());
        }
    }
}
