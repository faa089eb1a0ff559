//! Models that change behind a front: by loads through it, beside it, and as files that may be loaded or not.

use rig::process::{Signal, free_port, until};
use rig::repository::{generated, put};
use serde_json::Value;

use super::*;
use crate::control::{base64, load, unload};
use crate::proxied::looked_up;

/// What `m` says of 1: `identity_fp32` says 1, and `scaled` another number.
fn asked(front: &Forebay) -> Answer {
    let answer = front.infer("m", &[], &fp32(&[1.0]));
    assert_eq!(answer.status, 200, "{answer:?}");
    answer
}

fn value(answer: &Answer) -> Value {
    answer.json()["outputs"][0]["data"].clone()
}

/// Puts another model's file in place of the file of `m`.
fn replace(root: &Path) {
    put(root, "m/1/model.onnx", generated("scaled"));
}

/// A server of `m` and a front before it.
fn serving(ground: &[&str]) -> (tempfile::TempDir, Forebay, Forebay) {
    let root = tempfile::tempdir().unwrap();
    install(root.path(), 1, MODEL);
    let upstream = upstream(root.path());
    let files = by_files(root.path());
    let front = before(&upstream, if ground.is_empty() { &files } else { ground });
    (root, upstream, front)
}

fn is_in_doubt(front: &Forebay) {
    until("nothing is kept", || (asked(front).header("cache-control") == "no-store").then_some(()));
}

#[test]
fn a_load_through_the_front_ends_the_generation_first() {
    let (root, _upstream, front) = serving(&[]);
    assert!(!asked(&front).is_hit() && asked(&front).is_hit());
    let before = asked(&front);
    assert_eq!(looked_up(&front, "m").as_deref(), Some(before.header("x-forebay-generation")));
    replace(root.path());
    assert_eq!(load(&front, "m", &json!({})).status, 200);
    let after = asked(&front);
    assert!(!after.is_hit() && value(&after) != value(&before), "{after:?}");
    assert_ne!(after.header("x-forebay-generation"), before.header("x-forebay-generation"));
    assert_eq!(looked_up(&front, "m").as_deref(), Some(after.header("x-forebay-generation")));
    assert!(asked(&front).is_hit());
    install(root.path(), 1, MODEL);
    assert_eq!(load(&front, "m", &json!({})).status, 200);
    let back = asked(&front);
    assert!(back.is_hit() && back.body == before.body, "files that come back find what was kept: {back:?}");
}

#[tokio::test]
async fn a_load_over_grpc_does_too() {
    use crate::grpc::proto::{RepositoryModelLoadRequest, RepositoryModelLoadResponse};
    let (root, _upstream, front) = serving(&[]);
    let before = asked(&front);
    replace(root.path());
    let of = |model: &str| RepositoryModelLoadRequest { model_name: model.to_owned(), ..Default::default() };
    let mut channel = channel(&front);
    let loaded: Result<RepositoryModelLoadResponse, _> =
        ask(&mut channel, "RepositoryModelLoad", of("m")).await;
    loaded.unwrap();
    let after = asked(&front);
    assert!(!after.is_hit() && value(&after) != value(&before), "{after:?}");
    assert_ne!(after.header("x-forebay-generation"), before.header("x-forebay-generation"));
    let unknown: Result<RepositoryModelLoadResponse, _> =
        ask(&mut channel, "RepositoryModelLoad", of("nope")).await;
    assert_eq!(unknown.unwrap_err().code(), Code::NotFound);
}

#[test]
fn files_that_changed_and_are_perhaps_not_loaded_mean_no_hits_until_a_load_is_seen() {
    let (root, upstream, front) = serving(&[]);
    let before = asked(&front);
    assert!(asked(&front).is_hit());
    replace(root.path());
    is_in_doubt(&front);
    assert_eq!(value(&asked(&front)), value(&before), "they are not loaded");
    assert_eq!(looked_up(&front, "m").unwrap_or_default(), "", "filters hear of it");
    // Beside the front: that can't be seen.
    assert_eq!(load(&upstream, "m", &json!({})).status, 200);
    for _ in 0..2 {
        let beside = asked(&front);
        assert!(!beside.is_hit() && value(&beside) != value(&before), "{beside:?}");
    }
    assert_eq!(load(&front, "m", &json!({})).status, 200);
    assert!(!asked(&front).is_hit() && asked(&front).is_hit());
}

#[test]
fn a_model_that_was_not_there_and_comes_from_files_that_stood_still_is_known() {
    let root = tempfile::tempdir().unwrap();
    install(root.path(), 1, MODEL);
    let upstream = upstream(root.path());
    let front = before(&upstream, &["--model-repository", root.path().to_str().unwrap()]);
    assert!(!asked(&front).is_hit() && !asked(&front).is_hit(), "what it loaded before is not known");
    assert_eq!(unload(&upstream, "m").status, 200);
    let known = || front.metric_line("forebay_models{state=\"ready\"}");
    until("it is seen that it is gone", || (known() == 0).then_some(()));
    assert_eq!(load(&upstream, "m", &json!({})).status, 200);
    until("results are kept", || asked(&front).is_hit().then_some(()));
}

#[test]
fn a_front_that_sees_its_server_start_knows_what_it_loads() {
    let root = tempfile::tempdir().unwrap();
    install(root.path(), 1, MODEL);
    let ports = (free_port(), free_port());
    let mut front =
        Forebay::loading(front_command(ports, &["--model-repository", root.path().to_str().unwrap()]));
    assert_eq!(front.get("/v2/health/ready").status, 503);
    let _upstream = upstream_at(root.path(), ports);
    front.until_ready();
    assert!(!asked(&front).is_hit() && asked(&front).is_hit());
}

#[test]
fn a_load_of_files_that_came_with_it_leaves_a_doubt() {
    let (_root, _upstream, front) = serving(&[]);
    let before = asked(&front);
    let config = json!({ "backend": "onnxruntime", "response_cache": { "enable": true } }).to_string();
    let brought = base64(&generated("scaled"));
    let loaded = load(&front, "m", &json!({ "config": config, "file:1/model.onnx": brought }));
    assert_eq!(loaded.status, 200, "{loaded:?}");
    for _ in 0..2 {
        let after = asked(&front);
        assert!(!after.is_hit() && value(&after) != value(&before), "{after:?}");
    }
    assert_eq!(load(&front, "m", &json!({})).status, 200);
    let own = asked(&front);
    assert!(own.is_hit() && own.body == before.body, "{own:?}");
}

#[test]
fn the_operators_word_counts_for_what_was_loaded_before_a_load() {
    let (root, upstream, front) = serving(&["--generation", "monday"]);
    assert!(!asked(&front).is_hit() && asked(&front).is_hit());
    let monday = asked(&front).header("x-forebay-generation").to_owned();
    let other = before(&upstream, &["--generation", "monday"]);
    assert_eq!(asked(&other).header("x-forebay-generation"), monday);
    let tuesday = before(&upstream, &["--generation", "tuesday"]);
    assert_ne!(asked(&tuesday).header("x-forebay-generation"), monday);
    replace(root.path());
    assert_eq!(load(&front, "m", &json!({})).status, 200);
    let after = asked(&front);
    assert!(!after.is_hit() && after.header("x-forebay-generation") != monday, "{after:?}");
    assert!(asked(&front).is_hit());
}

#[test]
fn an_unload_through_the_front_is_the_end_of_its_hits() {
    let (_root, _upstream, front) = serving(&[]);
    assert!(!asked(&front).is_hit() && asked(&front).is_hit());
    assert_eq!(unload(&front, "m").status, 200);
    assert_eq!(front.infer("m", &[], &fp32(&[1.0])).status, 404);
    assert_eq!(load(&front, "m", &json!({})).status, 200);
    assert!(asked(&front).is_hit());
}

#[test]
fn while_a_load_is_on_its_way_nothing_of_the_model_is_given_and_nothing_that_it_overtakes_is_kept() {
    let (_root, upstream, front) = serving(&[]);
    assert!(!asked(&front).is_hit() && asked(&front).is_hit());
    let other = fp32(&[2.0]);
    upstream.signal(Signal::STOP);
    std::thread::scope(|scope| {
        let overtaken = scope.spawn(|| front.infer("m", &[], &other));
        let in_progress = || front.metric("forebay_requests_in_progress", "m");
        until("it is on its way", || (in_progress() == 1).then_some(()));
        let loaded = scope.spawn(|| load(&front, "m", &json!({})));
        until("filters hear of it", || looked_up(&front, "m").unwrap_or_default().is_empty().then_some(()));
        let cached = front.infer("m", &[("cache-control", "only-if-cached")], &fp32(&[1.0]));
        assert_eq!(cached.status, 504, "{cached:?}");
        upstream.signal(Signal::CONT);
        assert_eq!(loaded.join().unwrap().status, 200);
        let overtaken = overtaken.join().unwrap();
        assert_eq!(
            (overtaken.status, overtaken.cache_status().contains("stored")),
            (200, false),
            "{overtaken:?}"
        );
    });
    assert!(asked(&front).is_hit(), "it was loaded from the same files");
    assert!(!front.infer("m", &[], &other).is_hit());
}
