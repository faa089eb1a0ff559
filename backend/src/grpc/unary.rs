//! `ModelInfer` as nearly all clients send it: one message that is not compressed, over HTTP/2. It is read and answered here, without
//! the layers that tonic has for calls of every kind; any other goes on to tonic. A call enters; the pieces of one message leave, and
//! the status behind them (`reply`). Next: `Shared::answer`, as for tonic's calls.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use forebay_protocol::messages::ModelInferRequest;
use http::header::CONTENT_TYPE;
use http::{Method, Version};
use http_body_util::BodyExt as _;
use prost::Message as _;
use tonic::Status;
use tower::{Service as _, service_fn};

use super::call::{self, Came, GRPC_ENCODING};
use super::{Shared, reply, status};
use crate::body::metered::{HEAD_BYTES, Metered};
use crate::body::{Bodies, Pieces};
use crate::observe::trace::{Laps, Stage};

pub(super) const PATH: &str = "/inference.GRPCInferenceService/ModelInfer";

/// Answers such calls.
struct Unary {
    shared: Arc<Shared>,
    bodies: Bodies,
    /// What answers the others.
    calls: Router,
}

/// `calls`, with this before them.
pub(super) fn before(calls: Router, shared: Arc<Shared>, bodies: Bodies) -> Router {
    let unary = Arc::new(Unary { shared, bodies, calls: calls.clone() });
    let service = service_fn(move |request: Request| {
        let unary = unary.clone();
        async move { unary.answer(request).await }
    });
    calls.route_service(PATH, service)
}

impl Unary {
    async fn answer(&self, request: Request) -> Result<Response, Infallible> {
        if !is_plain(&request) {
            return self.calls.clone().call(request).await;
        }
        Ok(self.infer(request).await.unwrap_or_else(Status::into_http::<Body>))
    }

    async fn infer(&self, request: Request) -> Result<Response, Status> {
        let mut laps = Laps::begin();
        let (head, body) = request.into_parts();
        let deadline = call::deadline(&head.headers)?;
        let message = read(&self.bodies, body).await?;
        laps.end(Stage::Read);
        let request = ModelInferRequest::decode(message.clone());
        let request = request.map_err(|error| Status::internal(error.to_string()))?;
        let caller = self.shared.inference.caller(&head.headers, &head.extensions, deadline);
        let came = Came { message: &message, charge: self.bodies.budget.charge(), laps };
        let (headers, response) = self.shared.answer(request, came, &caller).await?;
        reply::of(headers, response)
    }
}

/// The message, which holds what it costs as long as anything reads a part of it.
pub(super) async fn read(bodies: &Bodies, body: Body) -> Result<Bytes, Status> {
    let charge = Arc::new(bodies.budget.charge());
    let mut body = Metered::new(body, bodies.least).of_message(bodies.bytes, charge.clone());
    let mut pieces = Pieces::default();
    let mut length = None;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|unread| status::of_unread(&unread))?;
        let Ok(data) = frame.into_data() else { continue };
        pieces.push(data);
        if length.is_none() {
            length = pieces.first_chunk().map(|head| announced(*head, bodies.bytes)).transpose()?;
        }
    }
    let whole = pieces.whole();
    match length {
        None if whole.is_empty() => Err(Status::internal("Missing request message.")),
        Some(length) if whole.len() - HEAD_BYTES >= length => {
            Ok(charge.on(whole).slice(HEAD_BYTES..HEAD_BYTES + length))
        }
        _ => Err(Status::internal("Unexpected EOF decoding stream.")),
    }
}

/// Whether tonic isn't needed for it.
pub(super) fn is_plain(request: &Request) -> bool {
    request.method() == Method::POST
        && request.version() == Version::HTTP_2
        && request
            .headers()
            .get(CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
        && !request.headers().contains_key(GRPC_ENCODING)
}

/// The length that a message's head says. What is wrong is said in tonic's words.
fn announced(head: [u8; HEAD_BYTES], most: usize) -> Result<usize, Status> {
    let [flag, length @ ..] = head;
    let length = u32::from_be_bytes(length) as usize;
    match flag {
        0 if length > most => Err(Status::out_of_range(format!(
            "Error, decoded message length too large: found {length} bytes, the limit is: {most} bytes"
        ))),
        0 => Ok(length),
        1 => Err(Status::internal(
            "protocol error: received message with compressed-flag but no grpc-encoding was specified",
        )),
        flag => Err(Status::internal(format!(
            "protocol error: received message with invalid compression flag: {flag} (valid flags are 0 and 1), while sending request"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::stream;
    use tonic::Code;

    use super::*;
    use crate::body::budget::Budget;
    use crate::body::pace::Least;

    fn bodies(bytes: usize) -> Bodies {
        let least = Least { time: Duration::from_mins(1), rate: 0 };
        Bodies { bytes, least, budget: Budget::new(2 * bytes) }
    }

    /// What is read of a body that comes in pieces of that size.
    async fn read_of(bodies: &Bodies, body: &[u8], size: usize) -> Result<Bytes, Status> {
        let pieces = body.chunks(size).map(|piece| Ok::<_, Infallible>(Bytes::copy_from_slice(piece)));
        read(bodies, Body::from_stream(stream::iter(pieces.collect::<Vec<_>>()))).await
    }

    #[tokio::test]
    async fn a_message_is_read_in_whatever_pieces_it_comes() {
        let bodies = bodies(100);
        for size in [1, 2, 5, 6, 200] {
            assert_eq!(read_of(&bodies, b"\0\0\0\0\x03abc", size).await.unwrap(), "abc", "{size}");
            assert_eq!(read_of(&bodies, b"\0\0\0\0\0", size).await.unwrap(), "", "{size}");
        }
        let message = read_of(&bodies, b"\0\0\0\0\x03abc", 8).await.unwrap();
        let is_full = |most| bodies.budget.charge().grow(most).is_err();
        assert!(is_full(193), "a message is charged as long as it is read");
        drop(message);
        assert!(!is_full(200));
    }

    #[tokio::test]
    async fn what_is_no_message_is_said_in_tonics_words() {
        let bodies = bodies(100);
        for (body, code, said) in [
            (&b""[..], Code::Internal, "Missing request message."),
            (b"\0\0\0", Code::Internal, "Unexpected EOF"),
            (b"\0\0\0\0\x03ab", Code::Internal, "Unexpected EOF"),
            (b"\0\0\0\0\x65a", Code::OutOfRange, "found 101 bytes, the limit is: 100 bytes"),
            (&[0; 106], Code::OutOfRange, "100 bytes at most"),
        ] {
            let status = read_of(&bodies, body, 200).await.unwrap_err();
            assert_eq!(status.code(), code, "{status}");
            assert!(status.message().contains(said), "{status}");
        }
    }

    #[test]
    fn a_head_says_how_long_its_message_is_or_what_is_wrong_with_it() {
        assert_eq!(announced([0, 0, 0, 1, 2], 258).unwrap(), 258);
        for (head, code) in [
            ([0, 0, 0, 1, 3], Code::OutOfRange),
            ([1, 0, 0, 0, 1], Code::Internal),
            ([2, 0, 0, 0, 1], Code::Internal),
        ] {
            assert_eq!(announced(head, 258).unwrap_err().code(), code, "{head:?}");
        }
    }
}
