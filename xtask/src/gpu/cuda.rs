//! The CUDA side, through the bindings: copies, order, graphs, lanes, and what a fault does; by the engine that runs here, and by
//! the stand-in, whose kernels are ours.

use serde_json::{Value, json};

use super::kit::{Engine, Kit};
use super::report::{Row, Section};
use super::task::{self, MOMENT};
use super::{Run, fault, judged, measured, not_run, probe};

const CHECKS: &str = "Results are checked, element by element; times are told and not judged.";
const FAULT: &str =
    "A kernel writes where no memory is. Nothing is judged: what each step says is what recovery rests on.";

pub(super) fn sections(run: &Run, engine: &Engine) -> Vec<Section> {
    let standin = probe::standin(run.kit);
    let mut engines = vec![engine.clone()];
    engines.extend(standin.clone().filter(|standin| standin != engine));
    let mut sections = Vec::new();
    for engine in engines {
        let section = |title: &str, about: &str, rows| Section {
            title: title.to_owned(),
            engine: engine.told(),
            about: about.to_owned(),
            rows,
        };
        let checks = task_rows(run.kit, &engine, "checks", |told| {
            judged(text(told, "what"), told["passed"] == true, text(told, "told"))
        });
        sections.push(section("Copies, order, graphs, lanes", CHECKS, checks));
        let fault =
            task_rows(run.kit, &engine, "fault", |told| measured(text(told, "what"), text(told, "found")));
        sections.push(section("A fault of the GPU", FAULT, fault));
    }
    sections.extend(standin.map(|standin| fault::section(run, &standin)));
    sections
}

/// Has the task done on a plan of the sum; a row for each thing that it tells.
fn task_rows(kit: &Kit, engine: &Engine, task: &str, row: impl Fn(&Value) -> Row) -> Vec<Row> {
    let done = kit.scratch(task).map_err(|error| format!("{error:#}")).and_then(|scratch| {
        let plan = scratch.join("sum.plan");
        probe::build_sum(kit, engine, &plan)?;
        task::perform(kit, &json!({ "task": task, "source": engine.source(), "plan": plan }), MOMENT)
    });
    match done {
        Ok(Value::Array(told)) => told.iter().map(row).collect(),
        Ok(other) => vec![not_run(task, format!("forebay-gpu told {other}"))],
        Err(error) => vec![judged(task, false, error)],
    }
}

fn text(of: &Value, name: &str) -> String {
    of[name].as_str().unwrap_or_default().to_owned()
}
