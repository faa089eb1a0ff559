//! An answer -> text: what became of the request, and each output with its first values.

use std::fmt::Write as _;
use std::time::Duration;

use bytes::Bytes;
use forebay_protocol::contents;
use forebay_protocol::datatype::DataType;
use forebay_protocol::messages::{InferInputTensor, ModelInferRequest, ModelInferResponse};
use forebay_protocol::response::{self, write_values};
use forebay_protocol::tensor::Elements;
use half::{bf16, f16};
use prost::Message as _;

use crate::client::connection::Answer;
use crate::client::inputs::LIMITS;
use crate::settings::Encoding;

/// Values of an output that are shown.
const SHOWN: usize = 8;
/// Characters of a string that are shown.
const SHOWN_CHARACTERS: usize = 60;

/// Of an answer, all but its outputs.
pub(super) struct Told<'a> {
    pub(super) encoding: Encoding,
    pub(super) answer: &'a Answer<'a>,
    pub(super) connected: Duration,
    pub(super) took: Duration,
    pub(super) sent: usize,
    pub(super) received: usize,
}

/// Reads an answer's body into canonical form.
///
/// # Errors
/// It is none.
pub(super) fn read(
    encoding: Encoding,
    header_length: Option<usize>,
    body: &Bytes,
) -> anyhow::Result<ModelInferResponse> {
    if encoding != Encoding::Grpc {
        return Ok(response::decode(header_length, body, &LIMITS)?);
    }
    let mut read = ModelInferResponse::decode(body.clone())?;
    if read.raw_output_contents.len() != read.outputs.len() {
        // Some servers answer with typed values: they have the form of a request's.
        let inputs = read.outputs.iter_mut().map(|output| InferInputTensor {
            name: output.name.clone(),
            datatype: output.datatype.clone(),
            shape: output.shape.clone(),
            contents: output.contents.take(),
            ..InferInputTensor::default()
        });
        let mut typed = ModelInferRequest { inputs: inputs.collect(), ..ModelInferRequest::default() };
        contents::canonicalize(&mut typed, &LIMITS)?;
        read.raw_output_contents = typed.raw_input_contents;
    }
    Ok(read)
}

/// The text.
pub(super) fn text(told: &Told<'_>, read: &ModelInferResponse) -> String {
    let answer = told.answer;
    let mut rows = vec![
        (
            "model".to_owned(),
            format!("{} version {}", read.model_name, or_none(read.model_version.as_bytes())),
        ),
        ("status".to_owned(), answer.status.to_string()),
        ("Cache-Status".to_owned(), or_none(answer.cache_status)),
        ("Age".to_owned(), or_none(answer.age)),
        (
            "latency".to_owned(),
            format!("{} (and {} to connect)", milliseconds(told.took), milliseconds(told.connected)),
        ),
        (
            "bytes".to_owned(),
            format!("{} sent, {} received as {}", told.sent, told.received, told.encoding.name()),
        ),
    ];
    if !read.id.is_empty() {
        rows.insert(1, ("id".to_owned(), read.id.clone()));
    }
    let outputs = read.outputs.iter().zip(&read.raw_output_contents);
    rows.extend(outputs.map(|(output, data)| {
        let values = values(&output.datatype, data);
        (output.name.clone(), format!("{} {:?} = {values}", output.datatype, output.shape))
    }));
    let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    rows.into_iter().fold(String::new(), |mut text, (name, value)| {
        let _ = writeln!(text, "{name:<width$}  {value}");
        text
    })
}

fn or_none(text: &[u8]) -> String {
    if text.is_empty() { "-".to_owned() } else { String::from_utf8_lossy(text).into_owned() }
}

fn milliseconds(time: Duration) -> String {
    format!("{:.3} ms", time.as_secs_f64() * 1000.0)
}

/// The first values, and how many there are.
fn values(datatype: &str, data: &[u8]) -> String {
    let Ok(datatype) = datatype.parse::<DataType>() else { return format!("{} bytes", data.len()) };
    let (shown, count) = match datatype {
        DataType::Bytes => {
            let strings: Vec<&[u8]> = Elements(data).map_while(Result::ok).collect();
            (strings.iter().take(SHOWN).map(|string| quoted(string)).collect::<Vec<_>>(), strings.len())
        }
        DataType::Fp16 => halves(data, |bytes| f16::from_le_bytes(bytes).to_f32()),
        DataType::Bf16 => halves(data, |bytes| bf16::from_le_bytes(bytes).to_f32()),
        _ => {
            let size = datatype.size().unwrap_or(1);
            let mut text = Vec::new();
            let first = &data[..data.len().min(SHOWN * size)];
            let _ = write_values(&mut text, "", datatype, first);
            let text = String::from_utf8_lossy(&text);
            (
                text.split(',').filter(|value| !value.is_empty()).map(str::to_owned).collect(),
                data.len() / size,
            )
        }
    };
    let more = if count > shown.len() { format!(", ... ({count} values)") } else { String::new() };
    format!("{}{more}", shown.join(", "))
}

fn halves(data: &[u8], value: fn([u8; 2]) -> f32) -> (Vec<String>, usize) {
    let (values, _) = data.as_chunks::<2>();
    (values.iter().take(SHOWN).map(|bytes| value(*bytes).to_string()).collect(), values.len())
}

fn quoted(string: &[u8]) -> String {
    let text = String::from_utf8_lossy(string);
    let shown: String = text.chars().take(SHOWN_CHARACTERS).collect();
    let more = if shown.len() < text.len() { "..." } else { "" };
    format!("{shown:?}{more}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_shown_as_numbers_and_long_lists_say_how_long() {
        assert_eq!(values("FP16", &f16::from_f32(1.5).to_le_bytes()), "1.5");
        assert_eq!(values("BF16", &bf16::from_f32(-2.0).to_le_bytes()), "-2");
        assert_eq!(values("BOOL", &[1, 0]), "true, false");
        assert_eq!(values("BYTES", b"\x03\0\0\0a\"b\0\0\0\0"), "\"a\\\"b\", \"\"");
        assert_eq!(values("UINT8", &[7; 100]), "7, 7, 7, 7, 7, 7, 7, 7, ... (100 values)");
        assert_eq!(values("FP32", &[]), "");
    }
}
