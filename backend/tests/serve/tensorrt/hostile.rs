//! Plans and models that are damaged, of others, or absurd: one clear error each, and the rest is served.

use serde_json::{Value, json};
use tensorrt_double::onnx;

use super::{add, add_onnx, ask, ask_of, command, plan, plan_of, repository, right};
use crate::process::Forebay;

/// Where a plan of the double has its fields: see bindings/double/infer/plan.h.
const VERSION: usize = 12;
const CAPABILITY: usize = 16;
const LENGTH: usize = 28;

fn with(at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut plan = plan();
    plan[at..at + bytes.len()].copy_from_slice(bytes);
    plan
}

/// Starts a server with those plans beside two models that work, and returns why each isn't served.
fn reasons(plans: &[(&str, Vec<u8>, &str)]) -> Vec<String> {
    let root = repository("", &plan());
    add_onnx(root.path());
    for (name, plan, config) in plans {
        add(root.path(), name, "model.plan", plan, config);
    }
    let forebay = Forebay::start(command(root.path(), &["--exit-on-error", "false", "--pool", "none"]));
    right(&ask(&forebay, 2, 3), 2, 3);
    right(&ask_of(&forebay, "onnx", 2, 3), 2, 3);
    let index = crate::client::send(forebay.http_port, "POST", "/v2/repository/index", &[], b"{}").json();
    let entry = |name: &str| index.as_array().unwrap().iter().find(|entry| entry["name"] == name).unwrap();
    let reason = |(name, ..): &(&str, Vec<u8>, &str)| {
        let entry = entry(name);
        assert_eq!(entry["state"], "UNAVAILABLE", "{entry}");
        let reason = entry["reason"].as_str().unwrap().to_owned();
        assert!(!reason.contains('\n'), "{reason:?}");
        let unknown = ask_of(&forebay, name, 1, 1);
        assert_eq!(unknown.status, 404, "{unknown:?}");
        reason
    };
    plans.iter().map(reason).collect()
}

#[test]
fn each_plan_that_cannot_be_run_is_refused_in_one_line_and_the_others_are_served() {
    let whole = plan();
    let cases: [(&str, Vec<u8>, &str, &str); 9] = [
        ("empty", Vec::new(), "", "The plan is empty"),
        ("short", whole[..20].to_vec(), "", "its header alone has"),
        ("cut", whole[..whole.len() - 1].to_vec(), "", "The plan is truncated"),
        ("longer", [&whole[..], &[0; 64]].concat(), "", "The plan is truncated"),
        (
            "no_plan",
            b"PK\x03\x04 this is another kind of file, and a long one".to_vec(),
            "",
            "Magic tag does not match",
        ),
        ("old", with(VERSION, &101_600_u32.to_le_bytes()), "", "the plan was written by version 101600"),
        (
            "foreign",
            with(CAPABILITY, &90_u32.to_le_bytes()),
            "",
            "incompatible device, expecting compute 8.6 got compute 9.0",
        ),
        ("lengthy", with(LENGTH, &u64::MAX.to_le_bytes()), "", "The plan is truncated"),
        ("on_cpu", whole.clone(), "instance_group { kind: KIND_CPU }", "asks for a CPU; plans run on GPUs"),
    ];
    let plans: Vec<_> = cases.iter().map(|(name, plan, config, _)| (*name, plan.clone(), *config)).collect();
    for (reason, (name, .., expected)) in reasons(&plans).iter().zip(&cases) {
        assert!(reason.contains(expected), "{name}: {reason}");
    }
}

#[test]
fn a_plan_that_is_cut_anywhere_is_refused() {
    let whole = plan();
    let names: Vec<String> = (0..whole.len()).step_by(37).map(|len| format!("cut_{len}")).collect();
    let plans: Vec<_> = names
        .iter()
        .map(|name| (name.as_str(), whole[..name["cut_".len()..].parse().unwrap()].to_vec(), ""))
        .collect();
    for reason in reasons(&plans) {
        assert!(reason.contains("can't load model.plan: TensorRT "), "{reason}");
    }
}

#[test]
fn shapes_that_no_gpu_has_room_for_are_refused_at_the_load_or_at_the_run() {
    let huge = onnx::Model::new("huge")
        .input("x", onnx::Type::F32, &[Some(1 << 40)])
        .node("Identity", &["x"], "y")
        .output("y", onnx::Type::F32, &[Some(1 << 40)]);
    let reasons = reasons(&[("huge", plan_of(&huge, &[]), "")]);
    assert!(reasons[0].contains("GPU 0 has no room: it needs 4398046512128 bytes at least"), "{reasons:?}");

    // As ONNX it is no load's fault: only a run would need the memory.
    let root = repository("", &plan_of(&onnx::affine(), &[[&[1, 4], &[64, 4]]]));
    rig::repository::put(root.path(), "huge/1/model.onnx", huge.encode());
    let forebay = Forebay::start(command(root.path(), &["--pool", "none"]));
    let small = json!({ "inputs": [{ "name": "x", "datatype": "FP32", "shape": [1], "data": [1] }] });
    assert_eq!(forebay.infer("huge", &[], &small).status, 400);
    for (shape, status) in [
        (json!([-1, 4]), 400),
        (json!([i64::MAX, 4]), 413),
        (json!([1_i64 << 62, 4]), 413),
        (json!([0, 4]), 400),
        (json!([65, 4]), 400),
    ] {
        let body = json!({ "inputs": [{ "name": "x", "datatype": "FP32", "shape": shape, "data": Value::Array(vec![]) }] });
        let refused = forebay.infer("affine", &[], &body);
        assert_eq!(refused.status, status, "{shape}: {refused:?}");
    }
    right(&ask(&forebay, 2, 3), 2, 3);
}
