//! Traces of keys that a gate keeps of what proxies tell with their polls: what `forebay simulate` reads of them, and what harms nobody.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use forebay_simulate::trace::{Trace, What};
use rig::process::{printed, until};
use serde_json::{Value, json};

use crate::control::load;
use crate::mesh::{Mesh, ask, lookup};
use crate::poll::install;
use crate::process::{Forebay, command};
use crate::proxied::report;

/// Half of the keys.
const RATE: u32 = 1 << 31;

/// A report with a request of each key, which is one of the sampled.
fn told(model: &str, keys: &[u64]) -> Value {
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    let row = |key: &u64| {
        json!({
            "at_ms": u64::try_from(now_ms).unwrap(), "service": "default", "model": model, "tenant": 0,
            "key": key, "bytes": 10, "cost_us": 2000, "tier": "upstream",
        })
    };
    json!({ "trace": keys.iter().map(row).collect::<Vec<_>>(), "trace_rate": RATE })
}

/// The traces in a folder.
fn traces(folder: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> =
        files.filter(|path| path.extension().is_some_and(|ending| ending == "trace")).collect();
    files.sort_unstable();
    files
}

/// What `forebay simulate` says of them, and its report.
fn simulated(folder: &Path, more: &[&str]) -> (String, Value) {
    let json = folder.join("report.json");
    let mut simulate = command(&["simulate"]);
    let said = printed(simulate.args(traces(folder)).args(more).arg("--json").arg(&json));
    (said, serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap())
}

#[test]
fn what_proxies_tell_several_gates_is_simulated_and_counts_once() {
    let folder = tempfile::tempdir().unwrap();
    let mesh = Mesh::redis();
    let server = mesh.serve();
    let flags = ["--key-trace-dir", folder.path().to_str().unwrap()];
    let [one, other] = [(); 2].map(|()| Forebay::gate(&mesh.arguments(&flags)));
    // An entry says how long answers are fresh.
    ask(&server, 1.0);
    for gate in [&one, &other] {
        until("the gate finds it", || (lookup(gate, 1.0).status == 200).then_some(()));
    }
    for (gate, seq, keys) in [
        (&one, 1, &[1, 2, 1][..]),
        (&one, 1, &[1, 2, 1]),
        (&other, 1, &[1, 2, 1]),
        (&other, 2, &[1, 3]),
        (&one, 3, &[u64::MAX]),
    ] {
        assert_eq!(report(gate, "a", seq, &told("identity_fp32", keys)).status, 200);
    }
    for gate in [one, other] {
        gate.ended();
    }
    assert_eq!(traces(folder.path()).len(), 2, "each gate has written what it heard");
    let (said, report) = simulated(folder.path(), &[]);
    assert!(said.contains("2 traces") && said.contains("each key stands for 2.0"), "{said}");
    assert_eq!(report["policies"][0]["counts"]["asked"], 2 * 5, "{report}");
    let cached = &report["policies"][3]["counts"];
    assert_eq!(cached["computed"], 2 * 3, "three keys and what they stand for: {cached}");
}

#[test]
fn a_gate_in_a_server_keeps_them_too_and_freshness_may_be_said_later() {
    let folder = tempfile::tempdir().unwrap();
    let forebay = Forebay::serve(&["--instances", "1", "--key-trace-dir", folder.path().to_str().unwrap()]);
    assert_eq!(report(&forebay, "a", 1, &told("m", &[1, 2])).status, 200);
    forebay.ended();
    let mut simulate = command(&["simulate"]);
    let refused = simulate.args(traces(folder.path())).output().unwrap();
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(
        !refused.status.success() && said.contains("default/m are fresh: say it by --max-age-s"),
        "{said}"
    );
    let (_, report) = simulated(folder.path(), &["--max-age-s", "60"]);
    assert_eq!(report["policies"][0]["counts"]["asked"], 2 * 2);
}

#[test]
fn a_rollout_is_traced_and_a_model_that_is_loaded_again_as_it_was_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let root = tempfile::tempdir().unwrap();
    install(root.path(), 1, "identity_fp32");
    let keeps = ["--key-trace-dir", folder.path().to_str().unwrap()];
    let explicit = ["--instances", "1", "--model-control-mode", "explicit", "--load-model", "m"];
    let forebay = Forebay::serve_from(root.path(), &[&explicit[..], &keeps].concat());
    let told = |seq| assert_eq!(report(&forebay, "a", seq, &told("m", &[1])).status, 200);
    told(1);
    assert_eq!(load(&forebay, "m", &json!({})).status, 200);
    told(2);
    install(root.path(), 1, "slow");
    assert_eq!(load(&forebay, "m", &json!({})).status, 200);
    told(3);
    forebay.ended();
    let file = std::fs::read(&traces(folder.path())[0]).unwrap();
    let records = Trace::read(&file).unwrap().records().map(|record| record.unwrap().what);
    assert_eq!(records.filter(|what| *what == What::Rollout).count(), 1);
}

#[test]
fn the_oldest_go_when_there_are_too_many_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let path =
        |number: u32| folder.path().join(format!("000000000000{number}-000000000000000{number}.trace"));
    for number in 1..=3 {
        std::fs::write(path(number), vec![0; 400 << 10]).unwrap();
    }
    let flags = ["--key-trace-dir", folder.path().to_str().unwrap(), "--key-trace-bytes", "1MiB"];
    let forebay = Forebay::serve(&[&["--instances", "1"], &flags[..]].concat());
    assert_eq!(report(&forebay, "a", 1, &told("m", &[1])).status, 200);
    forebay.ended();
    let left = traces(folder.path());
    assert!(!left.contains(&path(1)) && left.contains(&path(2)) && left.len() == 3, "{left:?}");
}

#[test]
fn a_folder_that_can_not_be_written_is_said_and_harms_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    // Nobody may make anything there, root neither.
    for path in [file.join("traces"), PathBuf::from("/proc/traces")] {
        let forebay = Forebay::serve(&["--instances", "1", "--key-trace-dir", path.to_str().unwrap()]);
        until("it is told", || (forebay.metric_line("forebay_key_trace_failing") == 1).then_some(()));
        assert_eq!(report(&forebay, "a", 1, &told("m", &[1])).status, 200);
        ask(&forebay, 1.0);
        let said = forebay.ended();
        let lines = said.lines().filter(|line| line.contains("no trace of keys is kept")).count();
        assert!(lines == 1 && said.contains(path.to_str().unwrap()), "{said}");
    }
}
