//! Weights in a file of their own are found, and are part of the generation.

use std::path::Path;

use rig::onnx::{EXTERNAL, Entry, FLOAT, Graph, Tensor, node, value};
use rig::repository::put;
use serde_json::json;

use crate::process::Forebay;

/// y = x + weights, which are in `data/weights.bin`.
fn model() -> Vec<u8> {
    let location = Entry { key: "location".into(), value: "data/weights.bin".into() };
    let weights = Tensor {
        dims: vec![2],
        data_type: FLOAT,
        name: "weights".into(),
        external_data: vec![location],
        data_location: EXTERNAL,
        ..Tensor::default()
    };
    rig::onnx::model(Graph {
        node: vec![node("Add", &["x", "weights"], &["y"])],
        name: "external".into(),
        initializer: vec![weights],
        input: vec![value("x", FLOAT, &[2])],
        output: vec![value("y", FLOAT, &[2])],
    })
}

/// `inside` is the folder of the version in which the model lies.
fn answer(root: &Path, inside: &str, weights: [f32; 2]) -> (serde_json::Value, String) {
    let folder = root.join("external/1").join(inside);
    put(&folder, "model.onnx", model());
    put(&folder, "data/weights.bin", weights.map(f32::to_le_bytes).concat());
    let forebay = Forebay::serve_from(root, &["--instances", "1"]);
    let body = json!({ "inputs": [{ "name": "x", "datatype": "FP32", "shape": [2], "data": [1, 2] }] });
    let answer = forebay.infer("external", &[], &body);
    (answer.json()["outputs"][0]["data"].clone(), answer.header("x-forebay-generation").to_owned())
}

#[test]
fn external_weights_are_loaded_and_hashed() {
    let root = tempfile::tempdir().unwrap();
    let (first, first_generation) = answer(root.path(), "", [10.0, 20.0]);
    assert_eq!(first, json!([11.0, 22.0]));
    let (second, second_generation) = answer(root.path(), "", [0.5, 0.5]);
    assert_eq!(second, json!([1.5, 2.5]));
    assert_ne!(first_generation, second_generation);
}

#[test]
fn a_model_may_be_a_folder_with_its_weights_beside_it() {
    for (folder, config) in [("model.onnx", ""), ("net", "default_model_filename: \"net\"")] {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("external")).unwrap();
        std::fs::write(root.path().join("external/config.pbtxt"), config).unwrap();
        let (first, first_generation) = answer(root.path(), folder, [10.0, 20.0]);
        assert_eq!(first, json!([11.0, 22.0]), "{folder}");
        let (second, second_generation) = answer(root.path(), folder, [0.5, 0.5]);
        assert_eq!(second, json!([1.5, 2.5]), "{folder}");
        assert_ne!(first_generation, second_generation, "{folder}");
        let forebay = Forebay::serve_from(root.path(), &["--instances", "1"]);
        let config = forebay.get("/v2/models/external/config").json();
        assert_eq!(config["default_model_filename"], folder);
    }
}
