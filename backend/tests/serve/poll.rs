//! The repository is followed: a new version answers soon, and what is broken doesn't.

use std::path::Path;
use std::time::{Duration, Instant};

use rig::process::until;
use rig::repository::{generated, put};

use crate::client::{fp32, send};
use crate::process::{Forebay, test_repository};
use crate::proxied::looked_up;

pub(crate) const POLL: [&str; 6] =
    ["--instances", "1", "--model-control-mode", "poll", "--repository-poll-secs", "0.1"];

pub(crate) fn install(root: &Path, version: u32, model: &str) {
    let config = std::fs::read_to_string(test_repository().join(model).join("config.pbtxt")).unwrap();
    put(root, "m/config.pbtxt", config.replace(&format!("\"{model}\""), "\"m\""));
    put(root, format!("m/{version}/model.onnx"), generated(model));
}

pub(crate) fn generation(forebay: &Forebay) -> String {
    forebay.infer("m", &[], &fp32(&[1.0])).header("x-forebay-generation").to_owned()
}

#[test]
fn a_replaced_model_answers_within_two_seconds_and_its_old_answers_are_gone() {
    let root = tempfile::tempdir().unwrap();
    install(root.path(), 1, "identity_fp32");
    let forebay = Forebay::serve_from(root.path(), &POLL);
    let before = generation(&forebay);
    assert!(forebay.infer("m", &[], &fp32(&[1.0])).is_hit());
    install(root.path(), 1, "slow");
    let began = Instant::now();
    let after = until("another generation answers", || Some(generation(&forebay)).filter(|g| *g != before));
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert_eq!(looked_up(&forebay, "m"), Some(after));
}

#[test]
fn a_higher_version_takes_over_and_a_gone_model_is_unknown() {
    let root = tempfile::tempdir().unwrap();
    install(root.path(), 1, "identity_fp32");
    let forebay = Forebay::serve_from(root.path(), &POLL);
    install(root.path(), 2, "identity_fp32");
    until("version 2 answers", || {
        (forebay.infer("m", &[], &fp32(&[2.0])).json()["model_version"] == "2").then_some(())
    });
    std::fs::remove_dir_all(root.path().join("m")).unwrap();
    until("it is unknown", || (forebay.get("/v2/models/m").status == 404).then_some(()));
}

#[test]
fn a_broken_replacement_leaves_the_old_model_serving() {
    let root = tempfile::tempdir().unwrap();
    install(root.path(), 1, "identity_fp32");
    let forebay = Forebay::serve_from(root.path(), &POLL);
    let before = generation(&forebay);
    std::fs::write(root.path().join("m/1/model.onnx"), "half a model").unwrap();
    let failed = || {
        let index = send(forebay.http_port, "POST", "/v2/repository/index", &[], b"").json();
        index.as_array().unwrap().iter().any(|model| model["state"] == "UNAVAILABLE")
    };
    until("it is noticed", || failed().then_some(()));
    assert_eq!((generation(&forebay), forebay.get("/v2/health/ready").status), (before.clone(), 200));
    install(root.path(), 1, "identity_fp32");
    until("it is well again", || (!failed()).then_some(()));
    assert_eq!(generation(&forebay), before, "the same files are the same generation");
}

#[test]
fn no_request_fails_while_models_are_swapped() {
    let root = tempfile::tempdir().unwrap();
    install(root.path(), 1, "identity_fp32");
    let forebay = Forebay::serve_from(root.path(), &POLL);
    for version in 2..5 {
        install(root.path(), version, "identity_fp32");
        let wanted = version.to_string();
        until("the version answers", || {
            let answer = send(
                forebay.http_port,
                "POST",
                "/v2/models/m/infer",
                &[("cache-control", "no-store")],
                fp32(&[1.0]).to_string().as_bytes(),
            );
            assert_eq!(answer.status, 200, "{answer:?}");
            (answer.json()["model_version"] == wanted.as_str()).then_some(())
        });
    }
}

#[test]
fn explicit_mode_loads_what_is_named_and_nothing_else() {
    let forebay =
        Forebay::serve(&["--instances", "1", "--model-control-mode", "explicit", "--load-model", "add_fp32"]);
    assert_eq!(forebay.get("/v2/models/add_fp32/ready").status, 200);
    assert_eq!(forebay.get("/v2/models/slow/ready").status, 404);
}

#[test]
fn several_versions_answer_each_to_its_number_and_the_highest_to_none() {
    let root = tempfile::tempdir().unwrap();
    install(root.path(), 1, "identity_fp32");
    install(root.path(), 2, "identity_fp32");
    let config = root.path().join("m/config.pbtxt");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text + "\nversion_policy { all { } }\n").unwrap();
    let forebay = Forebay::serve_from(root.path(), &["--instances", "1"]);
    let version = |model: &str| forebay.infer(model, &[], &fp32(&[1.0])).json()["model_version"].clone();
    assert_eq!(version("m"), "2");
    assert_eq!(version("m/versions/1"), "1");
    assert_eq!(version("m/versions/2"), "2");
    assert_eq!(forebay.get("/v2/models/m").json()["versions"], serde_json::json!(["1", "2"]));
}
