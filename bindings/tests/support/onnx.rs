//! The models that the bindings' tests build engines of.

pub(crate) use rig::onnx::*;

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

/// ONNX's numbers of small element types, each with its 1.
pub(crate) const INT8: (i32, &[u8]) = (3, &[1]);
pub(crate) const FP8: (i32, &[u8]) = (17, &[0x38]);
pub(crate) const UINT8: (i32, &[u8]) = (2, &[1]);
pub(crate) const FP16: (i32, &[u8]) = (10, &[0, 0x3c]);
pub(crate) const BF16: (i32, &[u8]) = (16, &[0x80, 0x3f]);

/// So many elements of that kind.
fn filled(name: &str, dims: &[i64], (data_type, element): (i32, &[u8])) -> Tensor {
    let count = usize::try_from(dims.iter().product::<i64>()).unwrap();
    Tensor {
        dims: dims.to_vec(),
        data_type,
        name: name.into(),
        raw_data: element.repeat(count),
        ..Tensor::default()
    }
}

/// From x of any number of rows and four columns to y of as many.
fn of_rows(node: Vec<Node>, initializer: Vec<Tensor>) -> Vec<u8> {
    let [input, output] = ["x", "y"].map(|name| vec![value(name, FLOAT, &[-1, 4])]);
    model(Graph { node, name: "small".into(), initializer, input, output })
}

/// `y = q(x) * ones`, each with a Q/DQ pair of that element type and the scale 1/2; each element of x that the type has is itself.
pub(crate) fn quantized(kind: (i32, &[u8])) -> Vec<u8> {
    let zero = Tensor { raw_data: vec![0], ..filled("zero", &[], kind) };
    let nodes = vec![
        node("QuantizeLinear", &["x", "scale", "zero"], &["q"]),
        node("DequantizeLinear", &["q", "scale", "zero"], &["d"]),
        Node { name: "of_ones".into(), ..node("DequantizeLinear", &["ones", "scale", "zero"], &["halves"]) },
        node("MatMul", &["d", "halves"], &["y"]),
    ];
    of_rows(nodes, vec![filled("ones", &[4, 4], kind), weights("scale", &[], &[0.5]), zero])
}

/// `y = x * ones`, the product in 16 bits of that type.
pub(crate) fn half(kind: (i32, &[u8])) -> Vec<u8> {
    let to = |element: i32, from: &str, name: &str| {
        let attribute =
            Attribute { name: "to".into(), i: element.into(), r#type: INT, ..Attribute::default() };
        Node { attribute: vec![attribute], name: name.into(), ..node("Cast", &[from], &[name]) }
    };
    let product = node("MatMul", &["small", "ones"], &["product"]);
    of_rows(
        vec![to(kind.0, "x", "small"), product, to(FLOAT, "product", "y")],
        vec![filled("ones", &[4, 4], kind)],
    )
}
