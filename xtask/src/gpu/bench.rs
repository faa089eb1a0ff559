//! `forebay serve` against a bare loop over the same plan on the same GPU, in turn: what the server adds, with and without
//! batches, graphs, lanes and instances, and how busy the GPU is.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::json;

use super::busy::Busy;
use super::kit::{Engine, STANDIN};
use super::load::{Load, Sample};
use super::probe::MODEL;
use super::report::{Row, Section};
use super::server::Served;
use super::task::{self, MOMENT};
use super::tensors::Tensor;
use super::{Run, judged, measured, models, not_run, server, tensors};
use rig::group::Group;
use rig::http::post;
use rig::v2::binary;

const ABOUT: &str = "Medians of alternating measurements: value is `forebay serve` by V2 binary over HTTP/1.1, base a loop of copies \
and runs over the same plan with as many contexts, lanes and graphs; both with inputs of the same shapes. Ratio is of rows a second, \
or, with one connection, what the median request takes longer.";

/// Added at one connection, in microseconds; share of the loop's rows a second with batches.
const ADDED_US: f64 = 50.0;
const SHARE: f64 = 0.97;

/// A server that polls: one thread that goes on looking for longer than a client takes for the next request.
const POLLING: &[&str] = &["--busy-poll-us=200", "--worker-threads=1"];

/// What is measured.
#[derive(Debug, Clone, Copy)]
struct Case {
    model: &'static str,
    /// Rows of a batch; each request has one.
    rows: u32,
    connections: u32,
    instances: u32,
    lanes: u32,
    graphs: bool,
    /// Does the server look for requests without sleep?
    polls: bool,
}

/// A model's plan, and a request of one row for it.
struct Ready {
    plan: PathBuf,
    inputs: Vec<Tensor>,
}

/// What a side did: rows a second, and the times of a request or run.
#[derive(Clone, Copy)]
pub(super) struct Side {
    pub(super) rows_per_second: f64,
    p50_us: f64,
    p99_us: f64,
}

impl fmt::Display for Side {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rows_per_second, p50_us, p99_us } = self;
        write!(formatter, "{rows_per_second:.0} rows/s, p50 {p50_us:.0} us, p99 {p99_us:.0}")
    }
}

/// A loop of copies and runs over a plan, with nothing around it.
pub(super) struct Loop {
    pub(super) rows: u32,
    pub(super) contexts: u32,
    pub(super) lanes: u32,
    pub(super) graph: bool,
}

impl Loop {
    /// One measurement.
    ///
    /// # Errors
    /// The plan can't be run so.
    pub(super) fn run(&self, run: &Run, engine: &Engine, plan: &Path) -> Result<Side> {
        let repeat = json!({
            "rows": self.rows,
            "seconds": run.settings.measure.as_secs_f64(),
            "contexts": self.contexts,
            "lanes": self.lanes,
            "graph": self.graph,
        });
        let task = json!({ "task": "repeat", "source": engine.source(), "plan": plan, "repeat": repeat });
        let limit = MOMENT + *run.settings.measure;
        let told =
            task::perform(run.kit, &task, limit).map_err(anyhow::Error::msg).context("the bare loop")?;
        let number =
            |name: &str| told[name].as_f64().with_context(|| format!("the bare loop tells no {name}"));
        let rows_per_second = number("runs_per_second")? * f64::from(self.rows);
        Ok(Side { rows_per_second, p50_us: number("p50_us")?, p99_us: number("p99_us")? })
    }
}

pub(super) fn sections(run: &Run, engine: &Engine) -> Result<Vec<Section>> {
    let scratch = run.kit.scratch("bench")?;
    let (mut plans, mut rows) = (Vec::new(), Vec::new());
    let models = if engine.name == STANDIN || run.kit.is_double() { &SIMPLE } else { &REAL };
    for case in cases(models) {
        let known = plans.iter().position(|(model, _)| *model == case.model);
        let at = known.unwrap_or_else(|| {
            plans.push((case.model, ready(run, engine, case.model, &scratch)));
            plans.len() - 1
        });
        rows.push(match &plans[at].1 {
            Err(reason) => not_run(case.told(), reason),
            Ok(_) if run.is_over() => not_run(case.told(), "the time was over"),
            Ok(ready) => match case.measure(run, engine, ready, &scratch) {
                Ok(row) => row,
                Err(error) => judged(case.told(), false, format!("{error:#}")),
            },
        });
    }
    let title = "The server against a bare loop".to_owned();
    Ok(vec![Section { title, engine: engine.told(), about: ABOUT.to_owned(), rows }])
}

/// Models for single requests, for batches, and for batches of large inputs.
struct Models {
    single: &'static [&'static str],
    batched: &'static str,
    large: Option<&'static str>,
}

const REAL: Models =
    Models { single: &["vad", "magika", "ocrdet"], batched: "magika", large: Some("ocrdet") };

/// For what stands for TensorRT, which has no operations of real models.
const SIMPLE: Models = Models { single: &[MODEL], batched: MODEL, large: None };

fn cases(models: &Models) -> Vec<Case> {
    let mut cases = Vec::new();
    let one =
        |model| Case { model, rows: 1, connections: 1, instances: 1, lanes: 1, graphs: false, polls: false };
    for model in models.single {
        for (graphs, polls) in [(false, false), (true, false), (true, true)] {
            cases.push(Case { graphs, polls, ..one(model) });
        }
    }
    let batched = |model, rows: u32, instances: u32| Case {
        rows,
        connections: 2 * rows * instances,
        instances,
        ..one(model)
    };
    for rows in [8, 32] {
        for (lanes, graphs) in [(1, false), (1, true), (2, false), (2, true)] {
            cases.push(Case { lanes, graphs, ..batched(models.batched, rows, 1) });
        }
    }
    for instances in [2, 4, 8] {
        cases.push(Case { lanes: 2, graphs: true, ..batched(models.batched, 8, instances) });
    }
    for (lanes, instances) in [(1, 1), (2, 1), (2, 2)] {
        cases.extend(models.large.map(|model| Case { lanes, ..batched(model, 4, instances) }));
    }
    cases
}

/// Builds the model's plan.
fn ready(run: &Run, engine: &Engine, model: &str, scratch: &Path) -> Result<Ready, String> {
    let cases = models::cases(run.kit);
    let case = cases.into_iter().find(|case| case.name == model).ok_or("it is not in the kit")?;
    let plan = scratch.join(format!("{model}.plan"));
    task::build(run.kit, engine, &case.model, &plan, &case.ranges)
        .map_err(|error| format!("no plan is built: {error}"))?;
    let inputs = case.requests[0].iter().map(|tensor| {
        let range = case.ranges.iter().find(|range| range.input == tensor.name);
        let mut shape = range.map_or_else(|| tensor.shape.clone(), |range| range.opt.clone());
        if range.is_some() {
            shape[0] = 1;
        }
        models::tensor(&tensor.name, tensor.datatype, &shape)
    });
    Ok(Ready { plan, inputs: inputs.collect() })
}

impl Case {
    fn told(&self) -> String {
        let Self { model, rows, connections, instances, lanes, graphs, polls } = self;
        let graphs = if *graphs { "graphs" } else { "no graphs" };
        let polls = if *polls { ", polling" } else { "" };
        format!(
            "{model}, batches of {rows}, connections {connections}, instances {instances}, lanes {lanes}, {graphs}{polls}"
        )
    }

    fn config(&self) -> String {
        let Self { rows, instances, lanes, graphs, .. } = self;
        let batches = match rows {
            1 => String::new(),
            _ => format!("max_batch_size: {rows}\ndynamic_batching {{ preferred_batch_size: [ {rows} ] }}\n"),
        };
        format!(
            "backend: \"tensorrt\"\n{batches}instance_group {{ count: {instances} kind: KIND_GPU }}\n\
             optimization {{ cuda {{ graphs: {graphs} }} }}\n\
             parameters {{ key: \"lanes\" value {{ string_value: \"{lanes}\" }} }}\n"
        )
    }

    fn measure(&self, run: &Run, engine: &Engine, ready: &Ready, scratch: &Path) -> Result<Row> {
        let repository = scratch.join("repository");
        let folder = repository.join(self.model);
        fs::create_dir_all(folder.join("1"))?;
        fs::copy(&ready.plan, folder.join("1/model.plan"))?;
        fs::write(folder.join("config.pbtxt"), self.config())?;
        let mut group = Group::new(&run.kit.scratch("logs")?)?;
        let flags = if self.polls { POLLING } else { &[] };
        let served = Served { repository, models: &[self.model], flags, ..Served::default() };
        let port = server::start(run.kit, engine, &served, &mut group)?;
        let (json_length, body) = tensors::request(&ready.inputs);
        let json_length = json_length.to_string();
        let request = post(&format!("/v2/models/{}/infer", self.model), &binary(&json_length), &body);
        let time = *run.settings.measure;
        let load = Load { port, request: &request, connections: self.connections, time };
        let alone = Loop { rows: self.rows, contexts: self.instances, lanes: self.lanes, graph: self.graphs };
        let (mut ours, mut base, mut busy) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..run.settings.repeat.max(1) {
            let sampling = Busy::begin();
            ours.push(load.run()?);
            busy.extend(sampling.and_then(Busy::end));
            base.push(alone.run(run, engine, &ready.plan)?);
        }
        group.stop()?;
        let ours = ours.into_iter().map(|Sample { per_second, p50_us, p99_us }| Side {
            rows_per_second: per_second,
            p50_us,
            p99_us,
        });
        Ok(self.row(median(ours.collect()), median(base), &busy))
    }

    fn row(&self, ours: Side, base: Side, busy: &[f64]) -> Row {
        let ratio = if self.connections == 1 {
            let added = ours.p50_us - base.p50_us;
            format!("{added:+.0} us ({ADDED_US} wanted: {})", met(added <= ADDED_US))
        } else {
            let share = ours.rows_per_second / base.rows_per_second;
            format!("{share:.2} ({SHARE} wanted: {})", met(share >= SHARE))
        };
        let busy = match busy {
            [] => "busy: not sampled, no nvidia-smi".to_owned(),
            some => format!("GPU busy {:.0} %", some.iter().sum::<f64>() / some.len() as f64),
        };
        let value = format!("{ours}, {busy}");
        Row { base: base.to_string(), ratio, ..measured(self.told(), value) }
    }
}

fn met(met: bool) -> &'static str {
    if met { "met" } else { "missed" }
}

/// The one in the middle by rows a second.
pub(super) fn median(mut sides: Vec<Side>) -> Side {
    sides.sort_by(|one, other| one.rows_per_second.total_cmp(&other.rows_per_second));
    sides[sides.len() / 2]
}
