//! An answer's headers and response -> the answer of a call: one message, in pieces, and the status behind it. Large tensors go out
//! as they lie in memory.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, HttpBody};
use axum::response::Response;
use bytes::{BufMut as _, Bytes, BytesMut};
use forebay_protocol::messages::ModelInferResponse;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue};
use hyper::body::Frame;
use prost::{Message as _, encode_length_delimiter, length_delimiter_len};
use tonic::Status;

use crate::body::metered::HEAD_BYTES;

/// Tensors of so many bytes are pieces of their own: as much as a frame of HTTP/2 has.
const APART_BYTES: usize = 16 << 10;
/// What stands before each of `raw_output_contents`: its field's number, and that its length follows.
const RAW_OUTPUT: u8 = 6 << 3 | 2;

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
const OK: HeaderValue = HeaderValue::from_static("0");

/// The answer.
///
/// # Errors
/// When no message can be so long.
pub(crate) fn of(headers: HeaderMap, response: ModelInferResponse) -> Result<Response, Status> {
    Ok(in_pieces(headers, pieces(response)?))
}

/// The answer of one small message that is ready.
pub(crate) fn of_bytes(message: &'static [u8]) -> Response {
    let mut head = BytesMut::with_capacity(HEAD_BYTES);
    head.put_u8(0);
    head.put_u32(u32::try_from(message.len()).unwrap_or_default());
    in_pieces(HeaderMap::new(), vec![head.freeze(), Bytes::from_static(message)])
}

fn in_pieces(mut headers: HeaderMap, pieces: Vec<Bytes>) -> Response {
    headers.insert(CONTENT_TYPE, GRPC);
    let mut answer = Response::new(Body::new(Reply { pieces: pieces.into_iter(), is_ended: false }));
    *answer.headers_mut() = headers;
    answer
}

/// The message behind its head.
fn pieces(mut response: ModelInferResponse) -> Result<Vec<Bytes>, Status> {
    let tensors = std::mem::take(&mut response.raw_output_contents);
    let size = |data: &Bytes| 1 + length_delimiter_len(data.len()) + data.len();
    let length = response.encoded_len() + tensors.iter().map(size).sum::<usize>();
    let apart = tensors.iter().map(Bytes::len).filter(|size| *size >= APART_BYTES).sum::<usize>();
    let head = u32::try_from(length).map_err(|_| {
        Status::resource_exhausted(format!("the answer has {length} bytes: a message has 4 GiB at most"))
    })?;
    let mut bytes = BytesMut::with_capacity(HEAD_BYTES + length - apart);
    bytes.put_u8(0);
    bytes.put_u32(head);
    let unwritten = |error: prost::EncodeError| Status::internal(error.to_string());
    response.encode(&mut bytes).map_err(unwritten)?;
    let mut pieces = Vec::with_capacity(1);
    for data in tensors {
        bytes.put_u8(RAW_OUTPUT);
        encode_length_delimiter(data.len(), &mut bytes).map_err(unwritten)?;
        if data.len() < APART_BYTES {
            bytes.put_slice(&data);
        } else {
            pieces.extend([bytes.split().freeze(), data]);
        }
    }
    if !bytes.is_empty() {
        pieces.push(bytes.freeze());
    }
    Ok(pieces)
}

/// The body.
struct Reply {
    pieces: std::vec::IntoIter<Bytes>,
    /// The status is out.
    is_ended: bool,
}

impl HttpBody for Reply {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if let Some(piece) = self.pieces.next() {
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        let status = (!self.is_ended).then(|| Frame::trailers(HeaderMap::from_iter([(GRPC_STATUS, OK)])));
        self.is_ended = true;
        Poll::Ready(status.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.is_ended
    }
}

#[cfg(test)]
mod tests {
    use forebay_protocol::messages::{Choice, InferOutputTensor, InferParameter};
    use futures_util::FutureExt as _;
    use http_body_util::BodyExt as _;

    use super::*;

    #[test]
    fn the_pieces_are_the_message_and_large_tensors_are_not_copied() {
        for sizes in [&[][..], &[0], &[5, 300], &[APART_BYTES], &[7, APART_BYTES, 0, APART_BYTES + 1, 9]] {
            let tensors: Vec<Bytes> = sizes.iter().map(|size| Bytes::from(vec![7; *size])).collect();
            let output = |name: usize| InferOutputTensor { name: name.to_string(), ..Default::default() };
            let parameter = InferParameter { choice: Some(Choice::Bool(true)) };
            let response = ModelInferResponse {
                model_name: "m".into(),
                id: "7".into(),
                parameters: [("p".to_owned(), parameter)].into(),
                outputs: (0..sizes.len()).map(output).collect(),
                raw_output_contents: tensors.clone(),
                ..ModelInferResponse::default()
            };
            let message = response.encode_to_vec();
            let pieces = pieces(response).unwrap();
            let mut expected = vec![0];
            expected.put_u32(u32::try_from(message.len()).unwrap());
            expected.extend(message);
            assert_eq!(pieces.concat(), expected, "{sizes:?}");
            for large in tensors.iter().filter(|tensor| tensor.len() >= APART_BYTES) {
                assert!(pieces.iter().any(|piece| piece.as_ptr() == large.as_ptr()), "{sizes:?}");
            }
        }
    }

    #[test]
    fn behind_the_message_comes_its_status_once() {
        let mut answer = of(HeaderMap::new(), ModelInferResponse::default()).unwrap();
        assert_eq!(answer.headers()[CONTENT_TYPE], GRPC);
        let mut next = || answer.body_mut().frame().now_or_never().unwrap().transpose().unwrap();
        assert_eq!(next().unwrap().into_data().unwrap(), vec![0; HEAD_BYTES]);
        assert_eq!(next().unwrap().into_trailers().unwrap()[GRPC_STATUS], OK);
        assert!(next().is_none());
    }
}
