//! Models that show what must be seen.

use rig::onnx::{FLOAT, Graph, Node, Tensor, model, node, value as tensor, weights};

use crate::workbench::{FEATURES, value};

/// Classes of the first two.
pub(crate) const CLASSES: usize = 10;

/// A graph in which each step takes the one before it and has a weight, from `x` to `y`.
fn chain(steps: &[(&str, Option<Tensor>)], input: &[i64], output: &[i64]) -> Vec<u8> {
    let mut nodes: Vec<Node> = Vec::new();
    let mut initializer = Vec::new();
    for (at, (operator, weight)) in steps.iter().enumerate() {
        let from = if at == 0 { "x".to_owned() } else { format!("h{at}") };
        let to = if at + 1 == steps.len() { "y".to_owned() } else { format!("h{}", at + 1) };
        let mut inputs = vec![from.as_str()];
        inputs.extend(weight.as_ref().map(|weight| weight.name.as_str()));
        let step = node(operator, &inputs, &[&to]);
        nodes.push(Node { name: format!("{operator}_{at}"), ..step });
        initializer.extend(weight.clone());
    }
    model(Graph {
        node: nodes,
        name: "chain".to_owned(),
        initializer,
        input: vec![tensor("x", FLOAT, input)],
        output: vec![tensor("y", FLOAT, output)],
    })
}

/// As shapes have it.
pub(crate) fn dim(size: usize) -> i64 {
    i64::try_from(size).unwrap()
}

#[allow(clippy::cast_possible_truncation)] // weights are FP32
fn matrix(name: &str, rows: usize, columns: usize, of: impl Fn(usize, usize) -> f64) -> Tensor {
    let values: Vec<f32> = (0..rows)
        .flat_map(|row| (0..columns).map(move |column| (row, column)))
        .map(|(row, column)| of(row, column) as f32)
        .collect();
    weights(name, &[dim(rows), dim(columns)], &values)
}

/// Two wide layers: 17 MB of weights, whose way through memory is most of a run. INT8 is a fourth of it.
pub(crate) fn wide() -> Vec<u8> {
    const WIDTH: usize = 2048;
    let random = |seed: usize, rows: usize| {
        move |row: usize, column: usize| value(seed + row, column) / (rows as f64).sqrt() * 2.0
    };
    chain(
        &[
            ("MatMul", Some(matrix("w1", FEATURES, WIDTH, random(1_000_000, FEATURES)))),
            ("Relu", None),
            ("MatMul", Some(matrix("w2", WIDTH, WIDTH, random(2_000_000, WIDTH)))),
            ("Relu", None),
            ("MatMul", Some(matrix("w3", WIDTH, CLASSES, random(3_000_000, WIDTH)))),
        ],
        &[-1, dim(FEATURES)],
        &[-1, dim(CLASSES)],
    )
}

/// Nothing that could be smaller.
pub(crate) fn no_weights() -> Vec<u8> {
    chain(&[("Relu", None)], &[-1, 4], &[-1, 4])
}

/// Many convolutions so small that to quantize what goes in costs more than is gained. It takes no batch, so that it is timed once.
pub(crate) fn tiny_convolutions() -> Vec<u8> {
    let weight = |at: usize| weights(&format!("w{at}"), &[2, 2, 1, 1], &[0.9, 0.2, -0.3, 0.8]);
    let steps: Vec<(&str, Option<Tensor>)> =
        (0..30).flat_map(|at| [("Conv", Some(weight(at))), ("Relu", None)]).collect();
    chain(&steps, &[1, 2, 4, 4], &[1, 2, 4, 4])
}

/// Channels of [`one_channel`].
pub(crate) const CHANNELS: usize = 16;

/// The last of its channels comes of the one hidden value that is ten thousand times smaller than the others: as INT8 they share a
/// scale, so that it is nothing, while the whole output looks as before. It takes no batch either.
pub(crate) fn one_channel() -> Vec<u8> {
    const HIDDEN: usize = 512;
    let scale = |column: usize| if column + 1 == HIDDEN { 0.001 } else { 10.0 };
    let last = |row: usize, column: usize| match (row + 1 == HIDDEN, column + 1 == CHANNELS) {
        (true, true) => 1000.0,
        (true, false) | (false, true) => 0.0,
        (false, false) => value(5_000_000 + row, column) / 20.0,
    };
    chain(
        &[
            (
                "MatMul",
                Some(matrix("w1", FEATURES, HIDDEN, |row, column| {
                    value(4_000_000 + row, column) * scale(column)
                })),
            ),
            ("Relu", None),
            ("MatMul", Some(matrix("w2", HIDDEN, CHANNELS, last))),
        ],
        &[1, dim(FEATURES)],
        &[1, dim(CHANNELS)],
    )
}
