//! Several GPUs.

use std::process::Command;

use rig::process::until;

use super::{add, ask, ask_of, command, plan, repository, right};
use crate::process::Forebay;

/// A server that sees two GPUs.
fn on_two(root: &tempfile::TempDir) -> Command {
    let mut command = command(root.path(), &["--pool", "none"]);
    command.env(tensorrt_double::DEVICES, "2");
    command
}

/// What the model holds of each GPU.
pub(super) fn held(forebay: &Forebay, model: &str) -> Vec<(u64, u64)> {
    let stats = forebay.get(&format!("/v2/models/{model}/stats")).json();
    let number = |value: &serde_json::Value| match value {
        serde_json::Value::String(text) => text.parse().unwrap(),
        other => other.as_u64().unwrap_or_default(),
    };
    let usage = stats["model_stats"][0]["memory_usage"].as_array().unwrap().iter();
    let gpus = usage.filter(|usage| usage["type"] == "GPU");
    gpus.map(|usage| (number(&usage["id"]), number(&usage["byte_size"]))).collect()
}

fn calls(trace: &std::path::Path, name: &str) -> usize {
    std::fs::read_to_string(trace).unwrap().lines().filter(|line| *line == name).count()
}

#[test]
fn instances_run_on_every_gpu_that_is_named_and_share_a_plan_on_each() {
    let config = "instance_group { count: 2 kind: KIND_GPU gpus: [ 0, 1 ] }";
    let root = repository(config, &plan());
    let trace = root.path().join(".trace");
    let mut command = on_two(&root);
    let forebay = Forebay::start({
        command.env(tensorrt_double::TRACE, &trace);
        command
    });
    assert_eq!(calls(&trace, "deserializeCudaEngine"), 2);
    assert_eq!(calls(&trace, "createExecutionContext"), 4);
    let before = held(&forebay, "affine");
    assert_eq!(before.iter().map(|(gpu, _)| *gpu).collect::<Vec<_>>(), [0, 1]);
    // 64 rows need more memory than the warm-up took: it grows where they run.
    until("both GPUs run requests", || {
        std::thread::scope(|scope| {
            for value in 0..8 {
                let forebay = &forebay;
                scope.spawn(move || right(&ask(forebay, 64, value), 64, value));
            }
        });
        held(&forebay, "affine").iter().zip(&before).all(|(now, before)| now.1 > before.1).then_some(())
    });
}

#[test]
fn a_plan_runs_on_every_gpu_unless_its_configuration_names_some() {
    let root = repository("", &plan());
    for (model, config) in [
        ("auto", "instance_group { count: 2 kind: KIND_AUTO }"),
        ("every", "instance_group { kind: KIND_GPU }"),
        ("second", "instance_group { gpus: 1 }"),
    ] {
        add(root.path(), model, "model.plan", plan(), config);
    }
    let forebay = Forebay::start(on_two(&root));
    let gpus = |model: &str| held(&forebay, model).into_iter().map(|(gpu, _)| gpu).collect::<Vec<_>>();
    assert_eq!(
        ["affine", "auto", "every", "second"].map(gpus),
        [vec![0, 1], vec![0, 1], vec![0, 1], vec![1]]
    );
    for model in ["affine", "auto", "every", "second"] {
        right(&ask_of(&forebay, model, 3, 5), 3, 5);
    }
    let group = &forebay.get("/v2/models/affine/config").json()["instance_group"][0];
    assert_eq!((&group["count"], &group["gpus"]), (&1.into(), &serde_json::json!([0, 1])));
}

#[test]
fn a_gpu_that_is_not_there_is_refused_in_one_line() {
    let root = repository("instance_group { kind: KIND_GPU gpus: [ 0, 2 ] }", &plan());
    let output = on_two(&root).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let line = "can't load model.plan: there is no GPU 2: this process sees 2";
    assert!(
        !output.status.success() && said.lines().last().is_some_and(|last| last.contains(line)),
        "{said}"
    );
}
