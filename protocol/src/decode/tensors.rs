//! The tensors that the JSON part describes, with those values that stand in it.

use super::values::{Target, read_values};
use super::{DecodeError, Kind, Reader, bound, flag, number, read_parameters};
use crate::datatype::DataType;
use crate::messages::Parameters;
use crate::tensor::TensorError;
use jiter::Peek;

/// A tensor as the JSON describes it.
pub(crate) struct Tensor {
    pub(crate) name: String,
    pub(crate) datatype: DataType,
    pub(crate) shape: Vec<i64>,
    pub(crate) parameters: Parameters,
    /// Raw values, when the JSON holds them.
    pub(crate) data: Option<Vec<u8>>,
}

/// `data`: read already, or still to be read, since it came before the datatype or shape that it needs.
enum Data<'j> {
    None,
    Later(Reader<'j>),
    Read(Vec<u8>),
}

/// Reads `inputs` or `outputs`.
pub(crate) fn read_tensors(reader: &mut Reader<'_>, kind: Kind) -> Result<Vec<Tensor>, DecodeError> {
    let mut tensors: Vec<Tensor> = Vec::new();
    let mut next = reader.array(match kind {
        Kind::Input => "'inputs'",
        Kind::Output => "'outputs'",
    })?;
    while next.is_some() {
        bound("number of tensors", tensors.len().saturating_add(1), reader.limits.max_tensors)?;
        let tensor = read_tensor(reader, kind, tensors.len())?;
        refuse_twin(kind, &tensor.name, tensors.iter().map(|tensor| tensor.name.as_str()))?;
        tensors.push(tensor);
        next = reader.step()?;
    }
    Ok(tensors)
}

/// Refuses a name that is among those before it.
pub(crate) fn refuse_twin<'a>(
    kind: Kind,
    name: &str,
    mut before: impl Iterator<Item = &'a str>,
) -> Result<(), DecodeError> {
    if before.any(|other| other == name) {
        Err(DecodeError::Twin { kind, name: name.to_owned() })
    } else {
        Ok(())
    }
}

/// Reads a tensor's name.
pub(crate) fn read_name(reader: &mut Reader<'_>) -> Result<String, DecodeError> {
    reader.text("bytes of a tensor's name", reader.limits.max_name_bytes)
}

fn read_tensor(reader: &mut Reader<'_>, kind: Kind, index: usize) -> Result<Tensor, DecodeError> {
    let at = format!("{kind} {index}");
    let (mut name, mut datatype, mut shape) = (String::new(), None, None);
    let mut parameters = Parameters::new();
    let mut data = Data::None;
    reader.members(&at, |reader, member| {
        match member {
            "name" => name = read_name(reader)?,
            "datatype" => datatype = Some(read_datatype(reader, &at)?),
            "shape" => shape = Some(read_shape(reader, &at)?),
            "parameters" => {
                parameters = read_parameters(reader, &at)?;
                flag(reader, &parameters, "binary_data", &at)?;
            }
            "data" if reader.null()? => {}
            "data" => {
                data = if let (Some(datatype), Some(shape)) = (datatype, &shape) {
                    let name = if name.is_empty() { &at } else { &name };
                    Data::Read(read_values(reader, Target { kind, name, datatype }, shape)?)
                } else {
                    let here = reader.clone();
                    reader.skip()?;
                    Data::Later(here)
                }
            }
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    let missing = |member| DecodeError::Missing { at: at.clone(), member };
    if name.is_empty() {
        return Err(missing("name"));
    }
    let datatype = datatype.ok_or_else(|| missing("datatype"))?;
    let shape = shape.ok_or_else(|| missing("shape"))?;
    let data = match data {
        Data::None => None,
        Data::Read(raw) => Some(raw),
        Data::Later(mut reader) => {
            Some(read_values(&mut reader, Target { kind, name: &name, datatype }, &shape)?)
        }
    };
    Ok(Tensor { name, datatype, shape, parameters, data })
}

fn read_datatype(reader: &mut Reader<'_>, at: &str) -> Result<DataType, DecodeError> {
    reader.peek()?;
    let start = reader.index();
    let name = reader.text("bytes of a datatype", reader.limits.max_name_bytes)?;
    name.parse().map_err(|error| reader.error_at(start, format!("{at}: {error}")))
}

fn read_shape(reader: &mut Reader<'_>, at: &str) -> Result<Vec<i64>, DecodeError> {
    let mut shape = Vec::new();
    let mut next = reader.array("'shape'")?;
    while let Some(peek) = next {
        bound("dimensions of a shape", shape.len().saturating_add(1), reader.limits.max_rank)?;
        shape.push(read_dimension(reader, peek, at)?);
        next = reader.step()?;
    }
    Ok(shape)
}

fn read_dimension(reader: &mut Reader<'_>, peek: Peek, at: &str) -> Result<i64, DecodeError> {
    let what = || format!("{at}: a dimension of the shape must be an integer from 0 to {}", i64::MAX);
    if !peek.is_num() {
        return Err(reader.refuse_next(&what()));
    }
    let start = reader.index();
    let text = reader.number(peek)?;
    let dimension =
        number::integer(text, 0, i64::MAX.into()).ok().and_then(|value| i64::try_from(value).ok());
    dimension.ok_or_else(|| reader.refuse(start, &what()))
}

impl Tensor {
    /// An error of this tensor.
    pub(crate) fn wrong(&self, kind: Kind, error: TensorError) -> DecodeError {
        DecodeError::Tensor { kind, name: self.name.clone(), error }
    }
}
