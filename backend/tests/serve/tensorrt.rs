//! Plans, from an HTTP request to bytes back, on the test double of TensorRT and CUDA; and what a server without them says.

mod gpus;
mod graphs;
mod hostile;
mod lanes;
mod lost;
mod memory;
mod traced;

use std::path::Path;
use std::process::Command;

use forebay_bindings::cuda::Driver;
use forebay_bindings::{BuildOptions, Flavour, Library, Profile, Range};
use rig::http::Answer;
use rig::repository::{add, put};
use serde_json::{Value, json};
use tensorrt_double::{Double, onnx};

use crate::process::{Forebay, refused, serve_command};

/// A plan of the model, with a profile for each of those shapes of `x`, smallest and largest.
fn plan_of(model: &onnx::Model, shapes: &[[&[i64]; 2]]) -> Vec<u8> {
    let profile = |shapes: &[&[i64]; 2]| Profile { inputs: vec![range("x", false, shapes)] };
    build(model, shapes.iter().map(profile).collect())
}

/// The smallest and the largest of an input's shapes, or of its values.
fn range(input: &str, values: bool, [min, max]: &[&[i64]; 2]) -> Range {
    Range { input: input.to_owned(), values, min: min.to_vec(), opt: max.to_vec(), max: max.to_vec() }
}

fn build(model: &onnx::Model, profiles: Vec<Profile>) -> Vec<u8> {
    Double::load().unwrap();
    let library = Library::open(tensorrt_double::NVINFER, Flavour::Enterprise).unwrap();
    let options = BuildOptions { profiles, ..BuildOptions::default() };
    let device = Driver::load().unwrap().device(0).unwrap();
    let mut network = library.builder(Some(&device)).parse(&model.encode(), None).unwrap();
    network.build(&options).unwrap().to_vec()
}

/// The affine model: y = 2 x + (0, 1, 2, 3), of rows of four; one profile for up to 4 rows, one for up to 64.
fn plan() -> Vec<u8> {
    plan_of(&onnx::affine(), &[[&[1, 4], &[4, 4]], [&[1, 4], &[64, 4]]])
}

fn repository(config: &str, plan: &[u8]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    add(root.path(), "affine", "model.plan", plan, config);
    root
}

/// Adds the same model as ONNX, which no GPU has to do with.
fn add_onnx(root: &Path) {
    put(root, "onnx/1/model.onnx", onnx::affine().encode());
}

fn command(root: &Path, arguments: &[&str]) -> Command {
    let mut command = serve_command(root, arguments);
    command.envs(tensorrt_double::environment());
    command
}

fn ask(forebay: &Forebay, rows: usize, value: usize) -> Answer {
    ask_of(forebay, "affine", rows, value)
}

fn ask_of(forebay: &Forebay, model: &str, rows: usize, value: usize) -> Answer {
    let input = json!({ "name": "x", "datatype": "FP32", "shape": [rows, 4], "data": vec![value; rows * 4] });
    forebay.infer(model, &[], &json!({ "inputs": [input] }))
}

fn right(answer: &Answer, rows: usize, value: usize) {
    let output = &answer.json()["outputs"][0];
    let expected: Vec<Value> = (0..rows * 4).map(|place| json!((2 * value + place % 4) as f64)).collect();
    assert_eq!((answer.status, &output["shape"]), (200, &json!([rows, 4])), "{answer:?}");
    assert_eq!(output["data"], json!(expected));
}

#[test]
fn a_plan_is_seen_as_its_configuration_declares() {
    let config = r#"max_batch_size: 64
        input [ { name: "x" data_type: TYPE_FP32 dims: [ 2, 2 ] reshape { shape: [ 4 ] } } ]
        output [ { name: "doubled" data_type: TYPE_FP32 dims: [ 1, 4 ] reshape { shape: [ 4 ] } } ]"#;
    let root = repository(config, &plan());
    let forebay = Forebay::start(command(root.path(), &["--pool", "none"]));
    let metadata = forebay.get("/v2/models/affine").json();
    let shapes = [&metadata["inputs"][0]["shape"], &metadata["outputs"][0]["shape"]];
    assert_eq!(shapes, [&json!([-1, 2, 2]), &json!([-1, 1, 4])]);
    let input = json!({ "name": "x", "datatype": "FP32", "shape": [2, 2, 2], "data": vec![3; 8] });
    let answer = forebay.infer("affine", &[], &json!({ "inputs": [input] }));
    assert_eq!(answer.json()["outputs"][0]["shape"], json!([2, 1, 4]), "{answer:?}");
    assert_eq!(answer.json()["outputs"][0]["data"], json!([6.0, 7.0, 8.0, 9.0, 6.0, 7.0, 8.0, 9.0]));
    let optional = r#"input [ { name: "x" data_type: TYPE_FP32 dims: [ -1, 4 ] optional: true } ]"#;
    std::fs::write(root.path().join("affine/config.pbtxt"), optional).unwrap();
    let output = command(root.path(), &[]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("is declared optional, but the model has no default for it"), "{said}");
}

#[test]
fn a_plan_answers_in_every_profile_and_tells_what_it_is() {
    let root = repository("", &plan());
    let forebay = Forebay::start(command(root.path(), &["--pool", "none"]));
    for (rows, value) in [(1, 3), (4, 5), (64, 7), (2, 9)] {
        right(&ask(&forebay, rows, value), rows, value);
    }
    let metadata = forebay.get("/v2/models/affine").json();
    assert_eq!(
        (&metadata["platform"], &metadata["inputs"][0]["shape"]),
        (&json!("tensorrt_plan"), &json!([-1, 4]))
    );
    let config = forebay.get("/v2/models/affine/config").json();
    assert_eq!(
        (&config["backend"], &config["default_model_filename"]),
        (&json!("tensorrt"), &json!("model.plan"))
    );
    assert_eq!(config["instance_group"][0]["kind"], "KIND_GPU");
    let refused = ask(&forebay, 65, 1);
    assert_eq!(refused.status, 400, "{refused:?}");
    // Each of the four was gathered in pinned memory.
    let gathered = forebay.get("/v2/models/affine/stats").json();
    let gathered = &gathered["model_stats"][0]["inference_stats"]["compute_input"];
    assert_eq!((&gathered["count"], gathered["ns"] == 0), (&json!(4), false), "{gathered}");
    assert!(refused.json()["error"].as_str().unwrap().contains("no profile of the plan allows 'x' [65, 4]"));
    right(&ask(&forebay, 1, 2), 1, 2);
}

#[test]
fn an_output_whose_size_the_run_tells_is_what_onnx_runtime_says_it_is() {
    let root = repository("", &plan());
    for (name, file, bytes) in [
        ("by_plan", "model.plan", plan_of(&onnx::non_zero(), &[[&[1], &[64]]])),
        ("by_onnx", "model.onnx", onnx::non_zero().encode()),
    ] {
        put(root.path(), format!("{name}/1/{file}"), bytes);
    }
    let forebay = Forebay::start(command(root.path(), &["--pool", "none", "--instances", "1"]));
    for values in [vec![0, 1, 0, 2], vec![1; 40], vec![0, 0], vec![5]] {
        let body = json!({ "inputs": [{ "name": "x", "datatype": "FP32", "shape": [values.len()], "data": values }] });
        let [plan, onnx] = ["by_plan", "by_onnx"].map(|model| forebay.infer(model, &[], &body));
        assert_eq!((plan.status, onnx.status), (200, 200), "{plan:?} {onnx:?}");
        assert_eq!(plan.json()["outputs"], onnx.json()["outputs"]);
    }
}

#[test]
fn requests_at_once_run_in_batches_on_several_instances_and_each_gets_its_own() {
    let config = r#"platform: "tensorrt_plan" max_batch_size: 64 dynamic_batching { }
        instance_group { count: 2 kind: KIND_GPU } response_cache { enable: true }"#;
    let root = repository(config, &plan());
    let forebay = Forebay::start(command(root.path(), &[]));
    std::thread::scope(|scope| {
        for value in 0..16 {
            let forebay = &forebay;
            scope.spawn(move || {
                for rows in 1..8 {
                    right(&ask(forebay, rows, value), rows, value);
                }
            });
        }
    });
    let again = ask(&forebay, 1, 1);
    right(&again, 1, 1);
    assert_eq!(again.header("cache-status"), "forebay-serve; hit");
}

#[test]
fn an_error_of_each_call_of_a_run_is_one_requests_and_the_next_is_answered() {
    let root = repository("", &plan());
    for call in ["cuMemcpyHtoDAsync_v2", "cuMemcpyDtoHAsync_v2", "enqueueV3", "cuEventRecord"] {
        let mut met = 0;
        // The first run of each lane is the warm-up's, which may fail.
        for which in 3..=7 {
            let mut command = command(root.path(), &["--pool", "none"]);
            command.env(tensorrt_double::FAIL, format!("{call}:{which}=2"));
            let forebay = Forebay::start(command);
            let answers = [1; 6].map(|rows| ask(&forebay, rows, 3));
            let failed: Vec<_> = answers.iter().filter(|answer| answer.status != 200).collect();
            let says = |answer: &&Answer| answer.status == 500 && answer.json()["error"].is_string();
            assert!(failed.len() <= 1 && failed.iter().all(says), "{call} {which}: {answers:?}");
            right(&answers[5], 1, 3);
            met += failed.len();
        }
        assert!(met > 0, "{call}: no request met its error");
    }
}

#[test]
fn an_error_of_each_call_of_a_load_refuses_the_model_in_one_line() {
    let root = repository("", &plan());
    for (call, code) in [("createInferRuntime", 552), ("deserializeCudaEngine", 2), ("cuStreamCreate", 2)] {
        let mut command = command(root.path(), &[]);
        let output = command.env(tensorrt_double::FAIL, format!("{call}:*={code}")).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{call}");
        assert!(said.lines().last().is_some_and(|line| line.contains("affine")), "{call}: {said}");
    }
}

#[test]
fn a_plan_that_is_damaged_is_refused_with_what_is_wrong() {
    let whole = plan();
    let mut foreign = whole.clone();
    foreign[0] ^= 0xff;
    for plan in [&whole[..whole.len() / 2], &foreign, &[]] {
        let root = repository("", plan);
        let output = command(root.path(), &[]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains("can't load model.plan: TensorRT"), "{said}");
    }
}

#[test]
fn values_of_an_input_decide_the_shape_of_an_output_with_and_without_graphs() {
    let profile = |[least, most]: [i64; 2]| Profile {
        inputs: vec![range("x", false, &[&[1, 1], &[4, 1]]), range("size", true, &[&[1, least], &[4, most]])],
    };
    let plan = build(&onnx::expand(), [[1, 8], [9, 64]].map(profile).into());
    for config in ["", "optimization { cuda { graphs: true } }"] {
        let root = repository(config, &plan);
        let forebay = Forebay::start(command(root.path(), &["--pool", "none", "--instances", "1"]));
        let infer = |columns: usize| {
            let body = json!({ "inputs": [
                { "name": "x", "datatype": "FP32", "shape": [2, 1], "data": [7, columns] },
                { "name": "size", "datatype": "INT64", "shape": [2], "data": [2, columns] },
            ] });
            forebay.infer("affine", &[], &body)
        };
        for columns in [3, 3, 64, 1, 3] {
            let answer = infer(columns);
            let output = &answer.json()["outputs"][0];
            assert_eq!((answer.status, &output["shape"]), (200, &json!([2, columns])), "{answer:?}");
            let row = |value: f64| vec![value; columns];
            assert_eq!(output["data"], json!([row(7.0), row(columns as f64)].concat()));
        }
        let refused = infer(65);
        assert_eq!(refused.status, 400);
        let said = "no profile of the plan allows 'x' [2, 1], 'size' with the values [2, 65] together";
        assert!(refused.json()["error"].as_str().unwrap().contains(said), "{refused:?}");
    }
}

#[test]
fn a_server_without_tensorrt_says_so_and_refuses_plans_in_one_line() {
    let root = repository("", b"a plan");
    let (code, said) = refused(&mut serve_command(root.path(), &[]));
    // Where there is a GPU with TensorRT, these bytes are still no plan.
    let why = ["tensorrt_plan models can't be run here: ", "can't load model.plan: "];
    assert!(code != Some(0) && why.iter().any(|why| said.contains(why)), "{said}");
    let mut absent = serve_command(root.path(), &["--tensorrt", "/no/such/libnvinfer.so.11"]);
    let (code, said) = refused(&mut absent);
    assert_eq!((code, said.starts_with("forebay: --tensorrt: ")), (Some(2), true), "{said}");
}
