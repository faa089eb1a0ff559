//! The two parts of a body: JSON, and raw tensors behind it, in the order of the tensors.

use super::{BODY, DecodeError, JSON, Kind, Tensor, bound};
use crate::limits::Limits;
use crate::messages::{Choice, Parameters};
use crate::tensor::{TensorError, check_raw, in_shared_memory};
use bytes::Bytes;

/// Cuts a body behind its JSON part. Without a header length all of it is JSON.
pub(crate) fn split<'b>(
    header_length: Option<usize>,
    body: &'b Bytes,
    limits: &Limits,
) -> Result<(&'b [u8], Bytes), DecodeError> {
    bound(BODY, body.len(), limits.max_body_bytes)?;
    let json_bytes = header_length.unwrap_or(body.len());
    if json_bytes == 0 && header_length.is_some() {
        let what = "is 0: JSON is expected, which says what the bytes are";
        return Err(DecodeError::HeaderLength(what.to_owned()));
    }
    let json = body.get(..json_bytes).ok_or_else(|| {
        DecodeError::HeaderLength(format!("is {json_bytes}, but the body has only {} bytes", body.len()))
    })?;
    bound(JSON, json.len(), limits.max_json_bytes)?;
    Ok((json, body.slice(json_bytes..)))
}

/// Each tensor's raw values: from its `data`, or the next `binary_data_size` bytes of `rest`, without a copy. The sizes go out of
/// the parameters: they said how the values travelled.
pub(crate) fn contents(
    kind: Kind,
    tensors: &mut [Tensor],
    mut rest: Bytes,
    limits: &Limits,
) -> Result<Vec<Bytes>, DecodeError> {
    let mut contents = Vec::with_capacity(tensors.len());
    for tensor in tensors {
        let size = take_size(&mut tensor.parameters).map_err(|error| tensor.wrong(kind, error))?;
        let shared = in_shared_memory(&tensor.parameters);
        let raw = match (tensor.data.take(), size) {
            (Some(data), None) if !shared => Bytes::from(data),
            (None, Some(size)) if !shared => {
                if size > rest.len() {
                    return Err(tensor.wrong(kind, TensorError::CutShort { size, left: rest.len() }));
                }
                let raw = rest.split_to(size);
                check_raw(tensor.datatype, &tensor.shape, &raw, limits)
                    .map_err(|error| tensor.wrong(kind, error))?;
                raw
            }
            (None, None) if shared => Bytes::new(),
            (None, None) => return Err(tensor.wrong(kind, TensorError::NoValues)),
            _ => return Err(tensor.wrong(kind, TensorError::TwoSources)),
        };
        contents.push(raw);
    }
    if rest.is_empty() { Ok(contents) } else { Err(DecodeError::LeftOver(rest.len())) }
}

fn take_size(parameters: &mut Parameters) -> Result<Option<usize>, TensorError> {
    match parameters.remove("binary_data_size").map(|parameter| parameter.choice) {
        None => Ok(None),
        Some(Some(Choice::Int64(size))) => {
            usize::try_from(size).map(Some).map_err(|_| TensorError::BinarySize)
        }
        Some(_) => Err(TensorError::BinarySize),
    }
}
