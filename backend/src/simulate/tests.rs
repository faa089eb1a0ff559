use std::path::Path;

use forebay_simulate::trace::{ALL, Model, Record, Recorded, What, Writer};
use serde_json::{Value, json};

use super::run;
use super::source::Source;
use crate::settings::{Command, SimulateSettings, from_arguments};

fn settings(arguments: &[&str]) -> SimulateSettings {
    let command = from_arguments(["forebay", "simulate"].iter().chain(arguments).map(Into::into));
    let Ok(Command::Simulate(settings)) = command else { panic!("{arguments:?} are no settings") };
    *settings
}

/// What the command writes, with those arguments.
fn ran(folder: &Path, arguments: &[&str]) -> anyhow::Result<(Value, String)> {
    let [json, chart] = ["day.json", "day.svg"].map(|name| folder.join(name).display().to_string());
    run(&settings(&[&["--json", &json, "--chart", &chart], arguments].concat()))?;
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
    assert!(recorded["day"].is_null() && recorded["traces"]["files"] == json!([trace]));
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

/// A gate's trace of a minute: a request a second of as many keys, whose compute time is known of all but the first.
fn minute(folder: &Path, name: &str, begin_ms: u64, rate: u32, max_age_s: Option<u32>) -> String {
    let (recorded, mut file) = (Recorded { begin_ms, length_ms: 60_000, rate }, Vec::new());
    let models = [Model { name: "s/m".to_owned(), max_age_s }];
    let mut writer = Writer::new(Some(&recorded), &models, &mut file);
    for second in 0..60_u32 {
        let what = What::Asked { key: begin_ms + u64::from(second), cost_us: 1000 * second, bytes: 10 };
        writer.put(&Record { at_us: u64::from(second) * 1_000_000, model: 0, what }, &mut file);
    }
    let path = folder.join(name);
    std::fs::write(&path, file).unwrap();
    path.display().to_string()
}

#[test]
fn traces_of_gates_and_hours_are_one_and_what_they_lack_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let begin_ms = 1_700_000_000_000;
    let first = minute(folder.path(), "first", begin_ms, ALL, Some(60));
    let beside = minute(folder.path(), "beside", begin_ms + 30_000, 1 << 30, None);
    let later = minute(folder.path(), "later", begin_ms + 150_000, 1 << 31, None);
    let (report, _) = ran(folder.path(), &[&later, &beside, &first]).unwrap();
    let told = &report["traces"];
    assert_eq!(told["files"], json!([later, beside, first]));
    let figures = ["gaps", "gap_seconds", "overlaps", "overlap_seconds", "keys_each", "without_cost"];
    assert_eq!(json!(figures.map(|name| &told[name])), json!([1, 60.0, 1, 30.0, 4.0, 3]));
    assert_eq!(report["policies"][0]["counts"]["asked"], 3 * 60 * 4);
    let Source::Traces(traces) = Source::of(&settings(&[&later, &beside, &first])).unwrap() else {
        panic!("they are traces");
    };
    let lines = traces.told.lines();
    for words in [
        "3 traces, from 2023-11-14T22:13:20Z on",
        "gaps between them: 1, 60.0 s in all",
        "overlaps: 1, 30.0 s in all",
        "sampled: each key stands for 4.0; how many requests there were is known to 6.5 %",
        "requests without compute time: 3;",
    ] {
        assert!(lines.contains(words), "{words}: {lines}");
    }
}

#[test]
fn traces_that_can_not_be_simulated_say_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let one = minute(folder.path(), "one", 0, ALL, None);
    let other = minute(folder.path(), "other", 0, ALL, None);
    let undated = folder.path().join("undated").display().to_string();
    let _ = ran(folder.path(), &[&SMALL[..], &["--write-trace", &undated]].concat()).unwrap();
    for (arguments, words) in [
        (&[one.as_str()][..], "TRACE: nothing says how long answers of s/m are fresh: say it by --max-age-s"),
        (&[&one, &other], "are the same: what was asked would count twice"),
        (&[&one, &undated], "TRACE: trace 2 is of version 1"),
    ] {
        let said = format!("{:#}", ran(folder.path(), arguments).unwrap_err());
        assert!(said.contains(words) && !said.contains('\n'), "{said}");
    }
    assert!(ran(folder.path(), &[&one, "--max-age-s", "60"]).is_ok());
}
