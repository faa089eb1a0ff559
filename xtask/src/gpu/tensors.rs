//! Tensors and V2's binary form of them: tensors enter a request's bytes, an answer's bytes leave as tensors.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

/// A tensor, its elements little-endian.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tensor {
    pub(super) name: String,
    pub(super) datatype: Datatype,
    pub(super) shape: Vec<i64>,
    pub(super) data: Vec<u8>,
}

/// The datatypes that TensorRT and V2 both have, and those that only ONNX Runtime has, to say so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Datatype {
    Bool,
    Uint8,
    Int8,
    Int32,
    Int64,
    Fp16,
    Bf16,
    Fp32,
}

const NAMES: [(Datatype, &str, usize); 8] = [
    (Datatype::Bool, "BOOL", 1),
    (Datatype::Uint8, "UINT8", 1),
    (Datatype::Int8, "INT8", 1),
    (Datatype::Int32, "INT32", 4),
    (Datatype::Int64, "INT64", 8),
    (Datatype::Fp16, "FP16", 2),
    (Datatype::Bf16, "BF16", 2),
    (Datatype::Fp32, "FP32", 4),
];

impl Datatype {
    pub(super) fn name(self) -> &'static str {
        NAMES.iter().find(|(datatype, ..)| *datatype == self).map_or("", |(_, name, _)| name)
    }

    /// Bytes of an element.
    pub(super) fn size(self) -> usize {
        NAMES.iter().find(|(datatype, ..)| *datatype == self).map_or(1, |(.., size)| *size)
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        NAMES.iter().find(|(_, known, _)| *known == name).map(|(datatype, ..)| *datatype)
    }
}

impl Tensor {
    /// The elements as numbers.
    pub(super) fn numbers(&self) -> Vec<f64> {
        let bytes = &self.data;
        match self.datatype {
            Datatype::Bool | Datatype::Uint8 => bytes.iter().map(|byte| f64::from(*byte)).collect(),
            Datatype::Int8 => bytes.iter().map(|byte| f64::from(byte.cast_signed())).collect(),
            Datatype::Int32 => each(bytes, |bytes| f64::from(i32::from_le_bytes(bytes))),
            Datatype::Int64 => each(bytes, |bytes| i64::from_le_bytes(bytes) as f64),
            Datatype::Fp32 => each(bytes, |bytes| f64::from(f32::from_le_bytes(bytes))),
            // The upper half of an FP32.
            Datatype::Bf16 => {
                each(bytes, |[low, high]: [u8; 2]| f64::from(f32::from_le_bytes([0, 0, low, high])))
            }
            Datatype::Fp16 => each(bytes, |bytes| half(u16::from_le_bytes(bytes))),
        }
    }
}

fn each<const SIZE: usize>(bytes: &[u8], number: impl Fn([u8; SIZE]) -> f64) -> Vec<f64> {
    bytes.as_chunks().0.iter().map(|bytes| number(*bytes)).collect()
}

/// IEEE 754's binary16: a sign, 5 bits of exponent, 10 of fraction.
fn half(bits: u16) -> f64 {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 0x1f), f64::from(bits & 0x3ff));
    sign * match exponent {
        0 => fraction * 2_f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1.0 + fraction / 1024.0) * 2_f64.powi(exponent - 15),
    }
}

/// A whole request: the length of its JSON, and all of it.
pub(super) fn request(inputs: &[Tensor]) -> (usize, Vec<u8>) {
    let described = inputs.iter().map(|tensor| {
        json!({
            "name": tensor.name,
            "datatype": tensor.datatype.name(),
            "shape": tensor.shape,
            "parameters": { "binary_data_size": tensor.data.len() },
        })
    });
    let json = json!({
        "parameters": { "binary_data_output": true },
        "inputs": described.collect::<Vec<_>>(),
    });
    let mut body = json.to_string().into_bytes();
    let length = body.len();
    for tensor in inputs {
        body.extend_from_slice(&tensor.data);
    }
    (length, body)
}

/// An answer's tensors.
///
/// # Errors
/// It is no answer of that form.
pub(super) fn answer(json_length: usize, body: &[u8]) -> Result<Vec<Tensor>> {
    let (json, mut data) = body.split_at_checked(json_length).context("an answer shorter than its JSON")?;
    let json: Value = serde_json::from_slice(json)?;
    let mut tensors = Vec::new();
    for output in json["outputs"].as_array().context("an answer without outputs")? {
        let text = |name: &str| output[name].as_str().with_context(|| format!("an output without {name}"));
        let datatype = Datatype::named(text("datatype")?);
        let datatype = datatype.with_context(|| format!("an output of {}", output["datatype"]))?;
        let shape: Vec<i64> = serde_json::from_value(output["shape"].clone())?;
        let size = output["parameters"]["binary_data_size"].as_u64().context("an output in JSON")?;
        let (bytes, rest) =
            data.split_at_checked(usize::try_from(size)?).context("an answer that ends early")?;
        data = rest;
        tensors.push(Tensor { name: text("name")?.to_owned(), datatype, shape, data: bytes.to_vec() });
    }
    ensure!(data.is_empty(), "{} bytes of an answer are nobody's", data.len());
    Ok(tensors)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_the_numbers_that_ieee_says() {
        let known = [(0x3c00, 1.0), (0xc000, -2.0), (0x3555, 0.333_251_953_125), (0x0001, 2_f64.powi(-24))];
        for (bits, number) in known {
            assert!((half(bits) - number).abs() < f64::EPSILON, "{bits:#x}");
        }
        assert!(half(0x7e00).is_nan() && half(0xfc00) == f64::NEG_INFINITY);
    }

    #[test]
    fn what_a_request_holds_is_read_back_from_an_answer_of_that_form() {
        let tensor = Tensor {
            name: "x".into(),
            datatype: Datatype::Bf16,
            shape: vec![2],
            data: vec![0x80, 0x3f, 0, 0xc0],
        };
        let (length, body) = request(std::slice::from_ref(&tensor));
        let body = [
            String::from_utf8_lossy(&body[..length]).replace("inputs", "outputs").as_bytes(),
            &body[length..],
        ]
        .concat();
        assert_eq!(answer(length + 1, &body).unwrap(), std::slice::from_ref(&tensor));
        assert_eq!(tensor.numbers(), [1.0, -2.0]);
        assert!(answer(length + 1, &body[..body.len() - 1]).is_err());
    }
}
