//! What is slower or loses too much is not installed, and a run that is stopped goes on later.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::models::{self, CHANNELS, dim};
use crate::workbench::{FEATURES, Said, Workbench, judged, log};

#[test]
fn integers_that_are_slower_are_not_installed() {
    let bench = Workbench::of(&models::tiny_convolutions()).with_data(300, &[2, 4, 4]);
    let Said { out, err, .. } = bench.optimize(&["--max-loss=2", "--time=9s"]);
    let report = bench.report();
    let integers = report["tried"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|tried| tried["candidate"]["recipe"]["kind"] == "static");
    let speeds: Vec<f64> =
        integers.map(|tried| tried["speed"]["cpu"]["estimate"].as_f64().unwrap()).collect();
    assert!(!speeds.is_empty() && speeds.iter().all(|speed| *speed < 0.97), "{speeds:?}: {out}{err}");
    let taken = judged(&report).iter().filter(|one| one["refusals"].as_array().unwrap().is_empty());
    assert!(taken.into_iter().all(|one| one["candidate"]["recipe"]["kind"] != "static"), "{out}");
}

#[test]
fn a_loss_in_one_channel_is_seen_whatever_the_whole_output_says() {
    let bench = Workbench::of(&models::one_channel()).with_data(300, &[dim(FEATURES)]);
    let Said { out, err, .. } = bench.optimize(&["--metric=cosine", "--max-loss=1", "--time=10s"]);
    let report = bench.report();
    let tried = report["tried"].as_array().unwrap();
    // With one scale for all of a weight more channels are lost.
    let is_one = |recipe: &Value| {
        recipe["kind"] == "dynamic"
            && recipe["keep"] == serde_json::json!([])
            && recipe["per_channel"] == true
    };
    let integers: Vec<&Value> = tried.iter().filter(|tried| is_one(&tried["candidate"]["recipe"])).collect();
    assert!(!integers.is_empty(), "{out}{err}");
    for tried in integers {
        let worst = tried["loss"]["worst"].as_str().unwrap();
        assert_eq!(worst, format!("y, channel {}", CHANNELS - 1), "{tried}");
        assert!(tried["loss"]["points"].as_f64().unwrap() > 50.0, "{tried}");
    }
    for taken in judged(&report).iter().filter(|one| one["refusals"].as_array().unwrap().is_empty()) {
        assert!(taken["loss"]["points"].as_f64().unwrap() <= 1.0, "{taken}");
    }
}

#[test]
fn a_run_that_is_stopped_goes_on_where_it_was() {
    let bench = Workbench::of(&models::tiny_convolutions()).with_data(300, &[2, 4, 4]);
    let data = format!("--data={}", bench.path("data").display());
    let arguments = [data.as_str(), "--max-loss=2", "--time=12s"];
    let mut stopped = bench.command(&arguments).stderr(Stdio::piped()).spawn().unwrap();
    let said = BufReader::new(stopped.stderr.take().unwrap());
    let mut said = said.lines().map(Result::unwrap);
    assert!(said.any(|line| line.contains("x smaller")));
    let signalled = Command::new("kill").args(["-INT", &stopped.id().to_string()]).status().unwrap();
    assert!(signalled.success());
    let rest: Vec<String> = said.collect();
    assert_eq!(stopped.wait().unwrap().code(), Some(130), "{rest:?}");
    assert!(rest.last().is_some_and(|line| line.contains("the same command goes on")), "{rest:?}");
    assert_eq!(bench.lies(), ["1"]);
    let before = log(&bench);
    bench.run(&arguments);
    let after = log(&bench);
    assert!(after.starts_with(&before) && after.len() > before.len(), "{before}\n{after}");
}
