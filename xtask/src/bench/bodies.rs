//! The requests that are sent: for each, what stays the same and what is new every time.

use forebay_protocol::messages::{InferInputTensor, ModelInferRequest};
use prost::Message as _;
use serde_json::json;

/// Stands for eight digits that are new in every request.
const NEW: &str = "10000000";
/// FP64 values of about 9 bytes of JSON each.
const VALUES_1K: usize = 100;
const VALUES_64K: usize = 7200;
/// FP32 values of 64 KiB.
const BINARY_VALUES: usize = 16_384;
/// magika's input.
const MAGIKA_VALUES: usize = 2048;

/// vad's inputs: samples, and what it remembers. Names, shapes and how many values.
const VAD: [(&str, &[i64], usize); 2] = [("input", &[1, 576], 576), ("state", &[2, 1, 128], 256)];

/// A request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    /// The same every time.
    Json1k,
    Json64k,
    Binary64k,
    /// The same tensors, another `id` every time.
    Json1kNewId,
    Json64kNewId,
    Binary64kNewId,
    /// Another value every time.
    Json1kNew,
    Binary64kNew,
    /// Real models' inputs.
    Magika,
    VadJson,
    VadBinary,
}

impl Body {
    /// Those that every answer of a hit is one of.
    pub(super) const ALL: [Self; 3] = [Self::Json1k, Self::Json64k, Self::Binary64k];

    fn is_binary(self) -> bool {
        matches!(
            self,
            Self::Binary64k | Self::Binary64kNewId | Self::Binary64kNew | Self::Magika | Self::VadBinary
        )
    }

    /// Where it goes.
    pub(super) fn url(self, base: &str) -> String {
        let model = match self {
            Self::Magika => "magika",
            Self::VadJson | Self::VadBinary => "vad",
            binary if binary.is_binary() => "identity_fp32",
            _ => "identity_fp64",
        };
        format!("{base}/v2/models/{model}/infer")
    }

    /// File name of its answer.
    pub(super) fn answer_file(self) -> String {
        format!("answer-{self:?}")
    }

    pub(super) fn headers(self) -> Vec<(&'static str, &'static str)> {
        if !self.is_binary() {
            return vec![("content-type", "application/json")];
        }
        let length = self.json().len().to_string();
        vec![("content-type", "application/octet-stream"), ("inference-header-content-length", length.leak())]
    }

    fn json(self) -> String {
        let id = matches!(self, Self::Json1kNewId | Self::Json64kNewId | Self::Binary64kNewId);
        let id = if id { format!("\"id\":\"{NEW}\",") } else { String::new() };
        let first = if self == Self::Json1kNew { NEW } else { "0.5" };
        let tensor = match self {
            Self::Json1k | Self::Json1kNewId | Self::Json1kNew => fp64(VALUES_1K, first),
            Self::Json64k | Self::Json64kNewId => fp64(VALUES_64K, first),
            Self::Magika => json!({"name": "bytes", "datatype": "INT32", "shape": [1, MAGIKA_VALUES],
                                   "parameters": {"binary_data_size": MAGIKA_VALUES * 4}})
            .to_string(),
            Self::VadJson => vad(|count| format!("\"data\":[{}]", values(0, count))),
            Self::VadBinary => {
                vad(|count| format!("\"parameters\":{{\"binary_data_size\":{}}}", count * size_of::<f32>()))
            }
            _ => json!({"name": "x", "datatype": "FP32", "shape": [1, BINARY_VALUES],
                        "parameters": {"binary_data_size": BINARY_VALUES * 4}})
            .to_string(),
        };
        let wants = if self.is_binary() { "\"parameters\":{\"binary_data_output\":true}," } else { "" };
        format!("{{{id}{wants}\"inputs\":[{tensor}]}}")
    }

    /// The whole body.
    pub(super) fn bytes(self) -> Vec<u8> {
        let mut bytes = self.json().into_bytes();
        match self {
            Self::Magika => bytes.extend(std::iter::repeat_n(65_i32.to_le_bytes(), MAGIKA_VALUES).flatten()),
            Self::VadBinary => bytes.extend(VAD.iter().flat_map(|(.., count)| floats(*count))),
            Self::Binary64kNew => {
                bytes.extend_from_slice(NEW.as_bytes());
                bytes.extend(std::iter::repeat_n(0.5_f32.to_le_bytes(), BINARY_VALUES - 2).flatten());
            }
            binary if binary.is_binary() => {
                bytes.extend(std::iter::repeat_n(0.5_f32.to_le_bytes(), BINARY_VALUES).flatten());
            }
            _ => {}
        }
        bytes
    }

    /// What comes before and after the digits that are new every time; nothing after: nothing is new.
    pub(super) fn split(self) -> (Vec<u8>, Vec<u8>) {
        let bytes = self.bytes();
        let at = bytes.windows(NEW.len()).position(|window| window == NEW.as_bytes());
        match at {
            Some(at) => (bytes[..at].to_vec(), bytes[at + NEW.len()..].to_vec()),
            None => (bytes, Vec::new()),
        }
    }
}

/// vad's input as one gRPC message: its flag, its length, and itself.
pub(super) fn vad_grpc() -> Vec<u8> {
    let inputs = VAD.map(|(name, shape, _)| InferInputTensor {
        name: name.to_owned(),
        datatype: "FP32".to_owned(),
        shape: shape.to_vec(),
        ..InferInputTensor::default()
    });
    let request = ModelInferRequest {
        model_name: "vad".to_owned(),
        inputs: inputs.to_vec(),
        raw_input_contents: VAD.map(|(.., count)| floats(count).into()).to_vec(),
        ..ModelInferRequest::default()
    };
    let message = request.encode_to_vec();
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes();
    [&[0][..], &length, &message].concat()
}

/// vad's tensors as JSON, each with its data as `data` writes it.
fn vad(data: impl Fn(usize) -> String) -> String {
    let tensor = |(name, shape, count): (&str, &[i64], usize)| {
        format!("{{\"name\":\"{name}\",\"datatype\":\"FP32\",\"shape\":{shape:?},{}}}", data(count))
    };
    VAD.map(tensor).join(",")
}

/// The values that [`values`] writes from 0 on.
fn floats(count: usize) -> Vec<u8> {
    (0..count).flat_map(|index| (index as f32 / 10_000.0).to_le_bytes()).collect()
}

/// Values of about 9 bytes of JSON each.
fn values(from: usize, to: usize) -> String {
    (from..to).map(|index| format!("{:.6}", index as f64 / 10_000.0)).collect::<Vec<_>>().join(",")
}

fn fp64(count: usize, first: &str) -> String {
    format!(
        "{{\"name\":\"x\",\"datatype\":\"FP64\",\"shape\":[1,{count}],\"data\":[{first},{}]}}",
        values(1, count)
    )
}
