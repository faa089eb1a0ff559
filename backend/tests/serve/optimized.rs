//! Optimised models on disk, and what a model takes in memory.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::client::fp32;
use crate::process::{Forebay, refused, serve_command, test_repository};

const MODEL: &str = "add_fp32";

fn serve(folder: &Path) -> Forebay {
    let folder = folder.to_str().unwrap();
    let explicit = ["--model-control-mode", "explicit", "--load-model", MODEL];
    Forebay::serve(
        &[&explicit[..], &["--instances", "2", "--pool", "none", "--optimized-model-dir", folder]].concat(),
    )
}

fn sum(forebay: &Forebay) -> String {
    let mut body = fp32(&[1.5, 2.5]);
    body["inputs"] = ["a", "b"]
        .map(|name| {
            let mut input = body["inputs"][0].clone();
            input["name"] = name.into();
            input
        })
        .to_vec()
        .into();
    let answer = forebay.infer(MODEL, &[], &body);
    assert_eq!(answer.status, 200, "{answer:?}");
    format!("{} {}", answer.header("x-forebay-generation"), answer.json()["outputs"])
}

fn kept(folder: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn an_optimised_model_is_loaded_again_and_gives_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let first = sum(&serve(folder.path()));
    let [file] = &kept(folder.path())[..] else { panic!("{:?}", kept(folder.path())) };
    let written = std::fs::read(file).unwrap();
    // One that is written again is another file in the same place.
    let number = || file.metadata().unwrap().ino();
    let kept_as = number();
    assert_eq!(sum(&serve(folder.path())), first, "the generation too");
    assert_eq!(number(), kept_as, "it was not written again");
    std::fs::write(file, &written[..written.len() / 2]).unwrap();
    assert_eq!(sum(&serve(folder.path())), first, "a damaged one is made again");
    assert_eq!(std::fs::read(file).unwrap(), written);
}

#[test]
fn a_folder_that_cant_be_used_is_a_wrong_setting() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut command = serve_command(&test_repository(), &[]);
    let (code, said) = refused(command.arg("--optimized-model-dir").arg(file.path().join("x")));
    assert_eq!((code, said.contains("--optimized-model-dir")), (Some(2), true), "{said}");
}

#[test]
fn a_models_memory_is_told() {
    let forebay = Forebay::serve(&["--instances", "1"]);
    let statistics = forebay.get("/v2/models/slow/stats").json();
    let usage = &statistics["model_stats"][0]["memory_usage"][0];
    assert_eq!((&usage["type"], &usage["id"]), (&"CPU".into(), &0.into()), "{usage}");
    assert_eq!(usage["byte_size"], forebay.metric("forebay_model_memory_bytes", "slow"));
    // A model that found room in what was free adds nothing; all of them can't.
    let all = forebay.get("/v2/models/stats").json();
    let bytes = |model: &serde_json::Value| model["memory_usage"][0]["byte_size"].as_u64().unwrap();
    assert!(all["model_stats"].as_array().unwrap().iter().map(bytes).sum::<u64>() > 0, "{all}");
}
