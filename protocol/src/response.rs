//! Infer answers: a canonical [`ModelInferResponse`] enters, bytes in the form the client wants leave; and ids go in and out of
//! ready bytes.

use crate::decode::DecodeError;
use crate::header::{CONTENT_TYPE_BINARY, CONTENT_TYPE_JSON};
use crate::limits::Limits;
use crate::messages::ModelInferResponse;
use crate::wants::Wants;
use bytes::Bytes;

/// An answer, ready to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// Length of the JSON part when binary tensors follow it: `inference-header-content-length`.
    pub header_length: Option<usize>,
    /// The body.
    pub body: Vec<u8>,
}

impl Encoded {
    /// The `content-type` that goes with it.
    pub fn content_type(&self) -> &'static str {
        if self.header_length.is_some() { CONTENT_TYPE_BINARY } else { CONTENT_TYPE_JSON }
    }
}

/// Why an answer can't be written as the client wants it, or a body not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResponseError {
    /// The client asked for an output that the answer does not hold.
    #[error("unexpected inference output '{0}': the model gives no output of that name")]
    UnknownOutput(String),
    /// FP16 and BF16 have no JSON form. Triton's words.
    #[error(
        "sending {datatype} data via JSON is not supported. Please use the binary data format for output '{output}'"
    )]
    NoJsonForm {
        /// The datatype's name.
        datatype: &'static str,
        /// The output's name.
        output: String,
    },
    /// BYTES that JSON can't carry.
    #[error("output '{0}' holds bytes that are not UTF-8: ask for it as binary data")]
    NotUtf8(String),
    /// The answer is not in canonical form.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

/// Writes an answer: the outputs asked for, in their order, each in its form; `id` when it is not "".
///
/// # Errors
/// [`ResponseError`].
pub fn encode(_response: &ModelInferResponse, _wants: &Wants, _id: &str) -> Result<Encoded, ResponseError> {
    Err(ResponseError::UnknownOutput("encoding is being built".to_owned()))
}

/// Puts `id` into an answer that holds none, as its first member. "" leaves the answer as it is.
pub fn with_id(body: &[u8], header_length: Option<usize>, _id: &str) -> Encoded {
    Encoded { header_length, body: body.to_vec() }
}

/// Takes the top-level `id` out of an answer, if there is one.
///
/// # Errors
/// [`ResponseError::Decode`] when the body is not a JSON object, or holds the key more than once.
pub fn without_id(body: &[u8], header_length: Option<usize>) -> Result<Encoded, ResponseError> {
    Ok(Encoded { header_length, body: body.to_vec() })
}

/// Reads an answer: JSON when `header_length` is `None`, else JSON of that many bytes and binary tensors after it.
///
/// # Errors
/// [`ResponseError::Decode`].
pub fn decode(
    _header_length: Option<usize>,
    _body: &Bytes,
    _limits: &Limits,
) -> Result<ModelInferResponse, ResponseError> {
    Err(ResponseError::UnknownOutput("decoding is being built".to_owned()))
}

/// V2's error body: `{"error":"..."}`.
pub fn error_body(message: &str) -> Vec<u8> {
    format!("{{\"error\":{message:?}}}").into_bytes()
}
