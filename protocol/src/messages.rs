//! V2's inference messages, with the official field numbers, written by hand so that no `protoc` is needed.
//!
//! All three encodings (JSON, binary tensors, gRPC) meet in these. **Canonical form**, which every function of this crate gives
//! and expects: values are in `raw_input_contents` / `raw_output_contents`, one part a tensor in the tensors' order, little
//! endian, BYTES elements each after its length (u32); `contents` is `None`; an `id` of "" is none.

use bytes::Bytes;
use prost::{Message, Oneof};
use std::collections::BTreeMap;

/// Named parameters of a request, a tensor or a response.
pub type Parameters = BTreeMap<String, InferParameter>;

/// One parameter.
#[derive(Clone, PartialEq, Message)]
pub struct InferParameter {
    /// Its value.
    #[prost(oneof = "Choice", tags = "1, 2, 3, 4, 5")]
    pub choice: Option<Choice>,
}

/// A parameter's value.
#[derive(Clone, PartialEq, Oneof)]
pub enum Choice {
    /// A boolean.
    #[prost(bool, tag = "1")]
    Bool(bool),
    /// A signed integer.
    #[prost(int64, tag = "2")]
    Int64(i64),
    /// A string.
    #[prost(string, tag = "3")]
    String(String),
    /// A float.
    #[prost(double, tag = "4")]
    Double(f64),
    /// An unsigned integer.
    #[prost(uint64, tag = "5")]
    Uint64(u64),
}

/// An inference request.
#[derive(Clone, PartialEq, Message)]
pub struct ModelInferRequest {
    /// The model.
    #[prost(string, tag = "1")]
    pub model_name: String,
    /// The version asked for; "" for the model's own choice.
    #[prost(string, tag = "2")]
    pub model_version: String,
    /// The client's name for the request; "" for none.
    #[prost(string, tag = "3")]
    pub id: String,
    /// Request parameters.
    #[prost(btree_map = "string, message", tag = "4")]
    pub parameters: Parameters,
    /// What the tensors are.
    #[prost(message, repeated, tag = "5")]
    pub inputs: Vec<InferInputTensor>,
    /// The outputs wanted; none: all.
    #[prost(message, repeated, tag = "6")]
    pub outputs: Vec<InferRequestedOutputTensor>,
    /// The tensors' values, in the order of `inputs`.
    #[prost(bytes = "bytes", repeated, tag = "7")]
    pub raw_input_contents: Vec<Bytes>,
}

/// An input tensor.
#[derive(Clone, PartialEq, Message)]
pub struct InferInputTensor {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its datatype's name.
    #[prost(string, tag = "2")]
    pub datatype: String,
    /// Its shape.
    #[prost(int64, repeated, tag = "3")]
    pub shape: Vec<i64>,
    /// Its parameters.
    #[prost(btree_map = "string, message", tag = "4")]
    pub parameters: Parameters,
    /// gRPC's typed values; not canonical.
    #[prost(message, optional, tag = "5")]
    pub contents: Option<InferTensorContents>,
}

/// An output that a request asks for.
#[derive(Clone, PartialEq, Message)]
pub struct InferRequestedOutputTensor {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its parameters.
    #[prost(btree_map = "string, message", tag = "2")]
    pub parameters: Parameters,
}

/// The answer to an inference request.
#[derive(Clone, PartialEq, Message)]
pub struct ModelInferResponse {
    /// The model that answered.
    #[prost(string, tag = "1")]
    pub model_name: String,
    /// Its version.
    #[prost(string, tag = "2")]
    pub model_version: String,
    /// The request's id; "" for none.
    #[prost(string, tag = "3")]
    pub id: String,
    /// Response parameters.
    #[prost(btree_map = "string, message", tag = "4")]
    pub parameters: Parameters,
    /// What the tensors are.
    #[prost(message, repeated, tag = "5")]
    pub outputs: Vec<InferOutputTensor>,
    /// The tensors' values, in the order of `outputs`.
    #[prost(bytes = "bytes", repeated, tag = "6")]
    pub raw_output_contents: Vec<Bytes>,
}

/// An output tensor.
#[derive(Clone, PartialEq, Message)]
pub struct InferOutputTensor {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its datatype's name.
    #[prost(string, tag = "2")]
    pub datatype: String,
    /// Its shape.
    #[prost(int64, repeated, tag = "3")]
    pub shape: Vec<i64>,
    /// Its parameters.
    #[prost(btree_map = "string, message", tag = "4")]
    pub parameters: Parameters,
    /// gRPC's typed values; not canonical.
    #[prost(message, optional, tag = "5")]
    pub contents: Option<InferTensorContents>,
}

/// gRPC's typed values: one list is used, by the tensor's datatype.
#[derive(Clone, PartialEq, Message)]
pub struct InferTensorContents {
    /// BOOL.
    #[prost(bool, repeated, tag = "1")]
    pub bool_contents: Vec<bool>,
    /// INT8, INT16, INT32.
    #[prost(int32, repeated, tag = "2")]
    pub int_contents: Vec<i32>,
    /// INT64.
    #[prost(int64, repeated, tag = "3")]
    pub int64_contents: Vec<i64>,
    /// UINT8, UINT16, UINT32.
    #[prost(uint32, repeated, tag = "4")]
    pub uint_contents: Vec<u32>,
    /// UINT64.
    #[prost(uint64, repeated, tag = "5")]
    pub uint64_contents: Vec<u64>,
    /// FP32.
    #[prost(float, repeated, tag = "6")]
    pub fp32_contents: Vec<f32>,
    /// FP64.
    #[prost(double, repeated, tag = "7")]
    pub fp64_contents: Vec<f64>,
    /// BYTES.
    #[prost(bytes = "bytes", repeated, tag = "8")]
    pub bytes_contents: Vec<Bytes>,
}

/// The boolean under `name`, if it is one.
pub fn bool_parameter(parameters: &Parameters, name: &str) -> Option<bool> {
    match parameters.get(name)?.choice.as_ref()? {
        Choice::Bool(value) => Some(*value),
        _ => None,
    }
}
