//! How a client wants its answer: which outputs, in which order, each as JSON or as binary, or all in a message of gRPC's. A decoded
//! request enters; `encode` is next to read it. Two requests with one digest may want different encodings.

use crate::messages::{ModelInferRequest, bool_parameter};

/// The form of one output's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Form {
    /// In `data`.
    Json,
    /// After the JSON part, little endian.
    Binary,
    /// In gRPC's message, as all others of the answer.
    Message,
}

/// The encoding of an answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Wants {
    /// The form of all outputs when none is named.
    pub default: Form,
    /// The outputs named, in the order asked; none: all, in the model's order.
    pub outputs: Vec<(String, Form)>,
}

impl Wants {
    /// Reads `binary_data_output` of the request, and `binary_data` of each requested output, which goes before it.
    pub fn of(request: &ModelInferRequest) -> Self {
        let form = |binary| if binary { Form::Binary } else { Form::Json };
        let default = form(bool_parameter(&request.parameters, "binary_data_output").unwrap_or(false));
        let outputs = request.outputs.iter().map(|output| {
            (output.name.clone(), bool_parameter(&output.parameters, "binary_data").map_or(default, form))
        });
        Self { default, outputs: outputs.collect() }
    }

    /// Reads the outputs that a call of gRPC's asks for.
    pub fn of_call(request: &ModelInferRequest) -> Self {
        let outputs = request.outputs.iter().map(|output| (output.name.clone(), Form::Message));
        Self { default: Form::Message, outputs: outputs.collect() }
    }

    /// Bytes that differ for every two wants that can make different answers of one entry.
    pub fn fingerprint(&self) -> Vec<u8> {
        let mut bytes = vec![self.default as u8];
        for (name, form) in &self.outputs {
            bytes.push(*form as u8);
            bytes.extend_from_slice(&(name.len() as u64).to_le_bytes());
            bytes.extend_from_slice(name.as_bytes());
        }
        bytes
    }
}
