//! The bytes of an ONNX model -> what it says of its inputs and outputs, before any engine's code has seen it: weights are passed
//! over. Next: `load` compares it with what is declared, `tensorrt::compile` gives each free dimension a range.

use forebay_protocol::datatype::DataType;
use prost::{DecodeError, Message};

use super::signature::{Signature, TensorSpec};

/// An input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Input {
    pub(crate) name: String,
    /// -1 is free.
    pub(crate) shape: Vec<i64>,
}

impl Input {
    /// Whether each run chooses a dimension.
    pub(crate) fn is_free(&self) -> bool {
        self.shape.contains(&-1)
    }
}

/// The inputs of a model, in its order.
///
/// # Errors
/// It is no ONNX model.
pub(crate) fn inputs(model: &[u8]) -> Result<Vec<Input>, DecodeError> {
    let graph = Model::decode(model)?.graph.unwrap_or_default();
    Ok(graph.inputs().map(Value::input).collect())
}

/// Names, datatypes and shapes of inputs, names and datatypes of outputs: their shapes are the engine's to tell. `None` where the
/// model doesn't tell of all.
pub(super) fn promised(model: &[u8]) -> Option<Signature> {
    let Model { ir_version, graph } = Model::decode(model).ok()?;
    let graph = graph?;
    let mut inputs = graph.inputs().map(Value::spec).collect::<Option<Vec<_>>>()?;
    if ir_version >= IR_WITH_DEFAULTS {
        let optional = graph.weights_among_inputs().filter_map(Value::spec);
        inputs.extend(optional.map(|spec| TensorSpec { is_optional: true, ..spec }));
    }
    Some(Signature { inputs, outputs: graph.output.iter().map(Value::spec).collect::<Option<_>>()? })
}

/// Whether the model says that every run has inputs of the same shapes.
pub(super) fn is_fixed(model: &[u8]) -> bool {
    let has_shape = |value: &Value| value.tensor().is_some_and(|tensor| tensor.shape.is_some());
    let fixed = |graph: Graph| graph.input.iter().all(|value| has_shape(value) && !value.input().is_free());
    Model::decode(model).ok().and_then(|model| model.graph).is_some_and(fixed)
}

/// From this version of the format on, a weight among the inputs is a default, which a run may override; before it had to be listed
/// there (onnx.proto, `GraphProto.initializer`).
const IR_WITH_DEFAULTS: i64 = 4;

/// `ModelProto` of onnx.proto3.
#[derive(Message)]
struct Model {
    #[prost(int64, tag = "1")]
    ir_version: i64,
    #[prost(message, optional, tag = "7")]
    graph: Option<Graph>,
}

/// `GraphProto`.
#[derive(Message)]
struct Graph {
    #[prost(message, repeated, tag = "5")]
    initializer: Vec<Weight>,
    #[prost(message, repeated, tag = "11")]
    input: Vec<Value>,
    #[prost(message, repeated, tag = "12")]
    output: Vec<Value>,
}

impl Graph {
    /// What a run needs.
    fn inputs(&self) -> impl Iterator<Item = &Value> {
        self.input.iter().filter(|value| !self.is_weight(value))
    }

    fn weights_among_inputs(&self) -> impl Iterator<Item = &Value> {
        self.input.iter().filter(|value| self.is_weight(value))
    }

    fn is_weight(&self, value: &Value) -> bool {
        self.initializer.iter().any(|weight| weight.name == value.name)
    }
}

/// `TensorProto`.
#[derive(Message)]
struct Weight {
    #[prost(string, tag = "8")]
    name: String,
}

/// `ValueInfoProto`.
#[derive(Message)]
struct Value {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    r#type: Option<Type>,
}

/// `TypeProto`; what is no tensor is TensorRT's to refuse.
#[derive(Message)]
struct Type {
    #[prost(message, optional, tag = "1")]
    tensor_type: Option<TensorType>,
}

/// `TypeProto.Tensor`.
#[derive(Message)]
struct TensorType {
    #[prost(int32, tag = "1")]
    elem_type: i32,
    #[prost(message, optional, tag = "2")]
    shape: Option<Shape>,
}

/// `TensorShapeProto`.
#[derive(Message)]
struct Shape {
    #[prost(message, repeated, tag = "1")]
    dim: Vec<Dimension>,
}

/// `TensorShapeProto.Dimension`: a size, or a name in place of one.
#[derive(Message)]
struct Dimension {
    #[prost(int64, optional, tag = "1")]
    dim_value: Option<i64>,
}

impl Value {
    fn input(&self) -> Input {
        let shape = self.tensor().and_then(|tensor| tensor.shape.as_ref());
        let size = |dim: &Dimension| dim.dim_value.filter(|size| *size >= 0).unwrap_or(-1);
        let shape = shape.map_or_else(Vec::new, |shape| shape.dim.iter().map(size).collect());
        Input { name: self.name.clone(), shape }
    }

    fn tensor(&self) -> Option<&TensorType> {
        self.r#type.as_ref()?.tensor_type.as_ref()
    }

    fn spec(&self) -> Option<TensorSpec> {
        let tensor = self.tensor()?;
        tensor.shape.as_ref()?;
        let Input { name, shape } = self.input();
        Some(TensorSpec { name, datatype: datatype(tensor.elem_type)?, shape, is_optional: false })
    }
}

/// Our datatype of a `TensorProto.DataType`; `None` for what V2 has no name for.
fn datatype(elem_type: i32) -> Option<DataType> {
    Some(match elem_type {
        1 => DataType::Fp32,
        2 => DataType::Uint8,
        3 => DataType::Int8,
        4 => DataType::Uint16,
        5 => DataType::Int16,
        6 => DataType::Int32,
        7 => DataType::Int64,
        8 => DataType::Bytes,
        9 => DataType::Bool,
        10 => DataType::Fp16,
        11 => DataType::Fp64,
        12 => DataType::Uint32,
        13 => DataType::Uint64,
        16 => DataType::Bf16,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tensorrt_double::onnx;

    #[test]
    fn inputs_are_told_without_the_weights() {
        let input = |name: &str, shape: &[i64]| Input { name: name.into(), shape: shape.into() };
        assert_eq!(inputs(&onnx::affine().encode()).unwrap(), [input("x", &[-1, 4])]);
        let old = onnx::affine().input("factor", onnx::Type::F32, &[Some(1)]);
        let old = old.input("scalar", onnx::Type::I64, &[]);
        assert_eq!(inputs(&old.encode()).unwrap(), [input("x", &[-1, 4]), input("scalar", &[])]);
    }

    #[test]
    fn a_model_promises_its_inputs_and_outputs() {
        let spec = |name: &str, shape: &[i64]| TensorSpec {
            name: name.into(),
            datatype: DataType::Fp32,
            shape: shape.into(),
            is_optional: false,
        };
        let promised = promised(&onnx::affine().encode()).unwrap();
        assert_eq!(promised.inputs, [spec("x", &[-1, 4])]);
        assert_eq!(
            promised.outputs.iter().map(|output| output.name.as_str()).collect::<Vec<_>>(),
            ["doubled"]
        );
        assert_eq!(super::promised(b"junk"), None);
    }

    #[test]
    fn shapes_are_fixed_only_where_the_model_says_so() {
        assert!(!is_fixed(&onnx::affine().encode()) && !is_fixed(b"junk"));
        let fixed = onnx::Model::new("Identity").input("x", onnx::Type::F32, &[Some(2), Some(3)]);
        assert!(is_fixed(&fixed.encode()));
    }

    #[test]
    fn what_is_no_model_is_refused_or_has_no_inputs() {
        let model = onnx::affine().encode();
        assert!(inputs(b"junk").is_err());
        for cut in 0..model.len() {
            // A cut between two fields is a smaller model.
            if let Ok(inputs) = inputs(&model[..cut]) {
                assert!(inputs.len() <= 1);
            }
        }
    }
}
