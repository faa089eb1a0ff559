use std::path::Path;

use serde_json::Value;

use super::run;
use crate::settings::{Command, from_arguments};

/// What the command writes, with those arguments.
fn ran(folder: &Path, arguments: &[&str]) -> anyhow::Result<(Value, String)> {
    let [json, chart] = ["day.json", "day.svg"].map(|name| folder.join(name).display().to_string());
    let own = ["forebay", "simulate", "--json", &json, "--chart", &chart];
    let command = from_arguments(own.iter().chain(arguments).map(Into::into));
    let Ok(Command::Simulate(settings)) = command else { panic!("{arguments:?} are no settings") };
    run(&settings)?;
    Ok((serde_json::from_slice(&std::fs::read(json)?)?, std::fs::read_to_string(chart)?))
}

const SMALL: [&str; 4] = ["--requests=20000", "--hours=6", "--keys=500", "--rollouts=1"];

#[test]
fn a_day_and_its_trace_come_to_the_same_under_each_policy() {
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("day.trace").display().to_string();
    let (made_up, svg) = ran(folder.path(), &[&SMALL[..], &["--write-trace", &trace]].concat()).unwrap();
    let names = ["always on", "HPA", "zero, no cache", "zero, cache"];
    let policies = made_up["policies"].as_array().unwrap();
    assert_eq!(policies.len(), names.len());
    for (policy, name) in policies.iter().zip(names) {
        assert!(policy["name"].as_str().unwrap().starts_with(name), "{policy}");
        assert!(svg.contains(name), "{svg}");
    }
    assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    // What is kept is not computed.
    let hours = |policy: usize| policies[policy]["gpu_hours"].as_f64().unwrap();
    assert!(hours(3) <= hours(2) && hours(2) <= hours(0), "{policies:#?}");
    let (recorded, _) = ran(folder.path(), &[&trace]).unwrap();
    assert_eq!(recorded["policies"], made_up["policies"]);
    assert!(recorded["day"].is_null() && recorded["trace"] == trace.as_str());
}

#[test]
fn what_is_no_trace_or_no_day_is_said_in_a_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("other");
    std::fs::write(&file, "forebay-trace v1\x01\x01m\x00\x00").unwrap();
    let path = file.display().to_string();
    for (arguments, words) in [
        (&[path.as_str()][..], "TRACE: "),
        (&[&path], "ends inside record 1"),
        (&["/nowhere"], "TRACE: can't read /nowhere"),
        (&["--models=0"], "models is 0; 1 to 4096 may be"),
    ] {
        let said = format!("{:#}", ran(folder.path(), arguments).unwrap_err());
        assert!(said.contains(words) && !said.contains('\n'), "{said}");
    }
}
