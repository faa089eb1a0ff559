//! What models hold of a GPU's memory, and what happens when there is none left.

use rig::process::until;
use serde_json::json;
use tensorrt_double::onnx;

use super::gpus::held;
use super::{add, add_onnx, ask, ask_of, command, plan, plan_of, repository, right};
use crate::client::send;
use crate::process::Forebay;

/// A model with so many bytes of weights: a matrix that is multiplied by.
fn heavy(columns: u64) -> Vec<u8> {
    let weights = vec![0.5; usize::try_from(4 * columns).unwrap()];
    let model = onnx::Model::new("heavy")
        .input("x", onnx::Type::F32, &[None, Some(4)])
        .constant("w", &[4, columns], &weights)
        .node("MatMul", &["x", "w"], "y")
        .output("y", onnx::Type::F32, &[None, Some(columns)]);
    plan_of(&model, &[[&[1, 4], &[4, 4]]])
}

#[test]
fn what_a_model_holds_of_a_gpu_is_told_and_is_given_back() {
    let root = repository("", &plan());
    add(root.path(), "other", "model.plan", plan(), "");
    let arguments = ["--model-control-mode", "explicit", "--load-model", "*", "--pool", "none"];
    let forebay = Forebay::start(command(root.path(), &arguments));
    let metric = |name: &str| forebay.metric_line(name);
    let uuid = r#"{gpu_uuid="GPU-fbfbfbfb-fbfb-fbfb-fbfb-fbfbfbfbfb00"}"#;
    let used = || metric(&format!("nv_gpu_memory_used_bytes{uuid}"));
    assert_eq!(metric(&format!("nv_gpu_memory_total_bytes{uuid}")), 1 << 30);
    let of_model = |model: &str| {
        metric(&format!(r#"forebay_model_gpu_memory_bytes{{model="{model}",version="1",gpu="0"}}"#))
    };
    let [(0, before)] = held(&forebay, "affine")[..] else { panic!("one GPU") };
    // All of what the double counts as used is on the account of a model.
    assert_eq!((of_model("affine"), used()), (before, 2 * before));
    right(&ask(&forebay, 64, 1), 64, 1);
    let [(0, after)] = held(&forebay, "affine")[..] else { panic!("one GPU") };
    // Input and output of 64 rows of 16 bytes, and the other profile's scratch memory.
    assert!(after > before + 2 * 60 * 16, "{before} {after}");
    assert_eq!((of_model("affine"), used()), (after, after + before));
    let unload = send(forebay.http_port, "POST", "/v2/repository/models/affine/unload", &[], b"{}");
    assert_eq!(unload.status, 200, "{unload:?}");
    until("its memory is given back", || (used() == before).then_some(()));
    assert_eq!(of_model("affine"), 0);
}

#[test]
fn a_plan_without_room_is_refused_with_what_it_needs_and_who_has_it_and_the_others_live_on() {
    let large = heavy(4096);
    let root = repository("", &plan());
    add_onnx(root.path());
    let arguments = ["--model-control-mode", "explicit", "--load-model", "*", "--pool", "none"];
    let mut command = command(root.path(), &arguments);
    command.env(tensorrt_double::MEMORY, "65536");
    let forebay = Forebay::start(command);
    let [(0, held)] = held(&forebay, "affine")[..] else { panic!("one GPU") };
    add(root.path(), "heavy", "model.plan", &large, "");
    let refused = send(forebay.http_port, "POST", "/v2/repository/models/heavy/load", &[], b"{}");
    let said = refused.error();
    let free = 65536 - held;
    let expected = format!(
        "GPU 0 has no room: it needs {} bytes at least, {free} of 65536 are free; models hold affine version 1 {held} bytes",
        large.len()
    );
    assert!(refused.status == 400 && said.ends_with(&expected), "{said}\n{expected}");
    let index = send(forebay.http_port, "POST", "/v2/repository/index", &[], b"{}").json();
    let entry = index.as_array().unwrap().iter().find(|entry| entry["name"] == "heavy").unwrap();
    assert_eq!(entry["state"], "UNAVAILABLE");
    assert!(entry["reason"].as_str().unwrap().ends_with(&expected), "{entry}");
    right(&ask(&forebay, 2, 3), 2, 3);
    right(&ask_of(&forebay, "onnx", 2, 3), 2, 3);
}

#[test]
fn a_plan_past_the_budget_is_refused_with_who_holds_how_much_until_there_is_room() {
    let root = repository("", &plan());
    let explicit = ["--model-control-mode", "explicit", "--load-model", "affine", "--pool", "none"];
    let unbounded = Forebay::start(command(root.path(), &explicit));
    let [(0, one)] = held(&unbounded, "affine")[..] else { panic!("one GPU") };
    drop(unbounded);
    add(root.path(), "other", "model.plan", plan(), "");
    // The second plan's weights would fit, its contexts don't.
    let budget = (2 * one - 1).to_string();
    let forebay =
        Forebay::start(command(root.path(), &[&explicit[..], &["--gpu-memory-bytes", &budget]].concat()));
    let change =
        |what: &str| send(forebay.http_port, "POST", &format!("/v2/repository/models/{what}"), &[], b"{}");
    let refused = change("other/load");
    let expected = format!(
        "GPU 0 has no room: models may hold {budget} bytes of it (--gpu-memory-bytes), with this one they would \
         hold {} at least; models hold affine version 1 {one} bytes",
        2 * one
    );
    assert!(refused.status == 400 && refused.error().ends_with(&expected), "{refused:?}\n{expected}");
    right(&ask(&forebay, 2, 3), 2, 3);
    assert_eq!(change("affine/unload").status, 200);
    until("the other has room", || (change("other/load").status == 200).then_some(()));
    right(&ask_of(&forebay, "other", 2, 3), 2, 3);
}

#[test]
fn what_there_was_no_room_for_is_loaded_once_there_is_and_what_is_gone_makes_room_first() {
    let root = repository("", &plan());
    let plain = ["--pool", "none", "--instances", "1"];
    let unbounded = Forebay::start(command(root.path(), &plain));
    let [(0, one)] = held(&unbounded, "affine")[..] else { panic!("one GPU") };
    drop(unbounded);
    add(root.path(), "other", "model.plan", plan(), "");
    let budget = (2 * one - 1).to_string();
    let poll = ["--model-control-mode", "poll", "--repository-poll-secs", "0.05", "--exit-on-error=false"];
    let arguments = [&plain[..], &poll, &["--gpu-memory-bytes", &budget]].concat();
    let forebay = Forebay::start(command(root.path(), &arguments));
    let ready = || forebay.get("/v2/health/ready").status;
    assert_eq!((ready(), ask_of(&forebay, "other", 2, 3).status), (503, 404));
    right(&ask(&forebay, 2, 3), 2, 3);
    let is_served = |model: &str| (ask_of(&forebay, model, 2, 3).status == 200).then_some(());
    std::fs::remove_dir_all(root.path().join("affine")).unwrap();
    until("the other is loaded", || is_served("other"));
    assert_eq!(ready(), 200);
    // One look finds both: that it is gone, and what comes in its place.
    std::fs::rename(root.path().join("other"), root.path().join("third")).unwrap();
    until("the third is loaded", || is_served("third"));
    assert_eq!((ready(), ask_of(&forebay, "other", 2, 3).status), (200, 404));
}

#[test]
fn a_run_without_room_is_one_requests_error_and_smaller_ones_go_on() {
    let root = repository("", &plan_of(&onnx::affine(), &[[&[1, 4], &[4096, 4]]]));
    let mut command = command(root.path(), &["--pool", "none"]);
    // Room for the scratch memory of 4,096 rows, twice 64 KiB, and not for such an input beside it.
    command.env(tensorrt_double::MEMORY, (3 * 65536 - 8192).to_string());
    let forebay = Forebay::start(command);
    right(&ask(&forebay, 4, 3), 4, 3);
    for _ in 0..2 {
        let refused = ask(&forebay, 4096, 3);
        assert_eq!(refused.status, 500, "{refused:?}");
        assert!(refused.error().contains("out of GPU memory: wanted 65536 bytes, "), "{refused:?}");
        right(&ask(&forebay, 4, 3), 4, 3);
    }
    assert_eq!(forebay.get("/v2/models/affine/ready").json(), json!({ "name": "affine", "ready": true }));
}
