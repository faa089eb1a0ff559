//! What can't be done is said in one line, and nothing is left of it.

use crate::models;
use crate::workbench::{FEATURES, Said, Workbench};

/// The only line of a failure, which changed nothing.
fn refused(bench: &Workbench, arguments: &[&str]) -> String {
    let Said { code, out, err } = bench.run(arguments);
    assert!(matches!(code, Some(1 | 2)), "{code:?} {out}{err}");
    let lines: Vec<&str> = err.lines().filter(|line| !line.is_empty()).collect();
    assert_eq!(lines.len(), 1, "{err}");
    assert_eq!(bench.lies(), ["1"]);
    lines[0].to_owned()
}

#[test]
fn fifty_samples_can_not_guarantee_a_tenth_of_a_point() {
    let bench = Workbench::of(&models::tiny_convolutions()).with_data(50, &[2, 4, 4]);
    let data = format!("--data={}", bench.path("data").display());
    let said = refused(&bench, &[&data, "--guarantee", "--max-loss=0.1"]);
    assert!(said.contains("--guarantee") && said.contains("2995"), "{said}");
}

#[test]
fn damaged_models_and_data_are_named() {
    let bench = Workbench::of(b"no model");
    assert!(refused(&bench, &[]).contains("no ONNX model"));
    let bench = Workbench::of(&models::one_channel());
    let put = |name: &str, text: &str| rig::repository::put(bench.root.path(), name, text);
    put("empty/readme.txt", "");
    put("broken/1.json", "{");
    put("wrong/1.json", r#"{"inputs": [{"name": "z", "datatype": "FP32", "shape": [1], "data": [1]}]}"#);
    put("type/1.json", r#"{"inputs": [{"name": "x", "datatype": "INT64", "shape": [1, 64], "data": [1]}]}"#);
    put(
        "shape/1.json",
        r#"{"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}]}"#,
    );
    put("few/1.json", &request(0.5));
    put("data.npz", "no archive");
    for (data, expected) in [
        ("missing", "missing"),
        ("empty", "no request"),
        ("broken", "broken/1.json"),
        ("wrong", "'z'"),
        ("type", "1.json"),
        ("shape", "[1, 2]"),
        ("few", "1 items"),
        ("data.npz", "no .npz file"),
    ] {
        let said = refused(&bench, &[&format!("--data={}", bench.path(data).display())]);
        assert!(said.contains(expected), "{data}: {said}");
    }
    assert!(refused(&bench, &["--max-loss=-1"]).contains("--max-loss"));
    assert!(refused(&bench, &["--undo"]).contains("no variant"));
}

fn request(value: f64) -> String {
    let values = vec![value; FEATURES];
    serde_json::json!({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, FEATURES], "data": values}]})
        .to_string()
}

#[test]
fn a_metric_that_hangs_or_prints_nonsense_is_told_and_nothing_is_installed() {
    let bench = Workbench::of(&models::tiny_convolutions()).with_data(40, &[2, 4, 4]);
    for (metric, expected) in [
        ("sleep 1000", "took longer than"),
        ("echo nonsense", "nonsense"),
        ("echo '[1, 2]'", "2 items"),
        ("exit 7", "7"),
    ] {
        let data = format!("--data={}", bench.path("data").display());
        let said = refused(&bench, &[&data, "--metric", metric, "--metric-timeout-secs=0.5", "--time=5s"]);
        assert!(said.contains(expected), "{metric}: {said}");
    }
}

#[test]
fn without_data_nothing_is_installed_and_the_warning_is_loud() {
    let bench = Workbench::of(&models::tiny_convolutions());
    let Said { code, out, err } = bench.run(&["--time=5s", "--max-loss=5"]);
    assert_eq!(code, Some(3), "{out}{err}");
    assert!(out.contains("WARNING: the inputs are made up"), "{out}");
    assert_eq!(bench.lies(), ["1"]);
}
