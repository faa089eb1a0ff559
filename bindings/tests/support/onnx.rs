//! ONNX models, as many messages of `onnx.proto3` as small models need.

use prost::Message;

/// ONNX's numbers of element types.
pub(crate) const FLOAT: i32 = 1;
pub(crate) const INT64: i32 = 7;

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Model {
    #[prost(int64, tag = "1")]
    pub(crate) ir_version: i64,
    #[prost(message, optional, tag = "7")]
    pub(crate) graph: Option<Graph>,
    #[prost(message, repeated, tag = "8")]
    pub(crate) opset_import: Vec<Opset>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Opset {
    #[prost(string, tag = "1")]
    pub(crate) domain: String,
    #[prost(int64, tag = "2")]
    pub(crate) version: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Graph {
    #[prost(message, repeated, tag = "1")]
    pub(crate) node: Vec<Node>,
    #[prost(string, tag = "2")]
    pub(crate) name: String,
    #[prost(message, repeated, tag = "5")]
    pub(crate) initializer: Vec<Tensor>,
    #[prost(message, repeated, tag = "11")]
    pub(crate) input: Vec<ValueInfo>,
    #[prost(message, repeated, tag = "12")]
    pub(crate) output: Vec<ValueInfo>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Node {
    #[prost(string, repeated, tag = "1")]
    pub(crate) input: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    pub(crate) output: Vec<String>,
    #[prost(string, tag = "3")]
    pub(crate) name: String,
    #[prost(string, tag = "4")]
    pub(crate) op_type: String,
    #[prost(message, repeated, tag = "5")]
    pub(crate) attribute: Vec<Attribute>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Attribute {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(int64, tag = "3")]
    pub(crate) i: i64,
    #[prost(int32, tag = "20")]
    pub(crate) r#type: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Tensor {
    #[prost(int64, repeated, tag = "1")]
    pub(crate) dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    pub(crate) data_type: i32,
    #[prost(string, tag = "8")]
    pub(crate) name: String,
    #[prost(bytes = "vec", tag = "9")]
    pub(crate) raw_data: Vec<u8>,
    #[prost(message, repeated, tag = "13")]
    pub(crate) external_data: Vec<Entry>,
    #[prost(int32, tag = "14")]
    pub(crate) data_location: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Entry {
    #[prost(string, tag = "1")]
    pub(crate) key: String,
    #[prost(string, tag = "2")]
    pub(crate) value: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ValueInfo {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(message, optional, tag = "2")]
    pub(crate) r#type: Option<Type>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Type {
    #[prost(message, optional, tag = "1")]
    pub(crate) tensor_type: Option<TensorType>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct TensorType {
    #[prost(int32, tag = "1")]
    pub(crate) elem_type: i32,
    #[prost(message, optional, tag = "2")]
    pub(crate) shape: Option<Shape>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Shape {
    #[prost(message, repeated, tag = "1")]
    pub(crate) dim: Vec<Dimension>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Dimension {
    #[prost(int64, optional, tag = "1")]
    pub(crate) dim_value: Option<i64>,
    #[prost(string, optional, tag = "2")]
    pub(crate) dim_param: Option<String>,
}

/// A tensor that goes in or out; -1 is a free dimension.
pub(crate) fn value(name: &str, elem_type: i32, dims: &[i64]) -> ValueInfo {
    let dim = dims.iter().map(|&size| match size {
        -1 => Dimension { dim_value: None, dim_param: Some("n".into()) },
        size => Dimension { dim_value: Some(size), dim_param: None },
    });
    let tensor_type = TensorType { elem_type, shape: Some(Shape { dim: dim.collect() }) };
    ValueInfo { name: name.into(), r#type: Some(Type { tensor_type: Some(tensor_type) }) }
}

/// A node, named after its operator.
pub(crate) fn node(operator: &str, input: &[&str], output: &[&str]) -> Node {
    let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    Node {
        input: owned(input),
        output: owned(output),
        name: format!("the_{operator}"),
        op_type: operator.into(),
        attribute: Vec::new(),
    }
}

/// Weights of 32-bit floats.
pub(crate) fn weights(name: &str, dims: &[i64], values: &[f32]) -> Tensor {
    let raw_data = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    Tensor { dims: dims.to_vec(), data_type: FLOAT, name: name.into(), raw_data, ..Tensor::default() }
}

/// A model of opset 17.
pub(crate) fn model(graph: Graph) -> Vec<u8> {
    let opset_import = vec![Opset { domain: String::new(), version: 17 }];
    Model { ir_version: 8, graph: Some(graph), opset_import }.encode_to_vec()
}

/// `y = relu(x * weights)`, x of any number of rows and four columns, y of two columns.
pub(crate) fn dense() -> Vec<u8> {
    model(Graph {
        node: vec![node("MatMul", &["x", "w"], &["product"]), node("Relu", &["product"], &["y"])],
        name: "dense".into(),
        initializer: vec![weights("w", &[4, 2], &[0.0, 0.0, 1.0, 1.0, 2.0, 2.0, 0.0, 0.0])],
        input: vec![value("x", FLOAT, &[-1, 4])],
        output: vec![value("y", FLOAT, &[-1, 2])],
    })
}

/// `y = relu(x)`, of floats of that shape.
pub(crate) fn relu(dims: &[i64]) -> Graph {
    Graph {
        node: vec![node("Relu", &["x"], &["y"])],
        name: "relu".into(),
        initializer: Vec::new(),
        input: vec![value("x", FLOAT, dims)],
        output: vec![value("y", FLOAT, dims)],
    }
}

/// `y = x` in two dimensions that the values of the input `shape` choose.
pub(crate) fn reshape() -> Graph {
    let mut graph = relu(&[-1]);
    graph.node = vec![node("Reshape", &["x", "shape"], &["y"])];
    graph.input.push(value("shape", INT64, &[2]));
    graph.output = vec![value("y", FLOAT, &[-1, -1])];
    graph
}
