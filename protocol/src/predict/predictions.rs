//! An answer as V1 writes it: `predictions`, one a row; a row is the only output's, or an object of all outputs.

use super::PredictError;
use crate::datatype::DataType;
use crate::decode::BASE64_KEY;
use crate::messages::ModelInferResponse;
use crate::response::{ResponseError, write_string, write_values};
use crate::tensor::Elements;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;

/// Writes `{"predictions":[..]}`; numbers are as V2's JSON has them, `NaN` and `Infinity` too.
///
/// # Errors
/// `Scalar`, `Rows`, and `Response` for what has no JSON form.
pub fn encode(response: &ModelInferResponse) -> Result<Vec<u8>, PredictError> {
    let outputs = response.outputs.iter().zip(&response.raw_output_contents);
    let mut outputs = outputs
        .map(|(tensor, data)| Output::of(&tensor.name, &tensor.datatype, &tensor.shape, data))
        .collect::<Result<Vec<_>, _>>()?;
    let rows = outputs.first().map_or(0, |output| output.rows);
    if outputs.iter().any(|output| output.rows != rows) {
        return Err(PredictError::Rows);
    }
    let bytes: usize = response.raw_output_contents.iter().map(Bytes::len).sum();
    // A value of four bytes is about ten characters as JSON.
    let mut out = Vec::with_capacity(bytes.saturating_mul(3).saturating_add(64));
    out.extend_from_slice(b"{\"predictions\":[");
    for row in 0..rows {
        separate(&mut out, row);
        if let [output] = outputs.as_mut_slice() {
            output.write_row(&mut out)?;
            continue;
        }
        for (place, output) in outputs.iter_mut().enumerate() {
            out.push(if place == 0 { b'{' } else { b',' });
            write_string(&mut out, output.name);
            out.push(b':');
            output.write_row(&mut out)?;
        }
        out.push(b'}');
    }
    out.extend_from_slice(b"]}");
    Ok(out)
}

fn separate(out: &mut Vec<u8>, index: usize) {
    if index > 0 {
        out.push(b',');
    }
}

/// An output of which some rows are written.
struct Output<'a> {
    name: &'a str,
    datatype: DataType,
    rows: usize,
    /// Dimensions of a row.
    row: Vec<usize>,
    /// What is not written yet.
    data: &'a [u8],
}

impl<'a> Output<'a> {
    fn of(name: &'a str, datatype: &str, shape: &[i64], data: &'a [u8]) -> Result<Self, PredictError> {
        let datatype: DataType = datatype.parse().map_err(ResponseError::from)?;
        let length = |dimension: &i64| {
            usize::try_from(*dimension)
                .map_err(|_| not_canonical(name, format!("a dimension of its shape is {dimension}")))
        };
        let shape = shape.iter().map(length).collect::<Result<Vec<_>, _>>()?;
        let Some((rows, row)) = shape.split_first() else {
            return Err(PredictError::Scalar(name.to_owned()));
        };
        Ok(Self { name, datatype, rows: *rows, row: row.to_vec(), data })
    }

    fn write_row(&mut self, out: &mut Vec<u8>) -> Result<(), PredictError> {
        let Self { name, datatype, row, data, .. } = self;
        write_nested(out, &Target { name, datatype: *datatype }, row, data)
    }
}

struct Target<'a> {
    name: &'a str,
    datatype: DataType,
}

/// Writes values by their shape. A model's shapes are no deeper than its graph says.
fn write_nested(
    out: &mut Vec<u8>,
    target: &Target<'_>,
    shape: &[usize],
    data: &mut &[u8],
) -> Result<(), PredictError> {
    let Some((length, inner)) = shape.split_first() else {
        return write_flat(out, target, 1, data);
    };
    out.push(b'[');
    if inner.is_empty() {
        write_flat(out, target, *length, data)?;
    } else {
        for index in 0..*length {
            separate(out, index);
            write_nested(out, target, inner, data)?;
        }
    }
    out.push(b']');
    Ok(())
}

/// Writes the next values of `data`.
fn write_flat(
    out: &mut Vec<u8>,
    target: &Target<'_>,
    count: usize,
    data: &mut &[u8],
) -> Result<(), PredictError> {
    let Target { name, datatype } = *target;
    let values = values_size(datatype, count, data).and_then(|size| data.split_at_checked(size));
    let (values, rest) = values
        .ok_or_else(|| not_canonical(name, "its shape stands for more values than it has".to_owned()))?;
    *data = rest;
    if datatype == DataType::Bytes {
        write_elements(out, values);
        return Ok(());
    }
    Ok(write_values(out, name, datatype, values)?)
}

/// Strings, or what names bytes that are none. The elements are whole.
fn write_elements(out: &mut Vec<u8>, data: &[u8]) {
    for (index, element) in Elements(data).filter_map(Result::ok).enumerate() {
        separate(out, index);
        if let Ok(text) = std::str::from_utf8(element) {
            write_string(out, text);
        } else {
            out.push(b'{');
            write_string(out, BASE64_KEY);
            out.push(b':');
            write_string(out, &BASE64_STANDARD.encode(element));
            out.push(b'}');
        }
    }
}

/// Bytes of the next values.
fn values_size(datatype: DataType, count: usize, data: &[u8]) -> Option<usize> {
    if let Some(size) = datatype.size() {
        return size.checked_mul(count);
    }
    let mut elements = Elements(data);
    for _ in 0..count {
        elements.next()?.ok()?;
    }
    data.len().checked_sub(elements.0.len())
}

fn not_canonical(name: &str, problem: String) -> ResponseError {
    ResponseError::NotCanonical { name: name.to_owned(), problem }
}
