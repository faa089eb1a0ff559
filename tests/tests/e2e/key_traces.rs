//! What is asked through Envoy is in the trace that the gate keeps: every request, by the keys that the caches know it by.

use std::path::PathBuf;
use std::{array, fs};

use e2e::stack::Stack;
use rig::installed::forebay;
use rig::process::{printed, program, until};
use rig::v2::{JSON, fp32};
use serde_json::Value;

const MODEL: &str = "identity_fp32";

#[test]
fn what_is_asked_through_envoy_is_simulated_as_it_went() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().to_string_lossy().into_owned();
    let mut stack = Stack::new().serve(&["--key-trace-dir", &path]).start();
    // Five keys, each once and then three times more.
    let values: [f32; 5] = array::from_fn(|number| 1.5 + number as f32);
    for value in values.iter().cycle().take(4 * values.len()) {
        assert_eq!(stack.infer(MODEL, &JSON, &fp32(&[*value])).status, 200);
    }
    // One worker tells what it counted in the order in which it was, so all is there with the last hit.
    until("the gate has heard of all hits", || {
        (stack.backend_metric(0, "forebay_proxy_hits", MODEL) == 3 * values.len() as u64).then_some(())
    });
    assert!(stack.backends[0].process.terminate().success());
    let files = fs::read_dir(folder.path()).expect("the folder").map(|entry| entry.expect("a file").path());
    let files: Vec<PathBuf> = files.collect();
    assert_eq!(files.len(), 1, "{files:?}");
    let report = folder.path().join("report.json");
    let mut simulate = program(forebay());
    let said =
        printed(simulate.arg("simulate").args(&files).args(["--max-age-s", "60", "--json"]).arg(&report));
    assert!(said.contains("1 trace, from 20"), "{said}");
    let report: Value = serde_json::from_slice(&fs::read(report).expect("a report")).expect("JSON");
    assert_eq!(report["traces"]["keys_each"], 1.0, "so few are all sampled: {said}");
    assert_eq!(report["traces"]["without_cost"], 0, "a backend says what each costs: {said}");
    let counts = &report["policies"][3]["counts"];
    assert_eq!((&counts["asked"], &counts["computed"]), (&20.into(), &5.into()), "{report}");
}
