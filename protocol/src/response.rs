//! Infer answers: a canonical [`ModelInferResponse`] enters, bytes in the form the client wants leave; ids go in and out of ready
//! bytes; and answers of other servers are read back.

mod id;
mod json;

pub use id::{with_id, without_id};
pub use json::{write_parameters, write_string, write_values};

use crate::datatype::{DataType, UnknownDataType};
use crate::decode::{self, DecodeError, Kind, Reader};
use crate::header::{CONTENT_TYPE_BINARY, CONTENT_TYPE_JSON};
use crate::limits::Limits;
use crate::messages::{InferOutputTensor, ModelInferResponse};
use crate::wants::{Form, Wants};
use bytes::Bytes;
use prost::Message as _;

/// An answer, ready to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// Length of the JSON part when binary tensors may follow it: `inference-header-content-length`.
    pub header_length: Option<usize>,
    /// The body.
    pub body: Vec<u8>,
}

impl Encoded {
    /// The `content-type` that goes with it over HTTP.
    pub fn content_type(&self) -> &'static str {
        if self.header_length.is_some() { CONTENT_TYPE_BINARY } else { CONTENT_TYPE_JSON }
    }
}

/// Why an answer can't be written as the client wants it, or a body can't be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResponseError {
    /// The client asked for an output that the answer does not hold. Triton's words.
    #[error("unexpected inference output '{output}' for model '{model}'")]
    UnknownOutput {
        /// The output asked for.
        output: String,
        /// The model asked.
        model: String,
    },
    /// FP16 and BF16 have no JSON form. Triton's words, and which output.
    #[error(
        "sending {datatype} data via JSON is not supported. Please use the binary data format for output {name}"
    )]
    NoJsonForm {
        /// The output.
        name: String,
        /// FP16 or BF16.
        datatype: DataType,
    },
    /// BYTES that are not UTF-8 have no JSON form either.
    #[error(
        "output '{0}' holds bytes that are not UTF-8, which JSON can't carry: use the binary data format"
    )]
    NotText(String),
    /// A datatype that does not exist.
    #[error(transparent)]
    DataType(#[from] UnknownDataType),
    /// The answer is not in canonical form.
    #[error("output '{name}' is not in canonical form: {problem}")]
    NotCanonical {
        /// The output.
        name: String,
        /// What is wrong.
        problem: String,
    },
    /// A body can't be read.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

/// An output on its way out.
struct Picked<'a> {
    tensor: &'a InferOutputTensor,
    data: &'a Bytes,
    form: Form,
}

/// Writes an answer: the outputs asked for, in their order, each in its form; `id` first, when it is not "".
///
/// # Errors
/// [`ResponseError`]: an output is asked for that is not there, or in a form that it does not have.
pub fn encode(response: &ModelInferResponse, wants: &Wants, id: &str) -> Result<Encoded, ResponseError> {
    if wants.default == Form::Message {
        return message(response, wants, id);
    }
    let outputs = pick(response, wants)?;
    let json_values: usize =
        outputs.iter().filter(|output| output.form == Form::Json).map(|output| output.data.len()).sum();
    let binary_bytes: usize =
        outputs.iter().filter(|output| output.form == Form::Binary).map(|output| output.data.len()).sum();
    // A value of four bytes is about ten characters as JSON; each output's description about a hundred.
    let room = json_values.saturating_mul(3).saturating_add(binary_bytes);
    let mut body =
        Vec::with_capacity(room.saturating_add(outputs.len().saturating_mul(128)).saturating_add(256));
    json::write(&mut body, response, &outputs, id)?;
    let binary = outputs.iter().any(|output| output.form == Form::Binary);
    let header_length = binary.then_some(body.len());
    for output in outputs.iter().filter(|output| output.form == Form::Binary) {
        body.extend_from_slice(output.data);
    }
    Ok(Encoded { header_length, body })
}

/// The same as a message of gRPC's, without what stands before it.
fn message(response: &ModelInferResponse, wants: &Wants, id: &str) -> Result<Encoded, ResponseError> {
    let mut response = response.clone();
    arrange(&mut response, wants.outputs.iter().map(|(name, _)| name.as_str()))?;
    id.clone_into(&mut response.id);
    Ok(Encoded { header_length: None, body: response.encode_to_vec() })
}

fn pick<'a>(response: &'a ModelInferResponse, wants: &Wants) -> Result<Vec<Picked<'a>>, ResponseError> {
    let all = || response.outputs.iter().zip(&response.raw_output_contents);
    if response.outputs.len() != response.raw_output_contents.len() {
        let problem = "one raw content an output is expected".to_owned();
        return Err(ResponseError::NotCanonical { name: response.model_name.clone(), problem });
    }
    if wants.outputs.is_empty() {
        return Ok(all().map(|(tensor, data)| Picked { tensor, data, form: wants.default }).collect());
    }
    let named = wants.outputs.iter().map(|(name, form)| {
        let found = all().find(|(tensor, _)| tensor.name == *name);
        found.map(|(tensor, data)| Picked { tensor, data, form: *form }).ok_or_else(|| {
            ResponseError::UnknownOutput { output: name.clone(), model: response.model_name.clone() }
        })
    });
    named.collect()
}

/// Puts an answer's outputs into the order of `names`, and leaves out others; no names: all, as they are.
///
/// # Errors
/// [`ResponseError::UnknownOutput`], [`ResponseError::NotCanonical`].
pub fn arrange<'a>(
    response: &mut ModelInferResponse,
    names: impl IntoIterator<Item = &'a str>,
) -> Result<(), ResponseError> {
    let outputs: Vec<_> = names.into_iter().map(|name| (name.to_owned(), Form::Binary)).collect();
    if outputs.is_empty() && response.outputs.len() == response.raw_output_contents.len() {
        return Ok(());
    }
    let picked = pick(response, &Wants { default: Form::Binary, outputs })?;
    let arranged = picked.into_iter().map(|output| (output.tensor.clone(), output.data.clone())).unzip();
    (response.outputs, response.raw_output_contents) = arranged;
    Ok(())
}

/// Reads an answer: JSON when `header_length` is `None`, else JSON of that many bytes and binary tensors after it.
///
/// # Errors
/// [`ResponseError::Decode`].
pub fn decode(
    header_length: Option<usize>,
    body: &Bytes,
    limits: &Limits,
) -> Result<ModelInferResponse, ResponseError> {
    let (json, rest) = decode::split(header_length, body, limits)?;
    let mut reader = Reader::new(json, limits);
    let mut response = ModelInferResponse::default();
    let mut outputs = None;
    reader.members("the response", |reader, member| {
        match member {
            "id" | "model_name" | "model_version" if reader.null()? => {}
            "id" => response.id = reader.text("bytes of the id", limits.max_id_bytes)?,
            "model_name" => {
                response.model_name = reader.text("bytes of the model's name", limits.max_name_bytes)?;
            }
            "model_version" => {
                response.model_version =
                    reader.text("bytes of the model's version", limits.max_name_bytes)?;
            }
            "parameters" => response.parameters = decode::read_parameters(reader, "the response")?,
            "outputs" => outputs = Some(decode::read_tensors(reader, Kind::Output)?),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    reader.finish()?;
    let mut outputs =
        outputs.ok_or_else(|| DecodeError::Missing { at: "the response".to_owned(), member: "outputs" })?;
    response.raw_output_contents = decode::contents(Kind::Output, &mut outputs, rest, limits)?;
    response.outputs = outputs.into_iter().map(InferOutputTensor::from).collect();
    Ok(response)
}

impl From<decode::Tensor> for InferOutputTensor {
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

/// V2's error body: `{"error":"..."}`.
pub fn error_body(message: &str) -> Vec<u8> {
    let mut body = b"{\"error\":".to_vec();
    write_string(&mut body, message);
    body.push(b'}');
    body
}

#[cfg(test)]
mod tests;
