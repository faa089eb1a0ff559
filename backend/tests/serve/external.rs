//! Weights in a file of their own are found, and are part of the generation.

use std::path::Path;

use prost::Message;
use serde_json::json;

use crate::process::Forebay;

#[derive(Message)]
struct Model {
    #[prost(int64, tag = "1")]
    ir_version: i64,
    #[prost(message, optional, tag = "7")]
    graph: Option<Graph>,
    #[prost(message, repeated, tag = "8")]
    opset_import: Vec<Opset>,
}

#[derive(Message)]
struct Opset {
    #[prost(int64, tag = "2")]
    version: i64,
}

#[derive(Message)]
struct Graph {
    #[prost(message, repeated, tag = "1")]
    node: Vec<Node>,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(message, repeated, tag = "5")]
    initializer: Vec<Tensor>,
    #[prost(message, repeated, tag = "11")]
    input: Vec<Value>,
    #[prost(message, repeated, tag = "12")]
    output: Vec<Value>,
}

#[derive(Message)]
struct Node {
    #[prost(string, repeated, tag = "1")]
    input: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    output: Vec<String>,
    #[prost(string, tag = "4")]
    op_type: String,
}

#[derive(Message)]
struct Tensor {
    #[prost(int64, repeated, tag = "1")]
    dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    data_type: i32,
    #[prost(string, tag = "8")]
    name: String,
    #[prost(message, repeated, tag = "13")]
    external_data: Vec<Pair>,
    #[prost(int32, tag = "14")]
    data_location: i32,
}

#[derive(Message)]
struct Pair {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Message)]
struct Value {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    r#type: Option<Type>,
}

#[derive(Message)]
struct Type {
    #[prost(message, optional, tag = "1")]
    tensor_type: Option<TensorType>,
}

#[derive(Message)]
struct TensorType {
    #[prost(int32, tag = "1")]
    elem_type: i32,
    #[prost(message, optional, tag = "2")]
    shape: Option<Shape>,
}

#[derive(Message)]
struct Shape {
    #[prost(message, repeated, tag = "1")]
    dim: Vec<Dimension>,
}

#[derive(Message)]
struct Dimension {
    #[prost(int64, tag = "1")]
    dim_value: i64,
}

/// ONNX's numbers for FP32 and for data outside the model.
const FLOAT: i32 = 1;
const EXTERNAL: i32 = 1;

fn value(name: &str) -> Value {
    let shape = Shape { dim: vec![Dimension { dim_value: 2 }] };
    let tensor_type = TensorType { elem_type: FLOAT, shape: Some(shape) };
    Value { name: name.into(), r#type: Some(Type { tensor_type: Some(tensor_type) }) }
}

/// y = x + weights, which are in `data/weights.bin`.
fn model() -> Vec<u8> {
    let node =
        Node { input: vec!["x".into(), "weights".into()], output: vec!["y".into()], op_type: "Add".into() };
    let location = Pair { key: "location".into(), value: "data/weights.bin".into() };
    let weights = Tensor {
        dims: vec![2],
        data_type: FLOAT,
        name: "weights".into(),
        external_data: vec![location],
        data_location: EXTERNAL,
    };
    let graph = Graph {
        node: vec![node],
        name: "external".into(),
        initializer: vec![weights],
        input: vec![value("x")],
        output: vec![value("y")],
    };
    Model { ir_version: 8, graph: Some(graph), opset_import: vec![Opset { version: 17 }] }.encode_to_vec()
}

fn answer(root: &Path, weights: [f32; 2]) -> (serde_json::Value, String) {
    let folder = root.join("external/1");
    std::fs::create_dir_all(folder.join("data")).unwrap();
    std::fs::write(folder.join("model.onnx"), model()).unwrap();
    let bytes: Vec<u8> = weights.iter().flat_map(|weight| weight.to_le_bytes()).collect();
    std::fs::write(folder.join("data/weights.bin"), bytes).unwrap();
    let forebay = Forebay::serve_from(root, &["--instances", "1"]);
    let body = json!({ "inputs": [{ "name": "x", "datatype": "FP32", "shape": [2], "data": [1, 2] }] });
    let answer = forebay.infer("external", &[], &body);
    (answer.json()["outputs"][0]["data"].clone(), answer.header("x-forebay-generation").to_owned())
}

#[test]
fn external_weights_are_loaded_and_hashed() {
    let root = tempfile::tempdir().unwrap();
    let (first, first_generation) = answer(root.path(), [10.0, 20.0]);
    assert_eq!(first, json!([11.0, 22.0]));
    let (second, second_generation) = answer(root.path(), [0.5, 0.5]);
    assert_eq!(second, json!([1.5, 2.5]));
    assert_ne!(first_generation, second_generation);
}
