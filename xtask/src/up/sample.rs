//! What a model may be asked: its metadata and configuration enter, requests with made-up values leave. Next: `try_it` sees which
//! sizes of its free dimensions it takes.

use anyhow::{Context, Result};
use forebay_protocol::datatype::DataType;
use serde_json::{Value, json};

/// How a request's tensors are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Json,
    Binary,
}

impl Encoding {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Json => "JSON",
            Self::Binary => "binary",
        }
    }
}

/// A model that can be asked.
#[derive(Debug, PartialEq)]
pub(crate) struct Sample {
    pub(crate) model: String,
    /// Does its configuration say that answers may be kept?
    pub(crate) cached: bool,
    inputs: Vec<Input>,
    /// Has it outputs that JSON can't carry?
    raw_outputs: bool,
}

#[derive(Debug, PartialEq)]
struct Input {
    name: String,
    datatype: DataType,
    /// -1 is a free dimension.
    shape: Vec<i64>,
}

/// A request.
pub(crate) struct Body {
    /// Bytes of JSON, where tensors follow it.
    pub(crate) json_length: Option<usize>,
    pub(crate) bytes: Vec<u8>,
}

/// Sizes that free dimensions may get: the first of a tensor, which mostly counts a batch, and the others. Small ones first.
pub(crate) const SIZES: [(i64, i64); 7] = [(1, 1), (1, 16), (1, 64), (1, 224), (1, 512), (16, 16), (64, 64)];

impl Sample {
    /// # Errors
    /// They aren't V2's metadata of a model.
    pub(crate) fn of(model: &str, metadata: &Value, config: &Value) -> Result<Self> {
        let tensors = |which: &str| metadata[which].as_array().with_context(|| format!("no {which}"));
        let datatype = |tensor: &Value| -> Result<DataType> {
            Ok(tensor["datatype"].as_str().context("a tensor without datatype")?.parse()?)
        };
        let inputs = tensors("inputs")?.iter().map(|tensor| {
            let name = tensor["name"].as_str().context("an input without name")?.to_owned();
            // gRPC's JSON writes integers of 64 bits as text.
            let dims = tensor["shape"].as_array().context("an input without shape")?.iter();
            let dims = dims.map(|dim| dim.as_i64().or_else(|| dim.as_str()?.parse().ok()));
            let shape = dims.collect::<Option<_>>().context("a shape that isn't integers")?;
            Ok(Input { name, datatype: datatype(tensor)?, shape })
        });
        let outputs = tensors("outputs")?.iter().map(datatype).collect::<Result<Vec<_>>>()?;
        Ok(Self {
            model: model.to_owned(),
            cached: config["response_cache"]["enable"] == true,
            inputs: inputs.collect::<Result<_>>()?,
            raw_outputs: outputs.iter().any(|datatype| !datatype.has_json_form()),
        })
    }

    /// Gives free dimensions those sizes.
    pub(crate) fn sized(&self, (first, others): (i64, i64)) -> Self {
        let inputs = self.inputs.iter().map(|input| {
            let dims = input.shape.iter().enumerate();
            let size = |(at, dim): (usize, &i64)| match (at, *dim) {
                (0, -1) => first,
                (_, -1) => others,
                (_, dim) => dim,
            };
            Input { name: input.name.clone(), datatype: input.datatype, shape: dims.map(size).collect() }
        });
        Self { model: self.model.clone(), inputs: inputs.collect(), ..*self }
    }

    /// Those in which it can be asked.
    pub(crate) fn encodings(&self) -> &'static [Encoding] {
        let json = self.inputs.iter().all(|input| input.datatype.has_json_form());
        if json { &[Encoding::Json, Encoding::Binary] } else { &[Encoding::Binary] }
    }

    /// Does an answer carry its tensors in binary?
    pub(crate) fn raw_outputs(&self) -> bool {
        self.raw_outputs
    }

    /// A request; with another seed, of other values.
    pub(crate) fn request(&self, encoding: Encoding, seed: usize) -> Body {
        let described = self.inputs.iter().map(|input| {
            let Input { name, datatype, shape } = input;
            let mut described = json!({"name": name, "datatype": datatype.as_str(), "shape": shape});
            match encoding {
                Encoding::Json => described["data"] = input.json(seed),
                Encoding::Binary => {
                    described["parameters"] = json!({"binary_data_size": input.binary(seed).len()});
                }
            }
            described
        });
        let mut request = json!({"inputs": described.collect::<Vec<_>>()});
        if self.raw_outputs {
            request["parameters"] = json!({"binary_data_output": true});
        }
        let mut bytes = request.to_string().into_bytes();
        match encoding {
            Encoding::Json => Body { json_length: None, bytes },
            Encoding::Binary => {
                let json_length = Some(bytes.len());
                bytes.extend(self.inputs.iter().flat_map(|input| input.binary(seed)));
                Body { json_length, bytes }
            }
        }
    }
}

impl Input {
    fn elements(&self, seed: usize) -> impl Iterator<Item = usize> {
        let count = self.shape.iter().product::<i64>();
        (0..usize::try_from(count).unwrap_or(0)).map(move |at| at + seed)
    }

    fn json(&self, seed: usize) -> Value {
        let elements = self.elements(seed);
        match self.datatype {
            DataType::Bool => elements.map(|at| bit(at) == 1).collect(),
            DataType::Bytes => elements.map(text).collect(),
            DataType::Fp16 | DataType::Bf16 | DataType::Fp32 | DataType::Fp64 => elements.map(wave).collect(),
            // Sound as an index of almost anything.
            _ => elements.map(bit).collect(),
        }
    }

    /// As V2's binary tensors are: little-endian, BYTES with their lengths before them.
    fn binary(&self, seed: usize) -> Vec<u8> {
        let elements = self.elements(seed);
        match self.datatype {
            DataType::Fp32 => elements.flat_map(|at| wave(at).to_le_bytes()).collect(),
            DataType::Fp64 => elements.flat_map(|at| f64::from(wave(at)).to_le_bytes()).collect(),
            // The upper half of an FP32; of an FP16, 0 and 1/2.
            DataType::Bf16 => elements.flat_map(|at| wave(at).to_le_bytes().into_iter().skip(2)).collect(),
            DataType::Fp16 => elements.flat_map(|at| [0, if bit(at) == 1 { 0x38 } else { 0 }]).collect(),
            DataType::Bytes => elements
                .flat_map(|at| {
                    let text = text(at).into_bytes();
                    let length = u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes();
                    length.into_iter().chain(text)
                })
                .collect(),
            other => {
                let size = other.size().unwrap_or(1);
                elements.flat_map(|at| bit(at).to_le_bytes().into_iter().take(size)).collect()
            }
        }
    }
}

/// 0 or 1, in an order (of Thue and Morse) that is another one from wherever it begins: so seeds differ where there are three elements.
fn bit(at: usize) -> usize {
    at.count_ones() as usize % 2
}

/// From -1/2 to 1/2, in steps that every float holds exactly.
fn wave(at: usize) -> f32 {
    (at % 129) as f32 / 128.0 - 0.5
}

fn text(at: usize) -> String {
    format!("text {at}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(datatype: &str, shape: &[i64]) -> Sample {
        let tensor = json!([{"name": "x", "datatype": datatype, "shape": shape}]);
        Sample::of("m", &json!({"inputs": tensor, "outputs": tensor}), &json!({})).unwrap()
    }

    #[test]
    fn a_request_has_the_bytes_that_its_json_says() {
        for datatype in forebay_protocol::datatype::ALL {
            let sample = sample(datatype.as_str(), &[-1, 3, -1]).sized((2, 4));
            assert_eq!(sample.inputs[0].shape, [2, 3, 4]);
            let body = sample.request(Encoding::Binary, 0);
            let length = body.json_length.unwrap();
            let json: Value = serde_json::from_slice(&body.bytes[..length]).unwrap();
            let size = &json["inputs"][0]["parameters"]["binary_data_size"];
            assert_eq!(*size, body.bytes.len() - length, "{datatype}");
            let expected = datatype.size().map_or_else(|| 14 * (4 + 6) + 10 * (4 + 7), |size| 24 * size);
            assert!(datatype == DataType::Bytes || *size == expected, "{datatype}: {size}");
        }
    }

    #[test]
    fn another_seed_is_another_request_even_of_one_element() {
        for datatype in forebay_protocol::datatype::ALL {
            let sample = sample(datatype.as_str(), &[]);
            let [one, other] = [0, 1].map(|seed| sample.request(Encoding::Binary, seed).bytes);
            assert_ne!(one, other, "{datatype}");
        }
    }

    #[test]
    fn the_seeds_of_the_three_encodings_differ_of_three_elements() {
        for datatype in forebay_protocol::datatype::ALL {
            let sample = sample(datatype.as_str(), &[3]);
            let [json, binary, call] = [0, 1, 3].map(|seed| sample.request(Encoding::Binary, seed).bytes);
            assert!(json != binary && binary != call && call != json, "{datatype}");
        }
    }

    #[test]
    fn types_that_json_lacks_are_asked_for_in_binary() {
        assert_eq!(sample("FP16", &[1]).encodings(), [Encoding::Binary]);
        assert!(sample("BF16", &[1]).raw_outputs());
        assert_eq!(sample("FP32", &[1]).encodings(), [Encoding::Json, Encoding::Binary]);
    }
}
