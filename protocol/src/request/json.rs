//! The JSON part of a request or response: pulled key by key, with no tree in between; a tensor's `data` goes straight into its
//! raw bytes.

use super::{At, RequestError, shown, size_parameter};
use crate::datatype::DataType;
use crate::limits::Limits;
use crate::messages::{Choice, InferParameter, InferRequestedOutputTensor, Parameters};
use crate::tensor::{self, TensorError};
use bytes::Bytes;
use jiter::{Jiter, JiterError, Peek};

/// What became of an object's member.
pub(crate) enum Member {
    /// It was read.
    Read,
    /// Not ours: to be skipped.
    Skip,
}

impl From<JiterError> for RequestError {
    fn from(error: JiterError) -> Self {
        Self::Json(format!("the JSON can't be read: {error}"))
    }
}

/// Walks the object that is the whole of `json`.
pub(crate) fn object<'j>(
    json: &'j [u8],
    at: &At,
    limits: &Limits,
    member: impl FnMut(&str, &mut Jiter<'j>) -> Result<Member, RequestError>,
) -> Result<(), RequestError> {
    let mut reader = Jiter::new(json).with_allow_inf_nan();
    members(&mut reader, at, limits, member)?;
    reader.finish()?;
    Ok(())
}

/// Walks the object that comes next; a key that comes twice is refused.
fn members<'j>(
    reader: &mut Jiter<'j>,
    at: &At,
    limits: &Limits,
    mut member: impl FnMut(&str, &mut Jiter<'j>) -> Result<Member, RequestError>,
) -> Result<(), RequestError> {
    let mut seen: Vec<String> = Vec::new();
    let mut next = reader.next_object()?.map(str::to_owned);
    while let Some(key) = next {
        if seen.contains(&key) {
            return Err(RequestError::Duplicate { at: at.clone(), key: shown(key.as_bytes()) });
        }
        limit("the number of keys of an object", seen.len(), limits.max_parameters)?;
        if matches!(member(&key, reader)?, Member::Skip) {
            reader.next_skip()?;
        }
        seen.push(key);
        next = reader.next_key()?.map(str::to_owned);
    }
    Ok(())
}

fn limit(what: &'static str, found: usize, limit: usize) -> Result<(), RequestError> {
    if found > limit { Err(RequestError::Limit { what, found, limit }) } else { Ok(()) }
}

/// A string, or `null` for none.
pub(crate) fn read_string(reader: &mut Jiter<'_>, what: &'static str, max_bytes: usize) -> Result<String, RequestError> {
    if reader.peek()? == Peek::Null {
        reader.known_null()?;
        return Ok(String::new());
    }
    let text = reader.next_str()?;
    if text.len() > max_bytes {
        return Err(RequestError::Limit { what, found: text.len(), limit: max_bytes });
    }
    Ok(text.to_owned())
}

/// An object of strings, numbers and booleans.
pub(crate) fn read_parameters(reader: &mut Jiter<'_>, at: &At, limits: &Limits) -> Result<Parameters, RequestError> {
    let mut parameters = Parameters::new();
    members(reader, at, limits, |name, reader| {
        limit("the length of a parameter's name in bytes", name.len(), limits.max_name_bytes)?;
        let peek = reader.peek()?;
        let choice = match peek {
            Peek::True | Peek::False => Choice::Bool(reader.known_bool(peek)?),
            Peek::String => Choice::String(reader.known_str()?.to_owned()),
            _ if peek.is_num() => number(reader, peek)?,
            _ => {
                let name = shown(name.as_bytes());
                let text = format!("{at}: parameter '{name}' must be a string, a number or a boolean");
                return Err(RequestError::Json(text));
            }
        };
        parameters.insert(name.to_owned(), InferParameter { choice: Some(choice) });
        Ok(Member::Read)
    })?;
    Ok(parameters)
}

fn number(reader: &mut Jiter<'_>, peek: Peek) -> Result<Choice, RequestError> {
    let text = std::str::from_utf8(reader.known_number_bytes(peek)?).unwrap_or_default();
    let choice = text.parse().map(Choice::Int64).or_else(|_| text.parse().map(Choice::Uint64)).ok();
    choice.or_else(|| float(text).map(Choice::Double)).ok_or_else(|| RequestError::Json(format!("'{}' is out of range", shown(text.as_bytes()))))
}

/// A JSON number, or one of the tokens `NaN`, `Infinity` and `-Infinity`; `None` when a finite number is too large for a double.
fn float(text: &str) -> Option<f64> {
    let value: f64 = text.parse().ok()?;
    (value.is_finite() || text.ends_with(['N', 'y'])).then_some(value)
}

/// The outputs that a request asks for.
pub(crate) fn read_requested(
    reader: &mut Jiter<'_>,
    limits: &Limits,
) -> Result<Vec<InferRequestedOutputTensor>, RequestError> {
    let mut outputs: Vec<InferRequestedOutputTensor> = Vec::new();
    let mut next = reader.next_array()?;
    while next.is_some() {
        limit("the number of outputs", outputs.len().saturating_add(1), limits.max_tensors)?;
        let at = At::Tensor("output", format!("#{}", outputs.len()));
        let (mut name, mut parameters) = (String::new(), Parameters::new());
        members(reader, &at, limits, |member, reader| {
            match member {
                "name" => name = read_string(reader, "the length of an output's name in bytes", limits.max_name_bytes)?,
                "parameters" => parameters = read_parameters(reader, &at, limits)?,
                _ => return Ok(Member::Skip),
            }
            Ok(Member::Read)
        })?;
        if name.is_empty() {
            return Err(RequestError::Missing { at, field: "name" });
        }
        if outputs.iter().any(|output| output.name == name) {
            return Err(RequestError::DuplicateTensor { kind: "output", name });
        }
        outputs.push(InferRequestedOutputTensor { name, parameters });
        next = reader.array_step()?;
    }
    Ok(outputs)
}

/// A tensor as the JSON describes it.
pub(crate) struct Tensor {
    /// `input` or `output`.
    pub(crate) kind: &'static str,
    pub(crate) name: String,
    pub(crate) datatype: DataType,
    pub(crate) shape: Vec<i64>,
    pub(crate) parameters: Parameters,
    /// Its values, if the JSON holds them.
    pub(crate) data: Option<Bytes>,
}

impl Tensor {
    /// Bytes of its values behind the JSON, if they are there.
    pub(crate) fn binary_size(&self) -> Option<usize> {
        size_parameter(&self.parameters, "binary_data_size")
    }

    pub(crate) fn in_shared_memory(&self) -> bool {
        self.parameters.contains_key("shared_memory_region")
    }
}

/// The tensors of `inputs` or `outputs`.
pub(crate) fn read_tensors(
    reader: &mut Jiter<'_>,
    kind: &'static str,
    limits: &Limits,
) -> Result<Vec<Tensor>, RequestError> {
    let mut tensors: Vec<Tensor> = Vec::new();
    let mut next = reader.next_array()?;
    while next.is_some() {
        limit("the number of tensors", tensors.len().saturating_add(1), limits.max_tensors)?;
        let tensor = read_tensor(reader, kind, tensors.len(), limits)?;
        if tensors.iter().any(|other| other.name == tensor.name) {
            return Err(RequestError::DuplicateTensor { kind, name: tensor.name });
        }
        tensors.push(tensor);
        next = reader.array_step()?;
    }
    Ok(tensors)
}

/// `data`, read already or still to be read: it may come before the shape and datatype that it needs.
enum Data<'j> {
    None,
    Later(&'j [u8]),
    Read(Vec<u8>),
}

fn read_tensor<'j>(
    reader: &mut Jiter<'j>,
    kind: &'static str,
    number: usize,
    limits: &Limits,
) -> Result<Tensor, RequestError> {
    let numbered = At::Tensor(kind, format!("#{number}"));
    let mut name = String::new();
    let (mut datatype, mut shape) = (None, None);
    let mut parameters = Parameters::new();
    let mut data = Data::None;
    members(reader, &numbered, limits, |member, reader| {
        match member {
            "name" => name = read_string(reader, "the length of a tensor's name in bytes", limits.max_name_bytes)?,
            "datatype" => {
                let found = reader.next_str()?.parse().map_err(TensorError::from);
                datatype = Some(found.map_err(|error| RequestError::Tensor { at: named(kind, &name, number), error })?);
            }
            "shape" => shape = Some(read_shape(reader, kind, &name, number, limits)?),
            "parameters" => parameters = read_parameters(reader, &numbered, limits)?,
            "data" => {
                data = match (datatype, &shape) {
                    (Some(datatype), Some(shape)) => {
                        Data::Read(read_data(reader, &named(kind, &name, number), datatype, shape, limits)?)
                    }
                    _ => Data::Later(skip(reader)?),
                }
            }
            _ => return Ok(Member::Skip),
        }
        Ok(Member::Read)
    })?;
    if name.is_empty() {
        return Err(RequestError::Missing { at: numbered, field: "name" });
    }
    let at = At::Tensor(kind, name.clone());
    let datatype = datatype.ok_or_else(|| RequestError::Missing { at: at.clone(), field: "datatype" })?;
    let shape = shape.ok_or_else(|| RequestError::Missing { at: at.clone(), field: "shape" })?;
    if parameters.contains_key("binary_data_size") && size_parameter(&parameters, "binary_data_size").is_none() {
        return Err(RequestError::Data { at, problem: "'binary_data_size' must be a number of bytes" });
    }
    let data = match data {
        Data::None => None,
        Data::Read(data) => Some(data),
        Data::Later(json) => {
            let mut reader = Jiter::new(json).with_allow_inf_nan();
            Some(read_data(&mut reader, &at, datatype, &shape, limits)?)
        }
    };
    Ok(Tensor { kind, name, datatype, shape, parameters, data: data.map(Bytes::from) })
}

fn named(kind: &'static str, name: &str, number: usize) -> At {
    At::Tensor(kind, if name.is_empty() { format!("#{number}") } else { shown(name.as_bytes()) })
}

fn skip<'j>(reader: &mut Jiter<'j>) -> Result<&'j [u8], RequestError> {
    let peek = reader.peek()?;
    let start = reader.current_index();
    reader.known_skip(peek)?;
    Ok(reader.slice_to_current(start))
}

fn read_shape(
    reader: &mut Jiter<'_>,
    kind: &'static str,
    name: &str,
    number: usize,
    limits: &Limits,
) -> Result<Vec<i64>, RequestError> {
    let mut shape = Vec::new();
    let mut next = reader.next_array()?;
    while let Some(peek) = next {
        if shape.len() >= limits.max_rank {
            let error = TensorError::Rank { found: shape.len().saturating_add(1), limit: limits.max_rank };
            return Err(RequestError::Tensor { at: named(kind, name, number), error });
        }
        let text = std::str::from_utf8(reader.known_number_bytes(peek)?).unwrap_or_default();
        shape.push(text.parse().map_err(|_| {
            let (at, text) = (named(kind, name, number), shown(text.as_bytes()));
            RequestError::Json(format!("{at}: the shape holds {text}: whole numbers from 0 to 2^63-1 are expected"))
        })?);
        next = reader.array_step()?;
    }
    Ok(shape)
}

/// Reads `data`, flat or nested, into raw form.
fn read_data(
    reader: &mut Jiter<'_>,
    at: &At,
    datatype: DataType,
    shape: &[i64],
    limits: &Limits,
) -> Result<Vec<u8>, RequestError> {
    if let (false, At::Tensor(_, name)) = (datatype.has_json_form(), at) {
        return Err(RequestError::NoJsonForm { at: at.clone(), name: name.clone(), datatype });
    }
    let wrong = |error| RequestError::Tensor { at: at.clone(), error };
    let expected = tensor::value_count(datatype, shape, limits).map_err(wrong)?;
    // At least two bytes of JSON a value: a short text can't make a large reservation.
    let mut raw = Vec::with_capacity(expected.saturating_mul(datatype.size().unwrap_or(8)).min(1 << 20));
    let (mut depth, mut found): (usize, usize) = (1, 0);
    let mut next = reader.next_array()?;
    loop {
        match next {
            None => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    break;
                }
                next = reader.array_step()?;
            }
            Some(Peek::Array) => {
                depth = depth.saturating_add(1);
                limit("the nesting of 'data'", depth, limits.max_depth)?;
                next = reader.known_array()?;
            }
            Some(peek) => {
                if found >= expected {
                    return Err(wrong(TensorError::Count { expected, found: found.saturating_add(1) }));
                }
                push_value(reader, peek, datatype, &mut raw).map_err(|refused| match refused {
                    Refused::Json(error) => error,
                    Refused::Value(text) => {
                        RequestError::Value { at: at.clone(), index: found, found: text, datatype }
                    }
                })?;
                if raw.len() > limits.max_tensor_bytes {
                    return Err(wrong(TensorError::TooLarge { limit: limits.max_tensor_bytes }));
                }
                found = found.saturating_add(1);
                next = reader.array_step()?;
            }
        }
    }
    if found != expected {
        return Err(wrong(TensorError::Count { expected, found }));
    }
    Ok(raw)
}

/// Why a value was refused: the JSON is broken, or the datatype does not have it.
enum Refused {
    Json(RequestError),
    Value(String),
}

impl From<JiterError> for Refused {
    fn from(error: JiterError) -> Self {
        Self::Json(error.into())
    }
}

/// Appends one JSON value as raw bytes.
fn push_value(reader: &mut Jiter<'_>, peek: Peek, datatype: DataType, raw: &mut Vec<u8>) -> Result<(), Refused> {
    match datatype {
        DataType::Bytes if peek == Peek::String => {
            let text = reader.known_str()?;
            let length = text.len();
            return tensor::push_element(raw, text.as_bytes()).ok_or_else(|| Refused::Value(format!("{length} bytes")));
        }
        DataType::Bool if matches!(peek, Peek::True | Peek::False) => {
            raw.push(u8::from(reader.known_bool(peek)?));
            return Ok(());
        }
        DataType::Bool | DataType::Bytes => return Err(Refused::Value(described(reader, peek)?)),
        _ if !peek.is_num() => return Err(Refused::Value(described(reader, peek)?)),
        _ => {}
    }
    let bytes = reader.known_number_bytes(peek)?;
    let text = std::str::from_utf8(bytes).unwrap_or_default();
    macro_rules! push {
        ($type:ty) => {
            text.parse::<$type>().ok().map(|value| raw.extend_from_slice(&value.to_le_bytes()))
        };
    }
    let pushed = match datatype {
        DataType::Uint8 => push!(u8),
        DataType::Uint16 => push!(u16),
        DataType::Uint32 => push!(u32),
        DataType::Uint64 => push!(u64),
        DataType::Int8 => push!(i8),
        DataType::Int16 => push!(i16),
        DataType::Int32 => push!(i32),
        DataType::Int64 => push!(i64),
        DataType::Fp64 => float(text).map(|value| raw.extend_from_slice(&value.to_le_bytes())),
        // By way of a double, as Triton and every client that has doubles only: one digest for what they all mean.
        DataType::Fp32 => float(text).and_then(|value| {
            #[allow(clippy::cast_possible_truncation)]
            let single = value as f32;
            (single.is_finite() || !value.is_finite()).then(|| raw.extend_from_slice(&single.to_le_bytes()))
        }),
        DataType::Bool | DataType::Bytes | DataType::Fp16 | DataType::Bf16 => None,
    };
    pushed.ok_or_else(|| Refused::Value(shown(text.as_bytes())))
}

/// The value that comes next, as text for a message.
fn described(reader: &mut Jiter<'_>, peek: Peek) -> Result<String, Refused> {
    let start = reader.current_index();
    reader.known_skip(peek)?;
    Ok(shown(reader.slice_to_current(start)))
}
