//! Raw binary requests, of Triton's binary tensor extension: a body that is the bytes of one tensor and nothing else, sent with
//! `inference-header-content-length: 0`. The model's declared inputs and the body enter; the request leaves that V2's body with
//! the same tensor is, which asks for all outputs in binary.

use crate::datatype::DataType;
use crate::decode::{DecodeError, Kind, bound};
use crate::limits::Limits;
use crate::messages::{Choice, InferInputTensor, InferParameter, ModelInferRequest};
use crate::path::InferPath;
use crate::tensor::{TensorError, check_raw, push_element};
use bytes::Bytes;

/// An input as the model's configuration declares it.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// Its name.
    pub name: &'a str,
    /// What its values are.
    pub datatype: DataType,
    /// Without the batch; below 0: free.
    pub dims: &'a [i64],
}

/// Why a tensor can't be made of bytes alone, in Triton's words. Each is a client's error (400).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RawError {
    /// The model has not one input.
    #[error(
        "Raw request must only have 1 input (found 1) to be deduced but got {inputs} inputs in '{model}' model configuration"
    )]
    Inputs {
        /// How many it has.
        inputs: usize,
        /// The model asked.
        model: String,
    },
    /// More than one dimension is free.
    #[error(
        "The shape of the raw input '{0}' can not be deduced because there are more than one variable-sized dimension"
    )]
    Shape(String),
    /// A BYTES input that may have more than one element.
    #[error("For BYTE datatype raw input '{0}', the model must have input shape [1]")]
    Elements(String),
    /// A bound is passed, or the bytes are not as many as the shape says.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

/// Reads a request for a model with these inputs, which takes batches or not: then it is a batch of one.
///
/// # Errors
/// [`RawError`].
pub fn decode(
    path: &InferPath<'_>,
    inputs: &[Input<'_>],
    batches: bool,
    body: &Bytes,
    limits: &Limits,
) -> Result<ModelInferRequest, RawError> {
    bound("bytes of the model's name", path.model.len(), limits.max_name_bytes)?;
    bound("bytes of the model's version", path.version.len(), limits.max_name_bytes)?;
    let [input] = inputs else {
        return Err(RawError::Inputs { inputs: inputs.len(), model: path.model.to_owned() });
    };
    let mut shape = input.dims.to_vec();
    let raw = match input.datatype.size() {
        None => one_element(input, body, limits)?,
        Some(size) => {
            deduce(&mut shape, size, body.len()).ok_or_else(|| RawError::Shape(input.name.to_owned()))?;
            body.clone()
        }
    };
    if batches {
        shape.insert(0, 1);
    }
    check_raw(input.datatype, &shape, &raw, limits).map_err(|error| wrong(input, error))?;
    let binary = InferParameter { choice: Some(Choice::Bool(true)) };
    Ok(ModelInferRequest {
        model_name: path.model.to_owned(),
        model_version: path.version.to_owned(),
        parameters: [("binary_data_output".to_owned(), binary)].into(),
        inputs: vec![InferInputTensor {
            name: input.name.to_owned(),
            datatype: input.datatype.as_str().to_owned(),
            shape,
            ..InferInputTensor::default()
        }],
        raw_input_contents: vec![raw],
        ..ModelInferRequest::default()
    })
}

/// Gives the free dimension its size: as many as the bytes are enough for. `None`: more than one is free.
fn deduce(shape: &mut [i64], size: usize, bytes: usize) -> Option<()> {
    let fixed = shape.iter().filter(|dimension| **dimension >= 0);
    let each = fixed.fold(size, |product, dimension| {
        product.saturating_mul(usize::try_from(*dimension).unwrap_or(usize::MAX))
    });
    let mut free = shape.iter_mut().filter(|dimension| **dimension < 0);
    if let Some(first) = free.next() {
        // Of elements without bytes there may be any number.
        *first = i64::try_from(bytes.checked_div(each).unwrap_or(0)).unwrap_or(i64::MAX);
    }
    free.next().is_none().then_some(())
}

/// The body as the only element.
fn one_element(input: &Input<'_>, body: &Bytes, limits: &Limits) -> Result<Bytes, RawError> {
    if input.dims.iter().any(|dimension| *dimension != 1) {
        return Err(RawError::Elements(input.name.to_owned()));
    }
    let mut raw = Vec::with_capacity(body.len().saturating_add(4));
    let too_large = || wrong(input, TensorError::TooLarge { limit: limits.max_tensor_bytes });
    push_element(&mut raw, body).ok_or_else(too_large)?;
    Ok(raw.into())
}

fn wrong(input: &Input<'_>, error: TensorError) -> RawError {
    DecodeError::Tensor { kind: Kind::Input, name: input.name.to_owned(), error }.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: InferPath<'static> = InferPath { model: "m", version: "2" };

    fn read(
        datatype: DataType,
        dims: &[i64],
        batches: bool,
        body: &'static [u8],
    ) -> Result<Vec<i64>, String> {
        let input = Input { name: "x", datatype, dims };
        let read = decode(&PATH, &[input], batches, &Bytes::from_static(body), &Limits::default());
        let request = read.map_err(|error| error.to_string())?;
        crate::request::validate(&request, &Limits::default()).unwrap();
        let of =
            (request.model_name.as_str(), request.model_version.as_str(), request.inputs[0].name.as_str());
        assert_eq!(of, ("m", "2", "x"));
        assert_eq!(crate::wants::Wants::of(&request).default, crate::wants::Form::Binary);
        if datatype != DataType::Bytes {
            assert_eq!(request.raw_input_contents, [body]);
        }
        Ok(request.inputs[0].shape.clone())
    }

    #[test]
    fn the_one_free_dimension_is_as_large_as_the_bytes_are_enough_for() {
        for (dims, batches, body, shape) in [
            (&[2][..], false, &[0; 8][..], &[2][..]),
            (&[2], true, &[0; 8], &[1, 2]),
            (&[-1], false, &[0; 12], &[3]),
            (&[-1], true, &[0; 12], &[1, 3]),
            (&[2, -1], true, &[0; 24], &[1, 2, 3]),
            (&[-1, 3], false, &[0; 24], &[2, 3]),
            (&[-1], false, &[], &[0]),
            (&[-1, 0], false, &[], &[0, 0]),
            (&[], false, &[0; 4], &[]),
            (&[], true, &[0; 4], &[1]),
        ] {
            assert_eq!(read(DataType::Fp32, dims, batches, body).as_deref(), Ok(shape), "{dims:?}");
        }
    }

    #[test]
    fn what_the_bytes_dont_say_is_refused_in_triton_s_words() {
        for (dims, body, error) in [
            (
                &[-1, -1][..],
                &[0; 4][..],
                "'x' can not be deduced because there are more than one variable-sized",
            ),
            (&[2], &[0; 4], "8 bytes, 4 are given"),
            (&[2], &[0; 12], "8 bytes, 12 are given"),
            (&[-1], &[0; 5], "4 bytes, 5 are given"),
            (&[-1, 2], &[0; 4], "0 bytes, 4 are given"),
            (&[-1, 0], &[0; 4], "0 bytes, 4 are given"),
            (&[i64::MAX, i64::MAX], &[0; 4], "more than"),
            (&[-1, i64::MAX], &[0; 4], "0 bytes, 4 are given"),
        ] {
            let refused = read(DataType::Fp32, dims, false, body).unwrap_err();
            assert!(refused.contains(error), "{dims:?}: {refused}");
        }
        let input = Input { name: "x", datatype: DataType::Fp32, dims: &[1] };
        for inputs in [&[][..], &[input, input]] {
            let error =
                decode(&PATH, inputs, false, &Bytes::from_static(&[0; 4]), &Limits::default()).unwrap_err();
            assert_eq!(error, RawError::Inputs { inputs: inputs.len(), model: "m".to_owned() });
        }
    }

    #[test]
    fn bytes_are_one_element_of_any_bytes() {
        for (batches, shape) in [(false, &[1][..]), (true, &[1, 1])] {
            for body in [&b"427"[..], b"", b"\xff\0"] {
                assert_eq!(read(DataType::Bytes, &[1], batches, body).as_deref(), Ok(shape));
            }
        }
        let input = Input { name: "x", datatype: DataType::Bytes, dims: &[1] };
        let read_one =
            decode(&PATH, &[input], false, &Bytes::from_static(b"427"), &Limits::default()).unwrap();
        assert_eq!(read_one.raw_input_contents, [&b"\x03\0\0\x00427"[..]]);
        for dims in [&[-1][..], &[2], &[1, -1], &[0]] {
            let refused = read(DataType::Bytes, dims, false, b"427").unwrap_err();
            assert!(refused.contains("'x', the model must have input shape [1]"), "{dims:?}: {refused}");
        }
    }
}
