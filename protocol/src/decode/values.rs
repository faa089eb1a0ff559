//! A tensor's `data`: JSON values, flat or nested, to raw bytes. A [`Walk`] goes through the arrays; each datatype reads a value.

use super::number::{self, NotA};
use super::{DecodeError, Kind, Reader, bound, plain};
use crate::datatype::DataType;
use crate::tensor::{self, TensorError};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jiter::Peek;

/// What names bytes that are no text, or need not be.
pub(crate) const BASE64_KEY: &str = "b64";

/// Which tensor the values are for.
#[derive(Clone, Copy)]
pub(crate) struct Target<'a> {
    pub(crate) kind: Kind,
    pub(crate) name: &'a str,
    pub(crate) datatype: DataType,
}

impl Target<'_> {
    pub(crate) fn wrong(&self, error: TensorError) -> DecodeError {
        DecodeError::Tensor { kind: self.kind, name: self.name.to_owned(), error }
    }
}

/// Reads `data` into raw form. As many values as the shape says must be there; how they are nested is not compared with it.
pub(super) fn read_values(
    reader: &mut Reader<'_>,
    target: Target<'_>,
    shape: &[i64],
) -> Result<Vec<u8>, DecodeError> {
    let expected = tensor::value_count(target.datatype, shape, reader.limits);
    match expected.ok().and_then(|expected| plain::read(reader, target.datatype, expected)) {
        Some(raw) => Ok(raw),
        None => read_slowly(reader, target, shape),
    }
}

/// The same, value by value: any text, and what is wrong with it.
pub(super) fn read_slowly(
    reader: &mut Reader<'_>,
    target: Target<'_>,
    shape: &[i64],
) -> Result<Vec<u8>, DecodeError> {
    read_by(reader, target, Counted { shape })
}

/// A way through arrays.
pub(super) trait Walk {
    type Found;
    /// Whether BYTES may come as V1 has them where they are no text.
    const BASE64: bool;

    /// Goes through what comes next. `push` reads one value into raw form, or says why it can't be one.
    fn walk(
        self,
        reader: &mut Reader<'_>,
        target: Target<'_>,
        push: impl FnMut(&mut Reader<'_>, Peek, &mut Vec<u8>) -> Result<Option<&'static str>, DecodeError>,
    ) -> Result<Self::Found, DecodeError>;
}

/// Reads values of the target's datatype on that way.
pub(super) fn read_by<W: Walk>(
    reader: &mut Reader<'_>,
    target: Target<'_>,
    way: W,
) -> Result<W::Found, DecodeError> {
    macro_rules! integers {
        ($type:ty) => {
            way.walk(reader, target, |reader, peek, raw| {
                if !peek.is_num() {
                    return Ok(Some("is not an integer"));
                }
                Ok(match number::integer(reader.number(peek)?, <$type>::MIN.into(), <$type>::MAX.into()) {
                    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
                    // the range has been checked
                    Ok(value) => {
                        raw.extend_from_slice(&(value as $type).to_le_bytes());
                        None
                    }
                    Err(NotA::Integer) => Some("is not an integer"),
                    Err(NotA::Range) => Some("is out of range"),
                })
            })
        };
    }
    match target.datatype {
        DataType::Uint8 => integers!(u8),
        DataType::Uint16 => integers!(u16),
        DataType::Uint32 => integers!(u32),
        DataType::Uint64 => integers!(u64),
        DataType::Int8 => integers!(i8),
        DataType::Int16 => integers!(i16),
        DataType::Int32 => integers!(i32),
        DataType::Int64 => integers!(i64),
        DataType::Fp32 => way.walk(reader, target, push_single),
        DataType::Fp64 => way.walk(reader, target, push_double),
        DataType::Bool => way.walk(reader, target, |reader, peek, raw| {
            if !matches!(peek, Peek::True | Peek::False) {
                return Ok(Some("is not true or false"));
            }
            raw.push(u8::from(reader.boolean(peek)?));
            Ok(None)
        }),
        DataType::Bytes => way.walk(reader, target, |reader, peek, raw| match peek {
            Peek::String => Ok(push_element(raw, reader.string()?.as_bytes())),
            Peek::Object if W::BASE64 => push_base64(reader, raw),
            _ => Ok(Some("is not a string")),
        }),
        DataType::Fp16 | DataType::Bf16 => {
            let Target { kind, name, datatype } = target;
            Err(DecodeError::NoJsonForm { datatype, kind, name: name.to_owned() })
        }
    }
}

fn push_element(raw: &mut Vec<u8>, element: &[u8]) -> Option<&'static str> {
    tensor::push_element(raw, element).is_none().then_some("is longer than 4 GiB")
}

/// `{"b64": ".."}`, as TensorFlow Serving's REST API spells bytes, from which V1 has it.
fn push_base64(reader: &mut Reader<'_>, raw: &mut Vec<u8>) -> Result<Option<&'static str>, DecodeError> {
    let (mut decoded, mut others) = (None, false);
    reader.members("a value", |reader, name| {
        if name != BASE64_KEY || reader.peek()? != Peek::String {
            others = true;
            return Ok(false);
        }
        decoded = Some(BASE64_STANDARD.decode(reader.string()?));
        Ok(true)
    })?;
    Ok(match decoded.filter(|_| !others) {
        Some(Ok(element)) => push_element(raw, &element),
        Some(Err(_)) => Some("is not base64"),
        None => Some("is an object, but not one of 'b64' and a string alone"),
    })
}

/// By way of a double, as Triton does: one meaning for every text.
fn push_single(
    reader: &mut Reader<'_>,
    peek: Peek,
    raw: &mut Vec<u8>,
) -> Result<Option<&'static str>, DecodeError> {
    if !peek.is_num() {
        return Ok(Some("is not a number"));
    }
    let Some(double) = number::double(reader.number(peek)?) else { return Ok(Some("is out of range")) };
    let single = number::single(double);
    if double.is_finite() && !single.is_finite() {
        return Ok(Some("is out of range"));
    }
    raw.extend_from_slice(&single.to_le_bytes());
    Ok(None)
}

fn push_double(
    reader: &mut Reader<'_>,
    peek: Peek,
    raw: &mut Vec<u8>,
) -> Result<Option<&'static str>, DecodeError> {
    if !peek.is_num() {
        return Ok(Some("is not a number"));
    }
    let Some(double) = number::double(reader.number(peek)?) else { return Ok(Some("is out of range")) };
    raw.extend_from_slice(&double.to_le_bytes());
    Ok(None)
}

/// The arrays are walked for as many values as the shape says.
struct Counted<'a> {
    shape: &'a [i64],
}

impl Walk for Counted<'_> {
    type Found = Vec<u8>;
    const BASE64: bool = false;

    fn walk(
        self,
        reader: &mut Reader<'_>,
        target: Target<'_>,
        mut push: impl FnMut(&mut Reader<'_>, Peek, &mut Vec<u8>) -> Result<Option<&'static str>, DecodeError>,
    ) -> Result<Vec<u8>, DecodeError> {
        let limits = reader.limits;
        let expected =
            tensor::value_count(target.datatype, self.shape, limits).map_err(|error| target.wrong(error))?;
        let mut raw = Vec::with_capacity(reserve(expected, target.datatype, reader.left()));
        let (mut depth, mut found): (usize, usize) = (1, 0);
        let mut next = reader.array("'data'")?;
        loop {
            match next {
                None => {
                    depth = depth.saturating_sub(1);
                    if depth == 0 {
                        break;
                    }
                    next = reader.step()?;
                }
                Some(Peek::Array) => {
                    depth = depth.saturating_add(1);
                    bound("depth of 'data'", depth, limits.max_json_depth)?;
                    next = reader.enter()?;
                }
                Some(peek) => {
                    let start = reader.index();
                    if found == expected {
                        let error = TensorError::Count { expected, found: found.saturating_add(1) };
                        return Err(target.wrong(error));
                    }
                    if let Some(problem) = push(reader, peek, &mut raw)? {
                        return Err(refuse(reader, target, start, found, problem));
                    }
                    if raw.len() > limits.max_tensor_bytes {
                        return Err(target.wrong(TensorError::TooLarge { limit: limits.max_tensor_bytes }));
                    }
                    found = found.saturating_add(1);
                    next = reader.step()?;
                }
            }
        }
        if found == expected { Ok(raw) } else { Err(target.wrong(TensorError::Count { expected, found })) }
    }
}

/// Memory to reserve: what the shape says, but no more values than the text can hold, at two bytes each (`0,`).
fn reserve(expected: usize, datatype: DataType, left: usize) -> usize {
    match datatype.size() {
        Some(size) => expected.min(left.div_ceil(2)).saturating_mul(size),
        None => 0,
    }
}

pub(super) fn refuse(
    reader: &mut Reader<'_>,
    target: Target<'_>,
    start: usize,
    index: usize,
    problem: &str,
) -> DecodeError {
    if reader.index() == start
        && let Err(error) = reader.skip()
    {
        return error;
    }
    let Target { kind, name, datatype } = target;
    reader.refuse(start, &format!("{kind} '{name}': value {index} {problem}: a {datatype} is expected"))
}
