//! A repository as Triton's users have it: what `config.pbtxt` leaves out is completed, what it says is served, said to be ignored
//! with its line, or refused with it.

use std::path::Path;

use rig::http::Answer;
use rig::repository::put;
use serde_json::{Value, json};
use tensorrt_double::onnx;

use crate::poll::install;
use crate::process::{Forebay, refused, repository_with, serve_command};

const MODEL: &str = "two_outputs";
/// What the model has, so that nothing is completed.
const WHOLE: &str = "input { name: \"x\" data_type: TYPE_FP32 dims: [ -1, -1 ] }\n\
                     output [ { name: \"double\" data_type: TYPE_FP32 dims: [ -1, -1 ] },\n\
                     { name: \"half\" data_type: TYPE_FP32 dims: [ -1, -1 ] } ]\n";

/// A repository with the model and that configuration, if any.
fn repository(config: Option<&str>) -> tempfile::TempDir {
    let root = repository_with(MODEL, config.unwrap_or_default());
    if config.is_none() {
        std::fs::remove_file(root.path().join(MODEL).join("config.pbtxt")).unwrap();
    }
    root
}

fn serve(root: &Path, arguments: &[&str]) -> Forebay {
    Forebay::serve_from(root, &[&["--instances", "3", "--pool", "none"], arguments].concat())
}

fn configuration(forebay: &Forebay) -> Value {
    forebay.get(&format!("/v2/models/{MODEL}/config")).json()
}

fn ask(forebay: &Forebay, rows: usize) -> Answer {
    let data = vec![1; rows * 2];
    let input = json!({ "name": "x", "datatype": "FP32", "shape": [rows, 2], "data": data });
    forebay.infer(MODEL, &[], &json!({ "inputs": [input] }))
}

/// What a server says that can't load the model.
fn refusal(root: &Path, arguments: &[&str]) -> String {
    let (code, said) = refused(&mut serve_command(root, arguments));
    assert_ne!(code, Some(0), "{said}");
    said
}

/// What a server that serves the repository says until it ends.
fn said(root: &Path) -> String {
    Forebay::serve_from(root, &["--log-format", "text"]).ended().replace("\\\"", "\"")
}

#[test]
fn a_model_without_a_configuration_is_completed_as_triton_completes_it() {
    let root = repository(None);
    let forebay = serve(root.path(), &[]);
    let config = configuration(&forebay);
    for (field, expected) in [
        ("name", json!(MODEL)),
        ("platform", json!("onnxruntime_onnx")),
        ("backend", json!("onnxruntime")),
        ("default_model_filename", json!("model.onnx")),
        ("max_batch_size", json!(4)),
        ("version_policy", json!({ "latest": { "num_versions": 1 } })),
    ] {
        assert_eq!(config[field], expected, "{field}");
    }
    assert_eq!(config["dynamic_batching"]["preferred_batch_size"], json!([4]));
    assert_eq!((&config["input"][0]["dims"], &config["output"][1]["dims"]), (&json!([-1]), &json!([-1])));
    let group = &config["instance_group"][0];
    let named = (&group["name"], &group["kind"], &group["count"]);
    assert_eq!(named, (&json!("two_outputs_0"), &json!("KIND_CPU"), &json!(3)));
    assert_eq!(ask(&forebay, 4).status, 200);
    let larger = ask(&forebay, 5);
    assert!(larger.status == 400 && larger.error().contains("batch-size must be <= 4"), "{larger:?}");
}

#[test]
fn what_is_nothing_but_a_batch_is_completed_as_ones() {
    let model = onnx::Model::new("vector").input("x", onnx::Type::F32, &[None]);
    let model = model.node("Identity", &["x"], "y").output("y", onnx::Type::F32, &[None]);
    let root = tempfile::tempdir().unwrap();
    put(root.path(), format!("{MODEL}/1/model.onnx"), model.encode());
    let forebay = serve(root.path(), &[]);
    let config = configuration(&forebay);
    assert_eq!(config["max_batch_size"], 4);
    for tensor in [&config["input"][0], &config["output"][0]] {
        assert_eq!((&tensor["dims"], &tensor["reshape"]), (&json!([1]), &json!({ "shape": [] })));
    }
    let input = json!({ "name": "x", "datatype": "FP32", "shape": [3, 1], "data": [5, 6, 7] });
    let answer = forebay.infer(MODEL, &[], &json!({ "inputs": [input] }));
    assert_eq!(answer.status, 200, "{answer:?}");
    let output = &answer.json()["outputs"][0];
    assert_eq!((&output["shape"], &output["data"]), (&json!([3, 1]), &json!([5.0, 6.0, 7.0])));
}

#[test]
fn the_batch_that_is_filled_in_is_the_flags() {
    let root = repository(Some("response_cache { enable: true }"));
    let flag = ["--backend-config=onnxruntime,default-max-batch-size=16"];
    let forebay = serve(root.path(), &flag);
    assert_eq!(configuration(&forebay)["max_batch_size"], 16);
    assert_eq!(ask(&forebay, 16).status, 200);
    let none = serve(root.path(), &["--backend-config", "default-max-batch-size=0"]);
    let config = configuration(&none);
    assert_eq!((&config["max_batch_size"], &config["dynamic_batching"]), (&json!(0), &Value::Null));
    let wrong = refusal(root.path(), &["--backend-config=onnxruntime,unknown=1"]);
    assert!(wrong.contains("--backend-config: \"unknown\" is not served"), "{wrong}");
}

#[test]
fn a_whole_configuration_is_left_as_it_is() {
    let root = repository(Some(&format!("{WHOLE} instance_group [ {{ kind: KIND_CPU }} ]")));
    let forebay = serve(root.path(), &["--disable-auto-complete-config"]);
    let config = configuration(&forebay);
    assert_eq!((&config["max_batch_size"], &config["dynamic_batching"]), (&json!(0), &Value::Null));
    assert_eq!(config["input"][0]["dims"], json!([-1, -1]));
    let group = &config["instance_group"][0];
    assert_eq!((&group["name"], &group["count"]), (&json!("two_outputs_0"), &json!(2)));
    assert_eq!(ask(&forebay, 9).status, 200);
}

#[test]
fn where_nothing_is_filled_in_a_configuration_says_it_all_or_is_refused() {
    let root = repository(Some("max_batch_size: 4\n"));
    let error = refusal(root.path(), &["--disable-auto-complete-config"]);
    assert!(
        error.contains("config.pbtxt:1: lists no input") && error.contains("the model has \"x\""),
        "{error}"
    );
    let error = refusal(root.path(), &["--strict-model-config=true"]);
    assert!(error.contains("lists no input"), "{error}");
}

#[test]
fn the_versions_that_are_there_are_served_and_the_others_said_to_be_missing() {
    let root = tempfile::tempdir().unwrap();
    for version in [1, 2, 5] {
        install(root.path(), version, MODEL);
    }
    let policy = "version_policy {\nspecific { versions: [ 1,\n7,\n5 ] } }";
    std::fs::write(root.path().join("m/config.pbtxt"), format!("{WHOLE}{policy}")).unwrap();
    let forebay = serve(root.path(), &[]);
    assert_eq!(forebay.get("/v2/models/m").json()["versions"], json!(["1", "5"]));
    drop(forebay);
    let said = said(root.path());
    assert!(said.contains("m/config.pbtxt:6: version 7 is not there, the others are served"), "{said}");
    let none = format!("{WHOLE}version_policy {{\nspecific {{ versions: [ 7 ] }} }}");
    std::fs::write(root.path().join("m/config.pbtxt"), none).unwrap();
    let error = refusal(root.path(), &[]);
    assert!(
        error.contains("m/config.pbtxt:5: version_policy.specific: none") && error.contains("[1, 2, 5]"),
        "{error}"
    );
}

#[test]
fn a_file_that_is_not_what_its_checksum_says_refuses_the_model() {
    let sum = |value: &str| {
        format!(
            "{WHOLE}model_repository_agents {{ agents [ {{ name: \"checksum\"\n\
             parameters {{ key: \"MD5:1/labels\" value: \"{value}\" }} }} ] }}"
        )
    };
    let root = repository(Some(&sum("900150983cd24fb0d6963f7d28e17f72")));
    std::fs::write(root.path().join(MODEL).join("1/labels"), "abc").unwrap();
    assert_eq!(ask(&serve(root.path(), &[]), 1).status, 200);
    std::fs::write(root.path().join(MODEL).join("1/labels"), "abd").unwrap();
    let error = refusal(root.path(), &[]);
    let expected = "config.pbtxt:5: checksum \"MD5:1/labels\" is 4911e516e5aa21d327512e0c8b197616, \
                    expected \"900150983cd24fb0d6963f7d28e17f72\"";
    assert!(error.contains(expected), "{error}");
}

#[test]
fn a_parameter_that_nothing_reads_is_a_warning() {
    let config = "parameters { key: \"enable_mem_arena\" value { string_value: \"1\" } }\n\
                  parameters { key: \"lanes\" value { string_value: \"2\" } }\n\
                  parameters { key: \"gpu_mem_limit\" value { string_value: \"1\" } }\n\
                  optimization {\npriority: PRIORITY_MAX\ncuda { graphs: true } }\n\
                  instance_group { kind: KIND_CPU\nrate_limiter { priority: 1 } }\n\
                  of_the_future: 1";
    let root = repository(Some(&format!("{WHOLE}{config}")));
    let said = said(root.path());
    for expected in [
        "config.pbtxt:5: parameter \"lanes\" is ignored: nothing reads it",
        "config.pbtxt:6: parameter \"gpu_mem_limit\" is ignored: set it among",
        "config.pbtxt:8: optimization.priority is ignored: ",
        "config.pbtxt:9: optimization.cuda.graphs is ignored: it is for models of tensorrt_plan",
        "config.pbtxt:11: instance_group.rate_limiter is ignored: ",
        "config.pbtxt:12: field 'of_the_future' not found",
    ] {
        assert!(said.contains(expected), "{expected}\n{said}");
    }
    assert!(!said.contains("enable_mem_arena"), "{said}");
}

#[test]
fn each_refusal_names_the_line() {
    for (config, expected) in [
        (
            "input {\nname: \"x\" data_type: TYPE_FP32\ndims: [ -1, -1 ]\nallow_ragged_batch: true }",
            "4: input[0].allow_ragged_batch",
        ),
        ("\nbatch_input { kind: BATCH_ITEM_SHAPE }", "2: batch_input: "),
        ("\nbatch_output { }", "2: batch_output: "),
        ("\ncc_model_filenames { key: \"7.5\" value: \"x\" }", "2: cc_model_filenames: "),
        ("\nmodel_operations { op_library_filename: \"x\" }", "2: model_operations: "),
        (
            "parameters {\nkey: \"intra_op_thread_count\" value {\nstring_value: \"many\" } }",
            "2: intra_op_thread_count is \"many\"",
        ),
        ("instance_group [ { },\n{ count: 1\nkind: KIND_GPU } ]", "3: instance_group of KIND_GPU needs CUDA"),
        ("\noptimization {\ngraph {\nlevel: 9 } }", "4: optimization.graph.level is 9"),
        (
            "input { name: \"x\" data_type: TYPE_FP32 dims: [ -1, -1 ] }\n\noutput { name: \"y\" }",
            "3: output \"y\" is declared",
        ),
        (
            "max_batch_size: 8\ndynamic_batching {\npreferred_batch_size: [ 9 ] }",
            "3: dynamic_batching: preferred_batch_size 9",
        ),
        ("parameters {\nkey: \"forebay_ttl\" value { } }", "2: parameter \"forebay_ttl\""),
        (
            "model_warmup {\ninputs {\nkey: \"x\" value { dims: 1 } } }",
            "3: model_warmup \"\": input \"x\": has no data_type",
        ),
    ] {
        let root = repository(Some(config));
        let error = refusal(root.path(), &[]);
        assert!(error.contains(&format!("{MODEL}/config.pbtxt:{expected}")), "{expected}\n{error}");
    }
}
