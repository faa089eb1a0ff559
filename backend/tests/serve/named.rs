//! The folder of one model as the repository, with the name that the model is called by, as KServe starts a server.

use std::path::Path;

use rig::process::until;
use rig::repository::{generated, put};
use serde_json::json;

use crate::client::{fp32, send};
use crate::poll::POLL;
use crate::process::{Forebay, refused, serve_command, test_repository};

/// A model's folder that calls it otherwise, with that version.
fn install(folder: &Path, version: u32) {
    let config = std::fs::read_to_string(test_repository().join("identity_fp32/config.pbtxt")).unwrap();
    put(folder, "config.pbtxt", config);
    put(folder, format!("{version}/model.onnx"), generated("identity_fp32"));
}

#[test]
fn a_repository_that_is_a_models_folder_is_served_by_the_name_that_is_said() {
    let folder = tempfile::tempdir().unwrap();
    install(folder.path(), 3);
    let forebay = Forebay::serve_from(folder.path(), &["--model-name", "words"]);
    let index = send(forebay.http_port, "POST", "/v2/repository/index", &[], b"").json();
    assert_eq!(index, json!([{ "name": "words", "version": "3", "state": "READY" }]));
    let answer = forebay.infer("words", &[], &fp32(&[1.0])).json();
    assert_eq!((&answer["model_name"], &answer["model_version"]), (&json!("words"), &json!("3")));
    assert_eq!(forebay.get("/v2/models/words/config").json()["name"], "words");
    assert_eq!(forebay.get("/v2/models/identity_fp32").status, 404);
    assert!(forebay.infer("words", &[], &fp32(&[1.0])).is_hit());
}

#[test]
fn a_new_version_in_that_folder_takes_over() {
    let folder = tempfile::tempdir().unwrap();
    install(folder.path(), 1);
    let forebay = Forebay::serve_from(folder.path(), &[&POLL[..], &["--model-name", "words"]].concat());
    install(folder.path(), 2);
    until("version 2 answers", || {
        (forebay.infer("words", &[], &fp32(&[2.0])).json()["model_version"] == "2").then_some(())
    });
}

#[test]
fn a_repository_of_models_goes_by_the_names_of_its_folders_whatever_name_is_said() {
    let root = tempfile::tempdir().unwrap();
    install(&root.path().join("identity_fp32"), 1);
    let forebay = Forebay::serve_from(root.path(), &["--model-name", "words"]);
    assert_eq!(forebay.infer("identity_fp32", &[], &fp32(&[1.0])).json()["model_name"], "identity_fp32");
    assert_eq!(forebay.get("/v2/models/words").status, 404);
}

#[test]
fn a_name_that_no_model_can_have_is_refused_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["7", "a/b", ".hidden"] {
        let (code, said) = refused(&mut serve_command(folder.path(), &["--model-name", name]));
        assert!(said.contains("--model-name") && said.contains("such as vad"), "{name}: {said}");
        assert_ne!(code, Some(0), "{name}");
    }
}
