//! What is written for a GPU, and what is said of models that a GPU serves.

use serde_json::Value;

use crate::models::{self, dim};
use crate::workbench::{FEATURES, Said, Workbench, names};

/// A folder for TensorRT of the wide model.
fn written(bench: &Workbench) -> (Said, Value) {
    let folder = bench.path("gpu");
    let said =
        bench.optimize(&["--for-tensorrt", folder.to_str().unwrap(), "--metric=error", "--max-loss=2"]);
    assert_eq!(said.code, Some(0), "{}{}", said.out, said.err);
    let list = std::fs::read(folder.join("prepared.json")).unwrap();
    (said, serde_json::from_slice(&list).unwrap())
}

#[test]
fn files_for_tensorrt_travel_with_items_and_what_the_original_answers_and_nothing_is_installed() {
    let bench = Workbench::of(&models::wide()).with_data(100, &[dim(FEATURES)]);
    let (Said { out, .. }, list) = written(&bench);
    let files =
        ["bf16.onnx", "fp16.onnx", "inputs", "int8.onnx", "original.onnx", "outputs", "prepared.json"];
    assert_eq!(names(&bench.path("gpu")), files);
    assert_eq!(bench.lies(), ["1"]);
    let items = names(&bench.path("gpu/inputs"));
    assert_eq!((items.len(), &items), (64, &names(&bench.path("gpu/outputs"))));
    assert_eq!(list["ranges"][0]["max"], serde_json::json!([32, FEATURES]));
    assert!(out.contains("int8: ") && out.contains("nothing is installed"), "{out}");
    // A processor says what INT8 and FP16 lose, and of BF16 nothing.
    let [int8, fp16, bf16] = &list["forms"].as_array().unwrap()[..] else { panic!("{list}") };
    for form in [int8, fp16] {
        assert!(form["lost_here"].as_f64().unwrap() <= 2.0, "{form}");
    }
    assert!(bf16["lost_here"].is_null(), "{bf16}");
    let bytes = |form: &Value| form["bytes"].as_u64().unwrap() as f64;
    let whole = std::fs::metadata(bench.path("gpu/original.onnx")).unwrap().len() as f64;
    assert!(bytes(int8) < whole / 3.8 && bytes(fp16) < whole / 1.9 && bytes(bf16) < whole / 1.9, "{list}");
    // What is there is never written over.
    let again = bench.optimize(&["--for-tensorrt", bench.path("gpu").to_str().unwrap(), "--metric=error"]);
    assert!(again.code == Some(1) && again.err.contains("is there already"), "{}", again.err);
}

#[test]
fn a_model_that_a_gpu_serves_is_not_judged_here_and_its_files_are_written_all_the_same() {
    let bench = Workbench::of(&models::tiny_convolutions()).with_data(40, &[2, 4, 4]);
    for config in [
        "backend: \"tensorrt\"",
        "instance_group { kind: KIND_GPU }",
        "optimization { execution_accelerators { gpu_execution_accelerator { name: \"tensorrt\" } } }",
    ] {
        rig::repository::put(bench.root.path(), "models/m/config.pbtxt", config);
        let Said { code, err, .. } = bench.optimize(&[]);
        assert!(code == Some(1) && err.contains("m is served on a GPU"), "{config}: {err}");
        assert!(err.contains("--for-tensorrt FOLDER"), "{err}");
    }
    rig::repository::put(bench.root.path(), "models/m/config.pbtxt", "backend: \"tensorrt\"");
    let folder = bench.path("gpu");
    let Said { code, out, err } = bench.optimize(&["--for-tensorrt", folder.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{out}{err}");
}

#[test]
fn a_plan_is_refused_with_what_to_give_instead() {
    let bench = Workbench::of(b"");
    std::fs::rename(bench.path("models/m/1/model.onnx"), bench.path("models/m/1/model.plan")).unwrap();
    for flags in [&[][..], &["--for-tensorrt", "/nowhere"]] {
        let Said { code, err, .. } = bench.run(flags);
        assert!(code == Some(1) && err.contains("give the ONNX model that it was built of"), "{err}");
    }
}

#[test]
fn a_model_of_which_no_form_can_be_made_leaves_no_folder() {
    let bench = Workbench::of(&models::no_weights()).with_data(40, &[4]);
    let Said { code, err, .. } = bench.optimize(&["--for-tensorrt", bench.path("gpu").to_str().unwrap()]);
    assert!(code == Some(1) && err.contains("nothing can be made of m: int8: "), "{err}");
    assert_eq!(names(bench.root.path()), ["data", "models", "work"]);
}
