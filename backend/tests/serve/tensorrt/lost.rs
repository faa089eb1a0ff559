//! A GPU whose context is lost: what is answered meanwhile, and how it comes back.

use std::path::PathBuf;
use std::process::Command;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rig::http::Answer;
use rig::process::until;
use serde_json::{Value, json};
use tonic::Code;

use super::gpus::held;
use super::{add, add_onnx, ask, ask_of, command, plan, repository, right};
use crate::client::send;
use crate::grpc;
use crate::process::Forebay;

/// The first copy to the GPU finds the context lost.
const LOST: &str = "cuMemcpyHtoDAsync_v2:1=700";
/// And it stays so.
const LOST_FOR_GOOD: &str = "cuMemcpyHtoDAsync_v2:1=700,cuDevicePrimaryCtxReset_v2:*=999";

/// What goes wrong in the server from now on.
struct Rules {
    file: PathBuf,
}

impl Rules {
    /// For the server of that command.
    fn of(root: &tempfile::TempDir, command: &mut Command) -> Self {
        let file = root.path().join(".rules");
        command.env(tensorrt_double::RULES, &file);
        Self { file }
    }

    fn set(&self, rules: &str) {
        let draft = self.file.with_extension("draft");
        std::fs::write(&draft, rules).unwrap();
        std::fs::rename(draft, &self.file).unwrap();
    }
}

fn is_ready(forebay: &Forebay, model: &str) -> bool {
    forebay.get(&format!("/v2/models/{model}/ready")).status == 200
}

/// State and reason in the index.
fn state(forebay: &Forebay, model: &str) -> (String, String) {
    let index = send(forebay.http_port, "POST", "/v2/repository/index", &[], b"{}").json();
    let entry = index.as_array().unwrap().iter().find(|entry| entry["name"] == model).unwrap().clone();
    let text = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    (text("state"), text("reason"))
}

/// An answer that says that the GPU is away and that the client may try again.
fn refused(answer: &Answer) {
    let says = answer.error().starts_with("GPU 0 was lost") && answer.error().ends_with("; try again later");
    assert!(says && answer.status == 503 && answer.header("retry-after") == "1", "{answer:?}");
}

/// Of all GPUs.
fn gpu_metric(forebay: &Forebay, name: &str, gpu: u32) -> u64 {
    forebay.metric_line(&format!("{name}{{gpu=\"{gpu}\"}}"))
}

#[test]
fn a_lost_gpu_fails_one_request_refuses_the_next_and_comes_back_while_all_else_goes_on() {
    let cached = "response_cache { enable: true } instance_group { count: 2 kind: KIND_GPU }";
    let root = repository(cached, &plan());
    add(root.path(), "other", "model.plan", plan(), "");
    add_onnx(root.path());
    let mut command = command(root.path(), &[]);
    let rules = Rules::of(&root, &mut command);
    let forebay = Forebay::start(command);
    right(&ask(&forebay, 1, 1), 1, 1);
    let memory = ["affine", "other"].map(|model| held(&forebay, model));

    rules.set(LOST_FOR_GOOD);
    let failed = ask(&forebay, 1, 2);
    let says = "inference failed, and GPU 0 was lost by it: cuMemcpyHtoDAsync failed: ";
    assert!(failed.status == 500 && failed.error().starts_with(says), "{failed:?}");
    refused(&ask(&forebay, 1, 3));
    refused(&ask_of(&forebay, "other", 1, 3));
    right(&ask_of(&forebay, "onnx", 1, 3), 1, 3);
    let hit = ask(&forebay, 1, 1);
    right(&hit, 1, 1);
    assert_eq!(hit.header("cache-status"), "forebay-serve; hit");

    until("its sessions are let go", || {
        (!is_ready(&forebay, "affine") && !is_ready(&forebay, "other")).then_some(())
    });
    refused(&forebay.get("/v2/models/affine/ready"));
    assert!(is_ready(&forebay, "onnx"));
    assert_eq!(forebay.get("/v2/health/ready").json(), json!({ "ready": true }));
    until("it is said that this needs a new process", || {
        let (state, reason) = state(&forebay, "affine");
        assert_eq!(state, "UNAVAILABLE");
        reason.ends_with(": restart the process").then_some(())
    });
    let counts = || ["forebay_gpu_usable", "forebay_gpu_losses"].map(|name| gpu_metric(&forebay, name, 0));
    assert_eq!(counts(), [0, 1]);
    assert!(gpu_metric(&forebay, "forebay_gpu_failed_recoveries", 0) >= 6);
    assert_eq!(ask(&forebay, 1, 4).status, 503);

    rules.set("");
    until("it is back", || (is_ready(&forebay, "affine") && is_ready(&forebay, "other")).then_some(()));
    right(&ask(&forebay, 1, 4), 1, 4);
    right(&ask_of(&forebay, "other", 64, 5), 64, 5);
    assert_eq!(state(&forebay, "affine"), ("READY".to_owned(), String::new()));
    until("it is counted", || (gpu_metric(&forebay, "forebay_gpu_recoveries", 0) == 1).then_some(()));
    assert_eq!(counts(), [1, 1]);
    assert_eq!(held(&forebay, "affine"), memory[0]);
}

#[test]
fn requests_at_once_while_a_gpu_is_lost_are_each_right_or_told_why_not() {
    let config = "max_batch_size: 64 dynamic_batching { } instance_group { count: 2 kind: KIND_GPU }";
    let root = repository(config, &plan());
    add_onnx(root.path());
    let flags = ["--pool", "none", "--backend-config", "default-max-batch-size=0"];
    let mut command = command(root.path(), &flags);
    let rules = Rules::of(&root, &mut command);
    let forebay = Forebay::start(command);
    let memory = held(&forebay, "affine");
    for (number, call) in
        ["cuMemcpyDtoHAsync_v2", "cuEventSynchronize", "cuStreamSynchronize", "cuEventRecord"]
            .into_iter()
            .enumerate()
    {
        // A rule that says the same is no new rule.
        rules.set(&format!("{call}:{}=700", 3 + number));
        std::thread::scope(|scope| {
            for value in 0..8 {
                let forebay = &forebay;
                scope.spawn(move || {
                    for rows in 1..6 {
                        let answer = ask(forebay, rows, value);
                        match answer.status {
                            200 => right(&answer, rows, value),
                            500 => assert!(answer.error().contains("GPU 0 was lost by it"), "{answer:?}"),
                            _ => refused(&answer),
                        }
                        right(&ask_of(forebay, "onnx", rows, value), rows, value);
                    }
                });
            }
        });
        // A call that isn't made as often loses no GPU.
        rules.set("");
        until("it is back", || is_ready(&forebay, "affine").then_some(()));
        until("it answers", || (ask(&forebay, 1, 1).status == 200).then_some(()));
        right(&ask(&forebay, 4, 7), 4, 7);
    }
    let losses = || gpu_metric(&forebay, "forebay_gpu_losses", 0);
    assert!(losses() >= 2, "{}", losses());
    until("all are counted", || {
        (gpu_metric(&forebay, "forebay_gpu_recoveries", 0) == losses()).then_some(())
    });
    assert!(held(&forebay, "affine")[0].1 >= memory[0].1);
}

#[test]
fn a_model_on_two_gpus_goes_on_with_one() {
    let root = repository("", &plan());
    let mut command = command(root.path(), &["--pool", "none"]);
    let rules = Rules::of(&root, &mut command);
    command.env(tensorrt_double::DEVICES, "2");
    let forebay = Forebay::start(command);
    rules.set(LOST_FOR_GOOD);
    assert_eq!(ask(&forebay, 1, 1).status, 500);
    let usable = || [0, 1].map(|gpu| gpu_metric(&forebay, "forebay_gpu_usable", gpu));
    assert_eq!(usable().iter().sum::<u64>(), 1);
    for value in 0..8 {
        right(&ask(&forebay, 2, value), 2, value);
        assert!(is_ready(&forebay, "affine"));
    }
    rules.set("");
    until("both are usable", || (usable() == [1, 1]).then_some(()));
    right(&ask(&forebay, 2, 9), 2, 9);
}

#[test]
fn a_driver_that_goes_away_takes_plans_with_it_and_nothing_else_until_it_returns() {
    let root = repository("", &plan());
    add_onnx(root.path());
    let mut command = command(root.path(), &["--pool", "none"]);
    let rules = Rules::of(&root, &mut command);
    let forebay = Forebay::start(command);
    rules.set("*:*=999");
    assert_eq!(ask(&forebay, 1, 1).status, 500);
    for value in 0..4 {
        assert_eq!(ask(&forebay, 1, value).status, 503);
        right(&ask_of(&forebay, "onnx", 1, value), 1, value);
    }
    assert_eq!(forebay.get("/v2/health/live").status, 200);
    until("its session is let go", || (!is_ready(&forebay, "affine")).then_some(()));
    rules.set("");
    until("it is back", || is_ready(&forebay, "affine").then_some(()));
    right(&ask(&forebay, 3, 2), 3, 2);
}

#[test]
fn an_onnx_model_that_was_compiled_comes_back_too_and_so_does_one_that_was_loaded_by_call() {
    let root = repository("", &plan());
    let (model, config) =
        (tensorrt_double::onnx::affine().encode(), "backend: \"tensorrt\" max_batch_size: 64");
    add(root.path(), "compiled", "model.onnx", model, config);
    let arguments = ["--pool", "none", "--model-control-mode", "explicit", "--load-model", "compiled"];
    let mut command = command(root.path(), &arguments);
    let rules = Rules::of(&root, &mut command);
    let forebay = Forebay::start(command);
    // Its files are nowhere but in the call.
    let plan = BASE64_STANDARD.encode(plan());
    let load = json!({ "parameters": { "config": "{}", "file:1/model.plan": plan } }).to_string();
    let loaded = send(forebay.http_port, "POST", "/v2/repository/models/brought/load", &[], load.as_bytes());
    assert_eq!(loaded.status, 200, "{loaded:?}");
    rules.set(LOST);
    assert_eq!(ask_of(&forebay, "compiled", 1, 1).status, 500);
    rules.set("");
    for model in ["compiled", "brought"] {
        until("it answers", || (ask_of(&forebay, model, 2, 3).status == 200).then_some(()));
        right(&ask_of(&forebay, model, 2, 3), 2, 3);
    }
}

#[tokio::test]
async fn over_grpc_the_one_request_gets_internal_and_the_next_unavailable() {
    let root = repository("", &plan());
    let mut command = command(root.path(), &["--pool", "none"]);
    let rules = Rules::of(&root, &mut command);
    let forebay = Forebay::start(command);
    let mut channel = grpc::channel(&forebay);
    let request = || grpc::raw("affine", "FP32", &[1, 4], &[0; 16]);
    grpc::infer(&mut channel, request()).await.unwrap();
    rules.set(LOST_FOR_GOOD);
    let lost = grpc::infer(&mut channel, request()).await.unwrap_err();
    assert!(lost.code() == Code::Internal && lost.message().contains("GPU 0 was lost by it"), "{lost}");
    let away = grpc::infer(&mut channel, request()).await.unwrap_err();
    assert!(away.code() == Code::Unavailable && away.message().starts_with("GPU 0 was lost"), "{away}");
    until("its session is let go", || (!is_ready(&forebay, "affine")).then_some(()));
    let asked = grpc::proto::ModelReadyRequest { name: "affine".into(), ..Default::default() };
    let answer: grpc::proto::ModelReadyResponse = grpc::ask(&mut channel, "ModelReady", asked).await.unwrap();
    assert!(!answer.ready);
}

#[test]
fn a_server_with_nothing_but_a_lost_gpu_is_not_ready_and_ends_when_it_is_told_to() {
    let root = repository("", &plan());
    let mut command = command(root.path(), &["--pool", "none"]);
    let rules = Rules::of(&root, &mut command);
    let forebay = Forebay::start(command);
    rules.set(LOST_FOR_GOOD);
    assert_eq!(ask(&forebay, 1, 1).status, 500);
    until("it isn't ready", || (forebay.get("/v2/health/ready").status == 503).then_some(()));
    assert_eq!(forebay.get("/v2/health/live").status, 200);
    forebay.terminate();
    assert!(forebay.wait().success());
}

#[test]
fn a_gpu_that_is_lost_again_and_again_comes_back_each_time() {
    let root = repository("", &plan());
    let mut command = command(root.path(), &["--pool", "none"]);
    let rules = Rules::of(&root, &mut command);
    let forebay = Forebay::start(command);
    for round in 1..=5 {
        rules.set(LOST);
        assert_eq!(ask(&forebay, 1, 1).status, 500);
        rules.set("");
        until("it answers", || (ask(&forebay, 1, 1).status == 200).then_some(()));
        assert_eq!(gpu_metric(&forebay, "forebay_gpu_losses", 0), round);
    }
}
