//! Infer requests: path, header length and body enter; a canonical [`ModelInferRequest`] leaves. `digest` and `wants` are next.

mod id;
mod validate;

pub use crate::decode::DecodeError as RequestError;
pub use id::take_id;
pub use validate::validate;

use crate::decode::{self, Kind, Reader, bound};
use crate::limits::Limits;
use crate::messages::{InferInputTensor, InferRequestedOutputTensor, ModelInferRequest, Parameters};
use crate::path::InferPath;
use bytes::Bytes;

/// Reads a request: JSON when `header_length` is `None`, else JSON of that many bytes and binary tensors after it, which stay
/// slices of `body`. Of the JSON, `id`, `parameters`, `inputs` and `outputs` are read and other members skipped (`model_name`, which
/// `KServe`'s SDK sends): the path says which model is asked.
///
/// # Errors
/// [`RequestError`]: broken or unexpected JSON, a bound passed, or a tensor that contradicts its datatype or shape.
pub fn decode(
    path: &InferPath<'_>,
    header_length: Option<usize>,
    body: &Bytes,
    limits: &Limits,
) -> Result<ModelInferRequest, RequestError> {
    bound("bytes of the model's name", path.model.len(), limits.max_name_bytes)?;
    bound("bytes of the model's version", path.version.len(), limits.max_name_bytes)?;
    let (json, rest) = decode::split(header_length, body, limits)?;
    let mut reader = Reader::new(json, limits);
    let mut request = ModelInferRequest {
        model_name: path.model.to_owned(),
        model_version: path.version.to_owned(),
        ..ModelInferRequest::default()
    };
    let mut inputs = None;
    reader.members("the request", |reader, member| {
        match member {
            "id" | "outputs" if reader.null()? => {}
            "id" => request.id = reader.text("bytes of the id", limits.max_id_bytes)?,
            "parameters" => {
                request.parameters = decode::read_parameters(reader, "the request")?;
                decode::flag(reader, &request.parameters, "binary_data_output", "the request")?;
                validate::refuse_reserved(&request.parameters)?;
            }
            "inputs" => inputs = Some(decode::read_tensors(reader, Kind::Input)?),
            "outputs" => request.outputs = read_requested(reader)?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    reader.finish()?;
    let mut inputs =
        inputs.ok_or_else(|| RequestError::Missing { at: "the request".to_owned(), member: "inputs" })?;
    request.raw_input_contents = decode::contents(Kind::Input, &mut inputs, rest, limits)?;
    request.inputs = inputs.into_iter().map(InferInputTensor::from).collect();
    Ok(request)
}

impl From<decode::Tensor> for InferInputTensor {
    fn from(tensor: decode::Tensor) -> Self {
        Self {
            name: tensor.name,
            datatype: tensor.datatype.as_str().to_owned(),
            shape: tensor.shape,
            parameters: tensor.parameters,
            contents: None,
        }
    }
}

fn read_requested(reader: &mut Reader<'_>) -> Result<Vec<InferRequestedOutputTensor>, RequestError> {
    let mut outputs: Vec<InferRequestedOutputTensor> = Vec::new();
    let mut next = reader.array("'outputs'")?;
    while next.is_some() {
        bound("number of outputs", outputs.len().saturating_add(1), reader.limits.max_tensors)?;
        let at = format!("output {}", outputs.len());
        let (mut name, mut parameters) = (String::new(), Parameters::new());
        reader.members(&at, |reader, member| {
            match member {
                "name" => name = decode::read_name(reader)?,
                "parameters" => {
                    parameters = decode::read_parameters(reader, &at)?;
                    decode::flag(reader, &parameters, "binary_data", &at)?;
                }
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        if name.is_empty() {
            return Err(RequestError::Missing { at, member: "name" });
        }
        decode::refuse_twin(Kind::Output, &name, outputs.iter().map(|output| output.name.as_str()))?;
        outputs.push(InferRequestedOutputTensor { name, parameters });
        next = reader.step()?;
    }
    Ok(outputs)
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
    let digits = value.first().is_some_and(u8::is_ascii_digit) && value.iter().all(u8::is_ascii_digit);
    let number = std::str::from_utf8(value).ok().filter(|_| digits).and_then(|text| text.parse().ok());
    number.map(Some).ok_or_else(|| {
        let shown = value.get(..32).unwrap_or(value).escape_ascii();
        RequestError::HeaderLength(format!("is '{shown}': a decimal number of bytes is expected"))
    })
}

#[cfg(test)]
mod tests;
