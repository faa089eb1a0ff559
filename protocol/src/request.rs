//! Infer requests: path, header length and body enter; a canonical [`ModelInferRequest`] leaves.

pub use crate::decode::DecodeError as RequestError;
use crate::limits::Limits;
use crate::messages::ModelInferRequest;
use crate::path::InferPath;
use bytes::Bytes;

/// Reads a request: JSON when `header_length` is `None`, else JSON of that many bytes and binary tensors after it.
///
/// # Errors
/// [`RequestError`].
pub fn decode(
    _path: &InferPath<'_>,
    _header_length: Option<usize>,
    _body: &Bytes,
    _limits: &Limits,
) -> Result<ModelInferRequest, RequestError> {
    Err(RequestError::Message("decoding is being built".to_owned()))
}

/// Reads all values of `inference-header-content-length`.
///
/// # Errors
/// [`RequestError::HeaderLength`] when there is more than one, or one that is not a plain decimal number.
pub fn header_length<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Result<Option<usize>, RequestError> {
    let mut values = values.into_iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(RequestError::HeaderLength("came more than once: one value is expected".to_owned()));
    }
    let digits = (1..=19).contains(&value.len()) && value.iter().all(u8::is_ascii_digit);
    let number = std::str::from_utf8(value).ok().filter(|_| digits).and_then(|text| text.parse().ok());
    match number {
        Some(number) => Ok(Some(number)),
        None => Err(RequestError::HeaderLength(format!(
            "is '{}': a decimal number of bytes is expected",
            value.escape_ascii()
        ))),
    }
}

/// Checks a canonical request that did not come through [`decode`] (gRPC's).
///
/// # Errors
/// [`RequestError`].
pub fn validate(_request: &ModelInferRequest, _limits: &Limits) -> Result<(), RequestError> {
    Err(RequestError::Message("validation is being built".to_owned()))
}
