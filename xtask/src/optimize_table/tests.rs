//! The two models that take least, in full: what is claimed of them holds on any processor.

use std::time::Duration;

use super::models::{MODELS, Model};
use super::page::measured;
use super::row::{HEAD, Outcome, Report, Row};
use super::{Program, made, optimized};
use crate::command::target_folder;
use crate::layout::Layout;

const PAGE: &str = include_str!("../../../backend/OPTIMIZE.md");

fn model(name: &str) -> &'static Model {
    MODELS.iter().find(|model| model.name == name).unwrap()
}

/// The row of a model, whose original stayed as it was.
fn report(name: &str, time: Duration) -> (Row, Report) {
    let layout = Layout::find().unwrap();
    let place = tempfile::tempdir().unwrap();
    let path = target_folder(&layout.root).unwrap().join("debug/forebay");
    let program = Program { path, time, place: place.path().to_owned() };
    let model = model(name);
    let made = made(&layout, model, true).unwrap().unwrap();
    let row = optimized(&layout, model, &program, (&made, "test")).unwrap();
    match row.outcome.clone() {
        Outcome::Reported(report) => (row, *report),
        Outcome::Failed(why) => panic!("{name}: {why}"),
    }
}

#[test]
fn a_forest_and_a_perceptron_that_read_digits_become_smaller_and_the_forest_faster() {
    // One after the other: they measure how fast models are. What is asserted is found in half of the time, where the machine does nothing
    // else.
    let (row, forest) = report("rf", Duration::from_secs(40));
    let taken = forest.installed().unwrap_or_else(|| panic!("{row:?}"));
    let at_8 = taken.speeds.iter().find(|speed| speed.batch == 8).unwrap();
    assert!(forest.smaller(&taken.candidate) > 1.9 && at_8.estimate() > 1.5, "{row:?}");
    assert!(taken.loss.points <= 1.0 && taken.loss.items >= 300, "{row:?}");
    let (row, perceptron) = report("mlp", Duration::from_secs(40));
    let taken = perceptron.installed().unwrap_or_else(|| panic!("{row:?}"));
    assert!(perceptron.smaller(&taken.candidate) > 1.5 && taken.loss.points <= 0.5, "{row:?}");
}

const REPORT: &str = r#"{
    "data": {"blake3": "ab", "items": 1200}, "cpu": ["avx2"], "original": {"bytes": 2000000}, "cut": false,
    "tried": [
        {"name": "static INT8 of Conv", "candidate": {"bytes": 500000, "recipe": {"kind": "static"}},
         "loss": {"points": 0.1, "bound": 0.4, "items": 400, "disagreements": 1, "values": null},
         "speed": {"batch": 1, "cpu": {"estimate": 0.6, "low": 0.5}, "wall": {"estimate": 0.7, "low": 0.6}, "was_loaded": false}}
    ],
    "judged": [
        {"name": "FP16 storage", "candidate": {"bytes": 1000000, "recipe": {"kind": "storage"}},
         "loss": {"points": 0.0, "bound": 0.5, "items": 600, "disagreements": 0, "values": null},
         "speeds": [{"batch": 1, "cpu": {"estimate": 1.01, "low": 0.99}, "wall": {"estimate": 1.0, "low": 0.98}, "was_loaded": false}],
         "reasons": []}
    ]
}"#;

#[test]
fn a_row_says_what_was_installed_what_it_loses_and_why_it_is_no_int8() {
    let report: Report = serde_json::from_str(REPORT).unwrap();
    let row = |outcome| Row { model: "cls".to_owned(), took: 61.2, outcome };
    let line = row(Outcome::Reported(Box::new(report.clone()))).line(model("cls"));
    for cell in [
        "FP16 storage (static INT8 of Conv: 0.60x as fast, loses 0.10)",
        "2.00 -> 1.00",
        "2.00x",
        "1.00x (>= 0.98)",
        "0.00 (<= 0.50)",
        "0 of 600",
        "61 s",
    ] {
        assert!(line.contains(&format!("| {cell} |")), "{cell}: {line}");
    }
    let refused = Report { judged: Vec::new(), ..report };
    let line = row(Outcome::Reported(Box::new(refused))).line(model("cls"));
    assert!(line.contains("nothing: no variant"), "{line}");
    let line = row(Outcome::Failed("no such file".to_owned())).line(model("cls"));
    assert!(line.contains("FAILED: no such file"), "{line}");
}

#[test]
fn the_page_has_a_place_for_the_table_and_keeps_the_rest() {
    let page = measured(PAGE, HEAD).unwrap();
    assert!(page.starts_with(PAGE.split_once("## Measured").unwrap().0) && page.ends_with(HEAD));
    assert_eq!(measured(&page, HEAD).unwrap(), page);
}
