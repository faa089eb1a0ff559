//! The requests that are sent: for each its tensors, how they are encoded, and what is new every time.

use serde_json::{Value, json};

/// FP64 values of about 9 bytes of JSON each.
const VALUES_1K: usize = 100;
const VALUES_64K: usize = 7200;
/// FP32 values of 64 KiB.
const BINARY_VALUES: usize = 16_384;
/// magika's input.
const MAGIKA_VALUES: usize = 2048;

/// vad's inputs: samples, and what it remembers. Names, shapes and how many values.
const VAD: [(&str, &[usize], usize); 2] = [("input", &[1, 576], 576), ("state", &[2, 1, 128], 256)];

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
    /// Other values every time.
    Json1kNew,
    Binary64kNew,
    /// The same, with a priority.
    Json1kNewUrgent,
    /// Real models' inputs.
    Magika,
    VadJson,
    VadBinary,
    VadGrpc,
    /// As their namesakes, over gRPC.
    Grpc1k,
    Grpc64k,
}

/// An input: what it is called, what it is, and its values as JSON and as bytes.
struct Tensor {
    name: &'static str,
    datatype: &'static str,
    shape: Vec<usize>,
    values: Vec<Value>,
    raw: Vec<u8>,
}

impl Body {
    /// Those that every answer of a hit is one of.
    pub(super) const ALL: [Self; 3] = [Self::Json1k, Self::Json64k, Self::Binary64k];

    fn is_binary(self) -> bool {
        self.encoding() == "binary"
    }

    pub(super) fn is_grpc(self) -> bool {
        self.encoding() == "grpc"
    }

    fn encoding(self) -> &'static str {
        match self {
            Self::Json1k
            | Self::Json64k
            | Self::Json1kNewId
            | Self::Json64kNewId
            | Self::Json1kNew
            | Self::Json1kNewUrgent
            | Self::VadJson => "json",
            Self::Binary64k | Self::Binary64kNewId | Self::Binary64kNew | Self::Magika | Self::VadBinary => {
                "binary"
            }
            Self::VadGrpc | Self::Grpc1k | Self::Grpc64k => "grpc",
        }
    }

    /// The model that is asked.
    pub(super) fn model(self) -> &'static str {
        match self {
            Self::Magika => "magika",
            Self::VadJson | Self::VadBinary | Self::VadGrpc => "vad",
            fp32 if fp32.is_binary() || fp32 == Self::Grpc64k => "identity_fp32",
            _ => "identity_fp64",
        }
    }

    /// Where it goes over HTTP.
    pub(super) fn url(self, base: &str) -> String {
        format!("{base}/v2/models/{}/infer", self.model())
    }

    /// File name of its answer.
    pub(super) fn answer_file(self) -> String {
        format!("answer-{self:?}")
    }

    /// What `forebay bench` is told of it beside the model and its data.
    pub(super) fn flags(self) -> Vec<&'static str> {
        let mut flags = vec!["--encoding", self.encoding()];
        match self {
            Self::Json1kNewId | Self::Json64kNewId | Self::Binary64kNewId => flags.push("--unique-ids"),
            Self::Json1kNew | Self::Json1kNewUrgent | Self::Binary64kNew => {
                flags.extend(["--repeats", "unique"]);
            }
            _ => {}
        }
        flags
    }

    /// As JSON, whatever it is sent as.
    pub(super) fn data(self) -> String {
        let inputs: Vec<Value> = self.tensors().into_iter().map(|tensor| {
            json!({"name": tensor.name, "datatype": tensor.datatype, "shape": tensor.shape, "data": tensor.values})
        }).collect();
        match self {
            Self::Json1kNewUrgent => json!({"parameters": {"priority": 1}, "inputs": inputs}).to_string(),
            _ => json!({"inputs": inputs}).to_string(),
        }
    }

    /// The headers that go with [`Self::bytes`].
    pub(super) fn headers(self) -> Vec<(&'static str, &'static str)> {
        if !self.is_binary() {
            return vec![("content-type", "application/json")];
        }
        let length = self.head().len().to_string();
        vec![("content-type", "application/octet-stream"), ("inference-header-content-length", length.leak())]
    }

    /// The whole body over HTTP.
    pub(super) fn bytes(self) -> Vec<u8> {
        if !self.is_binary() {
            return self.data().into_bytes();
        }
        let raw = self.tensors().into_iter().flat_map(|tensor| tensor.raw);
        self.head().into_bytes().into_iter().chain(raw).collect()
    }

    /// What stands before binary tensors.
    fn head(self) -> String {
        let inputs: Vec<Value> = self
            .tensors()
            .into_iter()
            .map(|tensor| {
                json!({"name": tensor.name, "datatype": tensor.datatype, "shape": tensor.shape,
                   "parameters": {"binary_data_size": tensor.raw.len()}})
            })
            .collect();
        json!({"parameters": {"binary_data_output": true}, "inputs": inputs}).to_string()
    }

    fn tensors(self) -> Vec<Tensor> {
        match self {
            Self::Magika => {
                let values = vec![65_i32; MAGIKA_VALUES];
                vec![Tensor {
                    name: "bytes",
                    datatype: "INT32",
                    shape: vec![1, MAGIKA_VALUES],
                    raw: values.iter().flat_map(|value| value.to_le_bytes()).collect(),
                    values: values.into_iter().map(Value::from).collect(),
                }]
            }
            Self::VadJson | Self::VadBinary | Self::VadGrpc => {
                VAD.map(|(name, shape, count)| Tensor::fp32(name, shape, count)).into()
            }
            fp32 if fp32.is_binary() || fp32 == Self::Grpc64k => {
                vec![Tensor::fp32("x", &[1, BINARY_VALUES], BINARY_VALUES)]
            }
            Self::Json64k | Self::Json64kNewId => vec![Tensor::fp64(VALUES_64K)],
            _ => vec![Tensor::fp64(VALUES_1K)],
        }
    }
}

impl Tensor {
    fn fp32(name: &'static str, shape: &[usize], count: usize) -> Self {
        let text: Vec<String> = (0..count).map(value).collect();
        // A value's shortest text is the one it is made of, as FP32 too.
        let number = |text: &String| text.parse::<f32>().expect("these are numbers");
        Self {
            name,
            datatype: "FP32",
            shape: shape.to_vec(),
            raw: text.iter().flat_map(|text| number(text).to_le_bytes()).collect(),
            values: text
                .iter()
                .map(|text| Value::from(text.parse::<f64>().expect("these are numbers")))
                .collect(),
        }
    }

    fn fp64(count: usize) -> Self {
        let all: Vec<f64> =
            (0..count).map(|index| value(index).parse().expect("these are numbers")).collect();
        Self {
            name: "x",
            datatype: "FP64",
            shape: vec![1, count],
            raw: all.iter().flat_map(|value| value.to_le_bytes()).collect(),
            values: all.into_iter().map(Value::from).collect(),
        }
    }
}

/// A number of eight characters.
fn value(index: usize) -> String {
    format!("0.{}", 100_003 + 10 * index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_as_large_as_their_names_say() {
        for (body, least, most) in [
            (Body::Json1k, 900, 1_100),
            (Body::Json64k, 64_000, 66_000),
            (Body::Binary64k, 65_536, 65_800),
            (Body::VadBinary, 3_328, 3_700),
        ] {
            let length = body.bytes().len();
            assert!((least..most).contains(&length), "{body:?}: {length}");
        }
    }
}
