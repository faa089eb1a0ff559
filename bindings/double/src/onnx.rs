//! Writes ONNX files for tests: inputs, outputs, constants and operations enter, the bytes of a model leave. ONNX Runtime and the
//! double read the same file.
//!
//! The numbers of fields are those of `onnx.proto`.

/// An element type, by its number in `onnx.TensorProto.DataType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Type {
    F32 = 1,
    I32 = 6,
    I64 = 7,
    Bool = 9,
}

/// A model to be written. `None` among dimensions is one that each run chooses.
#[derive(Debug, Clone, Default)]
pub struct Model {
    name: String,
    graph: Vec<u8>,
}

/// ONNX IR 8 with operation set 17: read by every ONNX Runtime and TensorRT of today.
const IR_VERSION: u64 = 8;
const OPSET_VERSION: u64 = 17;
/// `AttributeProto.INT`.
const ATTRIBUTE_INT: u64 = 2;

impl Model {
    /// A model of that name, empty.
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), graph: Vec::new() }
    }

    /// Adds an input.
    #[must_use]
    pub fn input(mut self, name: &str, element: Type, dims: &[Option<u64>]) -> Self {
        bytes(&mut self.graph, 11, &value_info(name, element, dims));
        self
    }

    /// Adds an output, which an operation must give.
    #[must_use]
    pub fn output(mut self, name: &str, element: Type, dims: &[Option<u64>]) -> Self {
        bytes(&mut self.graph, 12, &value_info(name, element, dims));
        self
    }

    /// Adds a constant of 32-bit floats.
    #[must_use]
    pub fn constant(mut self, name: &str, dims: &[u64], values: &[f32]) -> Self {
        let mut tensor = Vec::new();
        for dim in dims {
            number(&mut tensor, 1, *dim);
        }
        number(&mut tensor, 2, Type::F32 as u64);
        bytes(&mut tensor, 8, name.as_bytes());
        let raw: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        bytes(&mut tensor, 9, &raw);
        bytes(&mut self.graph, 5, &tensor);
        self
    }

    /// Adds an operation with one output. README.md says which the double has.
    #[must_use]
    pub fn node(self, operation: &str, inputs: &[&str], output: &str) -> Self {
        self.node_with(operation, inputs, output, &[])
    }

    /// The same with whole numbers as attributes.
    #[must_use]
    pub fn node_with(
        mut self,
        operation: &str,
        inputs: &[&str],
        output: &str,
        attributes: &[(&str, u64)],
    ) -> Self {
        let mut node = Vec::new();
        for input in inputs {
            bytes(&mut node, 1, input.as_bytes());
        }
        bytes(&mut node, 2, output.as_bytes());
        bytes(&mut node, 3, format!("{operation}_{output}").as_bytes());
        bytes(&mut node, 4, operation.as_bytes());
        for (name, value) in attributes {
            let mut attribute = Vec::new();
            bytes(&mut attribute, 1, name.as_bytes());
            number(&mut attribute, 3, *value);
            number(&mut attribute, 20, ATTRIBUTE_INT);
            bytes(&mut node, 5, &attribute);
        }
        bytes(&mut self.graph, 1, &node);
        self
    }

    /// The file.
    pub fn encode(&self) -> Vec<u8> {
        let mut graph = self.graph.clone();
        bytes(&mut graph, 2, self.name.as_bytes());
        let mut opset = Vec::new();
        number(&mut opset, 2, OPSET_VERSION);
        let mut model = Vec::new();
        number(&mut model, 1, IR_VERSION);
        bytes(&mut model, 7, &graph);
        bytes(&mut model, 8, &opset);
        model
    }
}

/// `doubled` = 2 · `x` + [0 1 2 3], of `[-1, 4]` floats. Its constants are `factor` and `offset`.
pub fn affine() -> Model {
    Model::new("affine")
        .input("x", Type::F32, &[None, Some(4)])
        .constant("factor", &[1], &[2.0])
        .constant("offset", &[4], &[0.0, 1.0, 2.0, 3.0])
        .node("Mul", &["x", "factor"], "scaled")
        .node("Add", &["scaled", "offset"], "doubled")
        .output("doubled", Type::F32, &[None, Some(4)])
}

/// `places` = `NonZero`(`x`), of `[-1]` floats: an output whose size only the run knows, `[1, -1]` integers of 64 bits.
pub fn non_zero() -> Model {
    Model::new("non_zero").input("x", Type::F32, &[None]).node("NonZero", &["x"], "places").output(
        "places",
        Type::I64,
        &[Some(1), None],
    )
}

/// `y` = `Expand`(`x`, `size`), of `[-1, 1]` floats and two integers, which decide the shape of `y` and lie in host memory.
pub fn expand() -> Model {
    Model::new("expand")
        .input("x", Type::F32, &[None, Some(1)])
        .input("size", Type::I64, &[Some(2)])
        .node("Expand", &["x", "size"], "y")
        .output("y", Type::F32, &[None, None])
}

/// `y` = `Identity`(`Relu`(`x` · [[1 -1 0] [0 1 2]])), of `[-1, 2]` floats.
pub fn layer() -> Model {
    Model::new("layer")
        .input("x", Type::F32, &[None, Some(2)])
        .constant("weights", &[2, 3], &[1.0, -1.0, 0.0, 0.0, 1.0, 2.0])
        .node("MatMul", &["x", "weights"], "product")
        .node("Relu", &["product"], "positive")
        .node("Identity", &["positive"], "y")
        .output("y", Type::F32, &[None, Some(3)])
}

fn value_info(name: &str, element: Type, dims: &[Option<u64>]) -> Vec<u8> {
    let mut shape = Vec::new();
    for (axis, dim) in dims.iter().enumerate() {
        let mut one = Vec::new();
        match dim {
            Some(size) => number(&mut one, 1, *size),
            None => bytes(&mut one, 2, format!("n{axis}").as_bytes()),
        }
        bytes(&mut shape, 1, &one);
    }
    let mut tensor = Vec::new();
    number(&mut tensor, 1, element as u64);
    bytes(&mut tensor, 2, &shape);
    let mut kind = Vec::new();
    bytes(&mut kind, 1, &tensor);
    let mut info = Vec::new();
    bytes(&mut info, 1, name.as_bytes());
    bytes(&mut info, 2, &kind);
    info
}

/// A field of protobuf that is a number.
fn number(out: &mut Vec<u8>, field: u64, value: u64) {
    varint(out, field << 3);
    varint(out, value);
}

/// A field of protobuf that is bytes.
fn bytes(out: &mut Vec<u8>, field: u64, value: &[u8]) {
    varint(out, field << 3 | 2);
    varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}
