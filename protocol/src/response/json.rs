//! Writes an answer's JSON straight from raw values: no tree, no text in between.

use super::{Picked, ResponseError};
use crate::datatype::DataType;
use crate::messages::{Choice, ModelInferResponse, Parameters};
use crate::tensor::Elements;
use crate::wants::Form;

/// Writes the whole JSON part.
pub(super) fn write(
    out: &mut Vec<u8>,
    response: &ModelInferResponse,
    outputs: &[Picked<'_>],
    id: &str,
) -> Result<(), ResponseError> {
    out.push(b'{');
    if !id.is_empty() {
        out.extend_from_slice(b"\"id\":");
        write_string(out, id);
        out.push(b',');
    }
    out.extend_from_slice(b"\"model_name\":");
    write_string(out, &response.model_name);
    out.extend_from_slice(b",\"model_version\":");
    write_string(out, &response.model_version);
    if !response.parameters.is_empty() {
        out.extend_from_slice(b",\"parameters\":");
        write_parameters(out, &response.parameters, None);
    }
    out.extend_from_slice(b",\"outputs\":[");
    for (index, output) in outputs.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_output(out, output)?;
    }
    out.extend_from_slice(b"]}");
    Ok(())
}

fn write_output(out: &mut Vec<u8>, output: &Picked<'_>) -> Result<(), ResponseError> {
    let tensor = output.tensor;
    let datatype: DataType = tensor.datatype.parse()?;
    out.extend_from_slice(b"{\"name\":");
    write_string(out, &tensor.name);
    out.extend_from_slice(b",\"datatype\":\"");
    out.extend_from_slice(datatype.as_str().as_bytes());
    out.extend_from_slice(b"\",\"shape\":[");
    let mut numbers = itoa::Buffer::new();
    for (index, dimension) in tensor.shape.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(numbers.format(*dimension).as_bytes());
    }
    out.push(b']');
    let binary_size = (output.form == Form::Binary).then_some(output.data.len());
    if binary_size.is_some() || !tensor.parameters.is_empty() {
        out.extend_from_slice(b",\"parameters\":");
        write_parameters(out, &tensor.parameters, binary_size);
    }
    if output.form == Form::Json {
        out.extend_from_slice(b",\"data\":[");
        write_values(out, &tensor.name, datatype, output.data)?;
        out.push(b']');
    }
    out.push(b'}');
    Ok(())
}

/// Writes parameters as an object, `binary_data_size` first where there is one.
pub fn write_parameters(out: &mut Vec<u8>, parameters: &Parameters, binary_size: Option<usize>) {
    out.push(b'{');
    let mut separator: &[u8] = b"";
    if let Some(size) = binary_size {
        out.extend_from_slice(b"\"binary_data_size\":");
        out.extend_from_slice(itoa::Buffer::new().format(size).as_bytes());
        separator = b",";
    }
    for (name, parameter) in parameters {
        let Some(choice) = &parameter.choice else { continue };
        out.extend_from_slice(separator);
        separator = b",";
        write_string(out, name);
        out.push(b':');
        match choice {
            Choice::Bool(value) => out.extend_from_slice(if *value { b"true" } else { b"false" }),
            Choice::Int64(value) => out.extend_from_slice(itoa::Buffer::new().format(*value).as_bytes()),
            Choice::Uint64(value) => out.extend_from_slice(itoa::Buffer::new().format(*value).as_bytes()),
            Choice::Double(value) => write_float(out, *value),
            Choice::String(value) => write_string(out, value),
        }
    }
    out.push(b'}');
}

/// Writes values with commas between.
///
/// # Errors
/// [`ResponseError::NoJsonForm`], [`ResponseError::NotText`], [`ResponseError::NotCanonical`].
pub fn write_values(
    out: &mut Vec<u8>,
    name: &str,
    datatype: DataType,
    data: &[u8],
) -> Result<(), ResponseError> {
    macro_rules! integers {
        ($type:ty) => {{
            let mut buffer = itoa::Buffer::new();
            each(out, data, |out, bytes| {
                out.extend_from_slice(buffer.format(<$type>::from_le_bytes(bytes)).as_bytes())
            })
        }};
    }
    let whole = match datatype {
        DataType::Bool => each(out, data, |out, [byte]: [u8; 1]| {
            out.extend_from_slice(if byte == 0 { b"false" } else { b"true" });
        }),
        DataType::Uint8 => integers!(u8),
        DataType::Uint16 => integers!(u16),
        DataType::Uint32 => integers!(u32),
        DataType::Uint64 => integers!(u64),
        DataType::Int8 => integers!(i8),
        DataType::Int16 => integers!(i16),
        DataType::Int32 => integers!(i32),
        DataType::Int64 => integers!(i64),
        DataType::Fp32 => each(out, data, |out, bytes| write_float(out, f32::from_le_bytes(bytes))),
        DataType::Fp64 => each(out, data, |out, bytes| write_float(out, f64::from_le_bytes(bytes))),
        DataType::Fp16 | DataType::Bf16 => {
            return Err(ResponseError::NoJsonForm { name: name.to_owned(), datatype });
        }
        DataType::Bytes => return write_elements(out, name, data),
    };
    whole.ok_or_else(|| ResponseError::NotCanonical {
        name: name.to_owned(),
        problem: format!("{} bytes are not a whole number of {datatype} values", data.len()),
    })
}

/// Writes each value of `N` bytes, with commas between; `None` when bytes are left over.
fn each<const N: usize>(
    out: &mut Vec<u8>,
    data: &[u8],
    mut write: impl FnMut(&mut Vec<u8>, [u8; N]),
) -> Option<()> {
    let (values, rest) = data.as_chunks::<N>();
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write(out, *value);
    }
    rest.is_empty().then_some(())
}

fn write_elements(out: &mut Vec<u8>, name: &str, data: &[u8]) -> Result<(), ResponseError> {
    for (index, element) in Elements(data).enumerate() {
        if index > 0 {
            out.push(b',');
        }
        let element = element.map_err(|()| ResponseError::NotCanonical {
            name: name.to_owned(),
            problem: format!("element {index} reaches past the end"),
        })?;
        let text = std::str::from_utf8(element).map_err(|_| ResponseError::NotText(name.to_owned()))?;
        write_string(out, text);
    }
    Ok(())
}

/// The shortest text that reads back as the same float, or the tokens that Triton and Python write.
fn write_float<F: ryu::Float + Into<f64> + Copy>(out: &mut Vec<u8>, value: F) {
    let wide: f64 = value.into();
    if wide.is_finite() {
        out.extend_from_slice(ryu::Buffer::new().format_finite(value).as_bytes());
    } else if wide.is_nan() {
        out.extend_from_slice(b"NaN");
    } else {
        out.extend_from_slice(if wide > 0.0 { b"Infinity" } else { b"-Infinity" });
    }
}

/// A JSON string, escaped where JSON demands it.
pub fn write_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20)) {
        let (plain, from) = rest.split_at_checked(at).unwrap_or((rest, &[]));
        out.extend_from_slice(plain);
        let Some((byte, after)) = from.split_first() else { break };
        write_escape(out, *byte);
        rest = after;
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

fn write_escape(out: &mut Vec<u8>, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    match byte {
        b'"' => out.extend_from_slice(b"\\\""),
        b'\\' => out.extend_from_slice(b"\\\\"),
        b'\n' => out.extend_from_slice(b"\\n"),
        b'\r' => out.extend_from_slice(b"\\r"),
        b'\t' => out.extend_from_slice(b"\\t"),
        _ => {
            let digit = |value: u8| HEX.get(usize::from(value)).copied().unwrap_or(b'0');
            out.extend_from_slice(&[b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(byte & 15)]);
        }
    }
}
