//! Models come, change and go by call, and no request notices; files that belong to a model are used as Triton does.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rig::http::Answer;
use rig::process::until;
use rig::repository::{add, generated};
use serde_json::{Value, json};

use crate::client::{fp32, send};
use crate::poll::install;
use crate::process::{Forebay, refused, serve_command, test_repository};

pub(crate) const EXPLICIT: [&str; 4] = ["--instances", "1", "--model-control-mode", "explicit"];

fn post(forebay: &Forebay, path: &str, body: &Value) -> Answer {
    send(forebay.http_port, "POST", path, &[], body.to_string().as_bytes())
}

pub(crate) fn load(forebay: &Forebay, model: &str, parameters: &Value) -> Answer {
    post(forebay, &format!("/v2/repository/models/{model}/load"), &json!({ "parameters": parameters }))
}

pub(crate) fn unload(forebay: &Forebay, model: &str) -> Answer {
    send(forebay.http_port, "POST", &format!("/v2/repository/models/{model}/unload"), &[], b"")
}

fn index(forebay: &Forebay) -> Value {
    send(forebay.http_port, "POST", "/v2/repository/index", &[], b"").json()
}

fn infer(forebay: &Forebay) -> u16 {
    forebay.infer("m", &[], &fp32(&[1.0])).status
}

#[test]
fn models_come_and_go_by_call_and_the_index_tells() {
    let root = tempfile::tempdir().unwrap();
    install(root.path(), 1, "identity_fp32");
    let forebay = Forebay::serve_from(root.path(), &EXPLICIT);
    assert_eq!((index(&forebay), infer(&forebay)), (json!([{ "name": "m" }]), 404));
    assert_eq!(load(&forebay, "m", &json!({})).status, 200);
    assert_eq!(infer(&forebay), 200);
    assert_eq!(index(&forebay), json!([{ "name": "m", "version": "1", "state": "READY" }]));
    assert_eq!(unload(&forebay, "m").status, 200);
    let unloaded = json!([{ "name": "m", "version": "1", "state": "UNAVAILABLE", "reason": "unloaded" }]);
    assert_eq!(infer(&forebay), 404);
    until("it is unloaded", || (index(&forebay) == unloaded).then_some(()));
    assert_eq!(post(&forebay, "/v2/repository/index", &json!({ "ready": true })).json(), json!([]));
    for path in ["/v2/repository/index", "/v2/repository/models/m/load"] {
        for body in [json!([]), json!(null), json!("x")] {
            let answer = post(&forebay, path, &body);
            assert_eq!(answer.status, 400, "{path} {body}");
            assert!(answer.error().contains("a JSON object is expected"), "{answer:?}");
        }
    }
    assert_eq!(forebay.get("/v2/health/ready").status, 200);
    for (answer, status) in [(load(&forebay, "nope", &json!({})), 404), (unload(&forebay, "nope"), 404)] {
        assert_eq!((answer.status, answer.error().contains("'nope'")), (status, true), "{answer:?}");
    }
}

#[test]
fn an_unloaded_model_answers_the_requests_that_it_has() {
    // Requests wait for more of their batch longer than it takes to see them all.
    let root = tempfile::tempdir().unwrap();
    let config = "max_batch_size: 8 dynamic_batching { preferred_batch_size: [ 6 ] max_queue_delay_microseconds: 5000000 }";
    add(root.path(), "m", "model.onnx", generated("identity_fp32"), config);
    let forebay = Forebay::serve_from(root.path(), &[&EXPLICIT[..], &["--load-model", "*"]].concat());
    let state = || index(&forebay)[0]["state"].clone();
    std::thread::scope(|scope| {
        let forebay = &forebay;
        let asks: Vec<_> = (0..5)
            .map(|value| scope.spawn(move || forebay.infer("m", &[], &fp32(&[value as f32]))))
            .collect();
        let in_progress = || forebay.metric("forebay_requests_in_progress", "m");
        until("all are in progress", || (in_progress() == 5).then_some(()));
        assert_eq!(unload(forebay, "m").status, 200);
        assert_eq!((state(), infer(forebay)), (json!("UNLOADING"), 404));
        assert!(asks.into_iter().all(|ask| ask.join().unwrap().status == 200));
    });
    until("it is gone", || (state() == "UNAVAILABLE").then_some(()));
}

#[test]
fn a_load_that_fails_leaves_what_is_served() {
    let root = tempfile::tempdir().unwrap();
    install(root.path(), 1, "identity_fp32");
    let forebay = Forebay::serve_from(root.path(), &[&EXPLICIT[..], &["--load-model", "*"]].concat());
    let broken = load(&forebay, "m", &json!({ "config": "{\"max_batch_size\": -1}" }));
    assert_eq!((broken.status, broken.error().contains("max_batch_size")), (400, true), "{broken:?}");
    std::fs::write(root.path().join("m/1/model.onnx"), "no model").unwrap();
    let broken = load(&forebay, "m", &json!({}));
    assert_eq!((broken.status, broken.error().contains("failed to load 'm'")), (400, true), "{broken:?}");
    assert_eq!((infer(&forebay), forebay.get("/v2/health/ready").status), (200, 200));
    assert_eq!(index(&forebay)[1]["state"], "UNAVAILABLE");
}

#[test]
fn configuration_and_files_can_come_with_the_call() {
    let root = tempfile::tempdir().unwrap();
    install(root.path(), 1, "identity_fp32");
    let forebay = Forebay::serve_from(root.path(), &EXPLICIT);
    let config = json!({ "of_another_version": 1, "max_batch_size": 4, "dynamic_batching": { "max_queue_delay_microseconds": 100 } });
    assert_eq!(load(&forebay, "m", &json!({ "config": config.to_string() })).status, 200);
    let served = forebay.get("/v2/models/m/config").json();
    assert_eq!(
        (&served["max_batch_size"], &served["dynamic_batching"]["max_queue_delay_microseconds"]),
        (&json!(4), &json!(100))
    );
    assert_eq!(
        served["input"][0],
        json!({ "name": "x", "data_type": "TYPE_FP32", "format": "FORMAT_NONE", "dims": [-1],
        "is_shape_tensor": false, "allow_ragged_batch": false, "optional": false, "is_non_linear_format_io": false })
    );
    let file = base64(&std::fs::read(test_repository().join("two_outputs/1/model.onnx")).unwrap());
    assert_eq!(load(&forebay, "brought", &json!({ "config": "{}", "file:7/model.onnx": file })).status, 200);
    let answer = forebay.infer("brought", &[], &fp32(&[1.0]));
    assert_eq!((answer.status, &answer.json()["model_version"]), (200, &json!("7")), "{answer:?}");
    for outside in ["file:../model.onnx", "file:/model.onnx", "file:"] {
        assert_eq!(load(&forebay, "brought", &json!({ outside: "AA==" })).status, 400, "{outside}");
    }
}

pub(crate) fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::prelude::BASE64_STANDARD.encode(bytes)
}

#[test]
fn models_that_come_and_go_by_call_leave_nothing() {
    let root = tempfile::tempdir().unwrap();
    install(root.path(), 1, "identity_fp32");
    let forebay = Forebay::serve_from(root.path(), &EXPLICIT);
    let file = base64(&std::fs::read(test_repository().join("identity_fp32/1/model.onnx")).unwrap());
    let metrics = || String::from_utf8(send(forebay.metrics_port, "GET", "/metrics", &[], b"").body).unwrap();
    for number in 0..60 {
        let model = format!("brought_{number}");
        assert_eq!(load(&forebay, &model, &json!({ "config": "{}", "file:1/model.onnx": file })).status, 200);
        assert_eq!(forebay.infer(&model, &[], &fp32(&[1.0])).status, 200);
        assert!(metrics().contains(&model));
        assert_eq!(unload(&forebay, &model).status, 200);
    }
    let broken = load(&forebay, "brought_broken", &json!({ "config": "{}", "file:1/model.onnx": "AA==" }));
    assert_eq!(broken.status, 400);
    // Threads of sessions end a moment after their model.
    until("no series is left", || (!metrics().contains("brought_")).then_some(()));
    assert_eq!(index(&forebay), json!([{ "name": "m" }]));
    assert_eq!(forebay.get("/v2/health/ready").status, 200);
}

#[test]
fn no_request_fails_while_its_model_is_loaded_again_and_again() {
    let root = tempfile::tempdir().unwrap();
    install(root.path(), 1, "identity_fp32");
    let forebay =
        Forebay::serve_from(root.path(), &[&EXPLICIT[..], &["--load-model", "m", "--pool", "none"]].concat());
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let asks: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut asked = 0_u32;
                    while !done.load(Ordering::Relaxed) {
                        assert_eq!(infer(&forebay), 200);
                        asked += 1;
                    }
                    asked
                })
            })
            .collect();
        for round in 0..50 {
            // Another configuration: another generation, so sessions are opened anew.
            let config =
                json!({ "parameters": { "round": { "string_value": round.to_string() } } }).to_string();
            assert_eq!(load(&forebay, "m", &json!({ "config": config })).status, 200);
        }
        done.store(true, Ordering::Relaxed);
        let asked: u32 = asks.into_iter().map(|ask| ask.join().unwrap()).sum();
        assert!(asked > 50, "{asked}");
    });
}

#[test]
fn other_modes_refuse_in_a_sentence() {
    for (arguments, expected) in
        [(&["--instances", "1"][..], "start with"), (&crate::poll::POLL, "if polling is enabled")]
    {
        let forebay = Forebay::serve(arguments);
        let answer = load(&forebay, "identity_fp32", &json!({}));
        assert_eq!((answer.status, answer.error().contains(expected)), (503, true), "{answer:?}");
        assert_eq!(unload(&forebay, "identity_fp32").status, 503);
        assert_eq!(index(&forebay)[0]["state"], "READY");
    }
}

/// With an input and, unless it says of one, an output: no batch is guessed.
fn with_config(root: &Path, config: &str) {
    install(root, 1, "identity_fp32");
    let tensor = |kind: &str, name: &str| {
        format!("{kind} {{ name: \"{name}\" data_type: TYPE_FP32 dims: [ -1, -1 ] }} ")
    };
    let output = if config.starts_with("output") { String::new() } else { tensor("output", "y") };
    std::fs::write(root.join("m/config.pbtxt"), tensor("input", "x") + &output + config).unwrap();
}

#[test]
fn labels_name_the_classes() {
    let root = tempfile::tempdir().unwrap();
    with_config(
        root.path(),
        "output [ { name: \"y\" data_type: TYPE_FP32 dims: [ -1, -1 ] label_filename: \"labels.txt\" } ]",
    );
    std::fs::write(root.path().join("m/labels.txt"), "cat\ndog\n").unwrap();
    let forebay = Forebay::serve_from(root.path(), &["--instances", "1"]);
    let mut body = fp32(&[1.0, 2.0, 0.0]);
    body["outputs"] = json!([{ "name": "y", "parameters": { "classification": 3 } }]);
    let data = forebay.infer("m", &[], &body).json()["outputs"][0]["data"].clone();
    assert_eq!(data, json!(["2.000000:1:dog", "1.000000:0:cat", "0.000000:2"]));
}

#[test]
fn a_warmup_that_fails_refuses_the_model_with_its_name() {
    let root = tempfile::tempdir().unwrap();
    let warmup = |input: &str| {
        format!("model_warmup [ {{ name: \"first\" count: 2 inputs {{ key: \"x\" value {{ {input} }} }} }} ]")
    };
    with_config(root.path(), &warmup("data_type: TYPE_FP32 dims: [ 1, 2 ] random_data: true"));
    let forebay = Forebay::serve_from(root.path(), &["--instances", "1"]);
    assert_eq!(infer(&forebay), 200);
    for (input, expected) in [
        ("data_type: TYPE_FP32 dims: [ 1 ] zero_data: true", "model_warmup \"first\": "),
        ("data_type: TYPE_FP32 dims: [ 1, 1 ] input_data_file: \"none\"", "warmup/none"),
        ("data_type: TYPE_FP32 dims: [ -1, 1 ] zero_data: true", "input \"x\": dims [-1, 1]"),
        ("data_type: TYPE_FP32 dims: [ 1, 1 ]", "needs zero_data"),
    ] {
        with_config(root.path(), &warmup(input));
        let (code, said) = refused(&mut serve_command(root.path(), &[]));
        assert!(code != Some(0) && said.contains(expected), "{said}");
    }
}

#[test]
fn what_is_logged_can_be_changed_and_tracing_stays_off() {
    let forebay = Forebay::serve(&["--instances", "1"]);
    let before = forebay.get("/v2/logging").json();
    assert_eq!(
        (&before["log_warning"], &before["log_info"], &before["log_verbose_level"]),
        (&json!(true), &json!(false), &json!(0))
    );
    let changed = post(&forebay, "/v2/logging", &json!({ "log_verbose_level": 1 }));
    assert_eq!((changed.status, &changed.json()["log_verbose_level"]), (200, &json!(1)));
    for (settings, status) in [
        (json!({ "log_info": 1 }), 400),
        (json!({ "log_loud": true }), 400),
        (json!({ "log_file": "x" }), 501),
        (json!([]), 400),
    ] {
        let refused = post(&forebay, "/v2/logging", &settings);
        assert_eq!((refused.status, refused.error().is_empty()), (status, false), "{settings} {refused:?}");
    }
    assert_eq!(forebay.get("/v2/logging").json()["log_verbose_level"], 1);
    let off = json!({
        "trace_level": ["OFF"],
        "trace_rate": "1000",
        "trace_count": "-1",
        "trace_mode": "opentelemetry",
    });
    assert_eq!(forebay.get("/v2/models/add_fp32/trace/setting").json(), off);
    assert_eq!(post(&forebay, "/v2/trace/setting", &json!({ "trace_level": null })).json(), off);
    assert_eq!(post(&forebay, "/v2/trace/setting", &json!({ "trace_level": ["TIMESTAMPS"] })).status, 501);
    assert_eq!(forebay.get("/v2/models/nope/trace/setting").status, 404);
}

#[test]
fn there_is_no_shared_memory_and_none_can_be_registered() {
    let forebay = Forebay::serve(&["--instances", "1"]);
    for kind in ["system", "cuda"] {
        let at = |path: &str| format!("/v2/{kind}sharedmemory/{path}");
        assert_eq!(forebay.get(&at("status")).json(), json!([]));
        assert_eq!(post(&forebay, &at("unregister"), &json!({})).status, 200);
        let refused = post(&forebay, &at("region/r/register"), &json!({ "key": "/k", "byte_size": 8 }));
        assert_eq!((refused.status, refused.error().contains("shared memory")), (501, true));
    }
}

#[test]
fn how_onnx_runtime_runs_a_model_is_its_configurations_say() {
    let root = tempfile::tempdir().unwrap();
    let parameter = |key: &str, value: &str| {
        format!("parameters {{ key: \"{key}\" value {{ string_value: \"{value}\" }} }}")
    };
    let settings = [
        ("intra_op_thread_count", "2"),
        ("inter_op_thread_count", "2"),
        ("execution_mode", "1"),
        ("enable_mem_pattern", "Off"),
        ("enable_mem_arena", "0"),
    ];
    let parameters: Vec<String> = settings.iter().map(|(key, value)| parameter(key, value)).collect();
    with_config(root.path(), &format!("optimization {{ graph {{ level: -1 }} }} {}", parameters.join(" ")));
    let forebay = Forebay::serve_from(root.path(), &["--instances", "1"]);
    assert_eq!(infer(&forebay), 200);
    for (config, expected) in [
        (parameter("intra_op_thread_count", "many"), "intra_op_thread_count is \"many\""),
        ("optimization { graph { level: 9 } }".to_owned(), "level is 9"),
        ("instance_group [ { kind: KIND_GPU } ]".to_owned(), "KIND_GPU needs CUDAExecutionProvider"),
        (
            "optimization { execution_accelerators { cpu_execution_accelerator [ { name: \"x\" } ] } }"
                .to_owned(),
            "\"x\" is not known",
        ),
    ] {
        with_config(root.path(), &config);
        let (code, said) = refused(&mut serve_command(root.path(), &[]));
        assert!(code != Some(0) && said.contains(expected), "{said}");
    }
}

#[test]
fn every_path_of_the_openapi_document_is_served_and_refuses_other_methods() {
    let forebay = Forebay::serve(&["--instances", "1"]);
    let document = forebay.get("/openapi.json").json();
    let paths = document["paths"].as_object().unwrap();
    assert!(paths.len() > 30);
    for (template, operations) in paths {
        let path = template.replace("{model}", "add_fp32").replace("{version}", "1").replace("{region}", "r");
        let methods: Vec<String> =
            operations.as_object().unwrap().keys().map(|name| name.to_uppercase()).collect();
        let refused = send(forebay.http_port, "DELETE", &path, &[], b"");
        assert_eq!(refused.status, 405, "{path}");
        let allowed: Vec<&str> = refused.header("allow").split(',').filter(|name| *name != "HEAD").collect();
        // V1 has a model and its prediction under one route.
        if !path.starts_with("/v1/models/") {
            assert_eq!(allowed, methods, "{path}");
        }
        for method in methods {
            assert_ne!(send(forebay.http_port, &method, &path, &[], b"").status, 404, "{method} {path}");
        }
    }
}
