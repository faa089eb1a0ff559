//! The bytes of an ONNX model -> the inputs that it declares. As little is read as `profiles` needs, by none of NVIDIA's code;
//! weights are passed over. Next: `profiles` gives each free dimension a range.

use prost::{DecodeError, Message};

/// An input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Input {
    pub(super) name: String,
    /// -1 is free.
    pub(super) shape: Vec<i64>,
}

impl Input {
    /// Whether each run chooses a dimension.
    pub(super) fn is_free(&self) -> bool {
        self.shape.contains(&-1)
    }
}

/// The inputs of a model, in its order.
///
/// # Errors
/// It is no ONNX model.
pub(super) fn inputs(model: &[u8]) -> Result<Vec<Input>, DecodeError> {
    let graph = Model::decode(model)?.graph.unwrap_or_default();
    // Old models list their weights among the inputs, as defaults.
    let is_weight = |value: &Value| graph.initializer.iter().any(|weight| weight.name == value.name);
    Ok(graph.input.iter().filter(|value| !is_weight(value)).map(Value::input).collect())
}

/// `ModelProto` of onnx.proto3.
#[derive(Message)]
struct Model {
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
        let shape = self.r#type.as_ref().and_then(|of| of.tensor_type.as_ref()?.shape.as_ref());
        let size = |dim: &Dimension| dim.dim_value.filter(|size| *size >= 0).unwrap_or(-1);
        let shape = shape.map_or_else(Vec::new, |shape| shape.dim.iter().map(size).collect());
        Input { name: self.name.clone(), shape }
    }
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
