//! `KServe`'s V1 protocol in V2's terms: a prediction's body, rows (`instances`) or columns (`inputs`) of plain JSON, enters, and
//! the same [`ModelInferRequest`] leaves as of V2's body with these numbers; an answer enters and `predictions` leave, one a row.
//! V1 names neither datatypes nor shapes: those are the model's, and the arrays'. For models whose tensors begin with the rows.
//! BYTES are strings, or `{"b64": ".."}`; those that are no UTF-8 leave in that form.

mod instances;
mod predictions;

pub use predictions::encode;

use crate::datatype::DataType;
use crate::decode::{self, BASE64_KEY, DecodeError, Kind, Nesting, Reader, Target, bound};
use crate::limits::Limits;
use crate::messages::{InferInputTensor, ModelInferRequest};
use crate::response::ResponseError;
use bytes::Bytes;
use jiter::Peek;

/// An input of the model that is asked.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// Its name.
    pub name: &'a str,
    /// What its values are.
    pub datatype: DataType,
    /// It may be left out.
    pub is_optional: bool,
}

/// What V1 can't say or carry. Each is a client's error (400).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PredictError {
    /// Broken JSON, a bound passed, or values that are not what the model takes.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// Both, or none.
    #[error("a prediction has either 'instances', a list, or 'inputs'")]
    NotEither,
    /// A value without a name, for a model that has not one input.
    #[error("the model has several inputs, name each: {0}")]
    SeveralInputs(String),
    /// A name that no input has.
    #[error("unexpected inference input '{name}': the model has {inputs}")]
    UnknownInput {
        /// The name.
        name: String,
        /// Those that there are.
        inputs: String,
    },
    /// Rows name different inputs.
    #[error("instance {0} has other inputs than those before it")]
    OtherInputs(usize),
    /// The answer can't be written as JSON.
    #[error(transparent)]
    Response(#[from] ResponseError),
    /// An output without dimensions.
    #[error("output '{0}' is a scalar, which V1 can't carry; use V2")]
    Scalar(String),
    /// Outputs that don't begin with the same dimension.
    #[error("the outputs have different numbers of rows, which V1 can't carry; use V2")]
    Rows,
}

/// Reads a prediction for `model`, which has these inputs.
///
/// # Errors
/// [`PredictError`].
pub fn decode(
    model: &str,
    inputs: &[Input<'_>],
    body: &Bytes,
    limits: &Limits,
) -> Result<ModelInferRequest, PredictError> {
    bound("bytes of the model's name", model.len(), limits.max_name_bytes)?;
    let (json, _) = decode::split(None, body, limits)?;
    let mut reader = Reader::new(json, limits);
    let (mut columns, mut twice) = (None, false);
    reader.members_or("the prediction", |reader, member| -> Result<bool, PredictError> {
        let read = match member {
            "instances" | "inputs" if reader.null()? => return Ok(true),
            "instances" => instances::read(reader, inputs)?,
            "inputs" => read_inputs(reader, inputs)?,
            _ => return Ok(false),
        };
        twice |= columns.replace(read).is_some();
        Ok(true)
    })?;
    reader.finish()?;
    let columns = columns.filter(|_| !twice).ok_or(PredictError::NotEither)?;
    let mut request = ModelInferRequest { model_name: model.to_owned(), ..ModelInferRequest::default() };
    for column in columns {
        request.raw_input_contents.push(column.raw.into());
        request.inputs.push(InferInputTensor {
            name: column.input.name.to_owned(),
            datatype: column.input.datatype.as_str().to_owned(),
            shape: column.shape,
            ..InferInputTensor::default()
        });
    }
    Ok(request)
}

/// An input as it is read.
struct Column<'a> {
    input: Input<'a>,
    shape: Vec<i64>,
    raw: Vec<u8>,
}

/// Columns by name, or the only one.
fn read_inputs<'a>(reader: &mut Reader<'_>, inputs: &[Input<'a>]) -> Result<Vec<Column<'a>>, PredictError> {
    let mut columns = Vec::new();
    if reader.peek()? != Peek::Object || is_bytes(reader, inputs)? {
        columns.push(read_column(reader, only(inputs)?)?);
        return Ok(columns);
    }
    reader.members_or("'inputs'", |reader, name| -> Result<bool, PredictError> {
        columns.push(read_column(reader, named(inputs, name)?)?);
        Ok(true)
    })?;
    Ok(columns)
}

fn read_column<'a>(reader: &mut Reader<'_>, input: Input<'a>) -> Result<Column<'a>, DecodeError> {
    let (mut nesting, mut raw) = (Nesting::default(), Vec::new());
    decode::read_nested(reader, target(input), &mut nesting, &mut raw)?;
    Ok(Column { input, shape: dimensions(nesting.shape()), raw })
}

fn target(input: Input<'_>) -> Target<'_> {
    Target { kind: Kind::Input, name: input.name, datatype: input.datatype }
}

fn dimensions(shape: impl Iterator<Item = usize>) -> Vec<i64> {
    shape.map(|length| i64::try_from(length).unwrap_or(i64::MAX)).collect()
}

/// Whether the object that comes next is a value of the only input, `{"b64": ".."}`, and not a value for each input.
fn is_bytes(reader: &Reader<'_>, inputs: &[Input<'_>]) -> Result<bool, DecodeError> {
    let is_only = matches!(only(inputs), Ok(input) if input.datatype == DataType::Bytes);
    if !is_only || inputs.iter().any(|input| input.name == BASE64_KEY) {
        return Ok(false);
    }
    let mut is_bytes = false;
    reader.clone().members("a value", |_, name| {
        is_bytes |= name == BASE64_KEY;
        Ok(false)
    })?;
    Ok(is_bytes)
}

/// The one input that a value without a name is for: what has a default needs none.
fn only<'a>(inputs: &[Input<'a>]) -> Result<Input<'a>, PredictError> {
    let mut required = inputs.iter().filter(|input| !input.is_optional);
    match (required.next(), required.next(), inputs) {
        (Some(input), None, _) | (None, None, [input]) => Ok(*input),
        _ => Err(PredictError::SeveralInputs(names(inputs))),
    }
}

fn named<'a>(inputs: &[Input<'a>], name: &str) -> Result<Input<'a>, PredictError> {
    let found = inputs.iter().find(|input| input.name == name).copied();
    found.ok_or_else(|| PredictError::UnknownInput { name: name.to_owned(), inputs: names(inputs) })
}

fn names(inputs: &[Input<'_>]) -> String {
    inputs.iter().map(|input| input.name).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
