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
