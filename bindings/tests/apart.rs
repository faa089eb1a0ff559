//! Plans built in a process of their own: what ends that process is an error here.

mod support;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use forebay_bindings::{BuildOptions, Flavour, HardwareCompatibilityLevel, Job, Profile, Range};
use support::{message, onnx};

const LIMIT: Duration = Duration::from_mins(2);

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_forebay-plan"))
}

fn never() -> bool {
    false
}

fn job(folder: &Path, model: &[u8]) -> Job {
    let path = folder.join("model.onnx");
    std::fs::write(&path, model).unwrap();
    let dims = |rows| vec![rows, 4];
    let range = Range { input: "x".into(), values: false, min: dims(1), opt: dims(1), max: dims(8) };
    let options = BuildOptions {
        profiles: vec![Profile { inputs: vec![range] }],
        hardware_compatibility: Some(HardwareCompatibilityLevel::SameComputeCapability),
        ..BuildOptions::default()
    };
    Job {
        library: support::rtx().path().to_owned(),
        flavour: Flavour::Rtx,
        device: None,
        model: path,
        plan: folder.join("model.plan"),
        timing_cache: None,
        options,
    }
}

#[test]
fn a_plan_is_built() {
    let folder = tempfile::tempdir().unwrap();
    let job = job(folder.path(), &onnx::dense());
    job.run(&mut program(), LIMIT, never).unwrap();
    let plan = std::fs::read(&job.plan).unwrap();
    let runtime = support::rtx().runtime(None, forebay_bindings::HostCode::Refuse).unwrap();
    // A plan to its last byte: a cut one is told apart before a driver is missed.
    let cut = message(runtime.deserialize(&plan[..plan.len() - 1]));
    assert!(cut.contains("plan.header.size == blobSize failed"), "{cut}");
}

#[test]
fn its_errors_are_those_of_a_build_here() {
    let folder = tempfile::tempdir().unwrap();
    let refused = message(job(folder.path(), b"junk").run(&mut program(), LIMIT, never));
    assert!(refused.starts_with("TensorRT can't parse the model: "), "{refused}");
    let mut missing = job(folder.path(), &onnx::dense());
    missing.library = "/nowhere/libtensorrt_rtx.so.1".into();
    let refused = message(missing.run(&mut program(), LIMIT, never));
    assert!(refused.starts_with("TensorRT-RTX can't be loaded from /nowhere/"), "{refused}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "only the model is left");
}

#[test]
fn a_model_that_ends_nvidias_parser_ends_no_process_but_that() {
    let folder = tempfile::tempdir().unwrap();
    // The parser takes the blocks' size as a divisor.
    let mut graph = onnx::relu(&[1, 4, 2, 2]);
    graph.node = vec![onnx::node("SpaceToDepth", &["x"], &["y"])];
    graph.node[0].attribute =
        vec![onnx::Attribute { name: "blocksize".into(), r#type: onnx::INT, ..onnx::Attribute::default() }];
    let refused = message(job(folder.path(), &onnx::model(graph)).run(&mut program(), LIMIT, never));
    assert_eq!(refused, "the process that builds the plan was ended by signal 8");
}

#[test]
fn what_takes_too_long_is_stopped_and_what_says_nothing_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let job = job(folder.path(), &onnx::dense());
    let mut forever = Command::new("sleep");
    let refused = message(job.run(forever.arg("600"), Duration::from_millis(50), never));
    assert_eq!(refused, "the process that builds the plan took longer than 50ms and was stopped");
    let refused = message(job.run(&mut Command::new("false"), LIMIT, never));
    assert!(refused.contains("ended without a word (exit status: 1)"), "{refused}");
    let refused = message(job.run(&mut Command::new("/nowhere/program"), LIMIT, never));
    assert!(refused.starts_with("the process that builds the plan can't be started: "), "{refused}");
}

#[test]
fn what_is_wanted_no_more_is_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let job = job(folder.path(), &onnx::dense());
    let refused = message(job.run(Command::new("sleep").arg("600"), LIMIT, || true));
    assert_eq!(refused, "the process that builds the plan was stopped: its plan is wanted no more");
}

#[test]
fn it_ends_with_whoever_asked_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut job = job(folder.path(), &onnx::dense());
    // A model that never comes: reading it waits for a writer.
    job.model = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&job.model).status().unwrap().success());
    let mut child = program().stdin(std::process::Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    serde_json::to_writer(&mut stdin, &job).unwrap();
    drop(stdin);
    assert!(!child.wait().unwrap().success());
}
