//! Models as INT8, FP16 and BF16 against the original, all as plans of the same engine: folders that `prepare` made enter; what each form
//! loses of what the original gives by ONNX Runtime, and how fast it is beside the original's plan, leaves.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;

use super::bench::{Loop, median};
use super::correctness::infer;
use super::kit::Engine;
use super::report::{Row, Section};
use super::server::Served;
use super::task::{self, Range};
use super::tensors::Tensor;
use super::{Run, arrays, judged, loss, measured, not_run, server};
use crate::http::Client;
use rig::group::Group;

const ABOUT: &str = "Plans are strongly typed: each form's types are its file's. A loss is the mean difference of an output from what \
the original gives by ONNX Runtime, in points of a hundred of the range of that; the worst output counts. By the metric top1 it is the \
share of items whose largest value is another. Speeds are of a loop of copies and runs with a graph: value is the form's, base the \
original's, medians of measurements in turn, in one run; ratio is of rows a second.";

/// The form that the others are compared with.
const ORIGINAL: &str = "original";

/// Rows of batches that are timed; of a model that takes none, the first.
const BATCHES: [u32; 2] = [1, 8];

/// `prepared.json` of a folder.
#[derive(Deserialize)]
struct Prepared {
    metric: String,
    max_loss: f64,
    made_up: bool,
    ranges: Vec<Range>,
    items: usize,
    forms: Vec<Form>,
    refused: Vec<Refused>,
}

#[derive(Deserialize)]
struct Form {
    name: String,
    file: String,
}

#[derive(Deserialize)]
struct Refused {
    name: String,
    why: String,
}

/// An item's inputs, and what the original gives.
struct Item {
    inputs: Vec<Tensor>,
    outputs: Vec<Tensor>,
}

/// A prepared model.
struct Model {
    name: String,
    folder: PathBuf,
    list: Prepared,
    items: Vec<Item>,
}

pub(super) fn sections(run: &Run, engine: &Engine) -> Vec<Section> {
    let folder = run.kit.path("lighter");
    let mut folders: Vec<PathBuf> =
        fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    folders.retain(|folder| folder.join("prepared.json").is_file());
    folders.sort_unstable();
    let mut rows = Vec::new();
    for folder in &folders {
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let model = Model::read(&name, folder).and_then(|model| model.rows(run, engine));
        rows.extend(model.unwrap_or_else(|error| vec![judged(name, false, format!("{error:#}"))]));
    }
    if rows.is_empty() {
        rows.push(not_run("lighter models", "none is in the kit: `cargo xtask gpu prepare` makes them"));
    }
    let title = "Lighter models against their originals".to_owned();
    vec![Section { title, engine: engine.told(), about: ABOUT.to_owned(), rows }]
}

impl Model {
    fn read(name: &str, folder: &Path) -> Result<Self> {
        let list: Prepared = serde_json::from_slice(&fs::read(folder.join("prepared.json"))?)
            .context("prepared.json can't be read")?;
        let items = (0..list.items).map(|item| {
            let read = |part: &str| arrays::read(&folder.join(part).join(format!("{item:06}.npz")));
            Ok(Item { inputs: read("inputs")?, outputs: read("outputs")? })
        });
        let items = items.collect::<Result<Vec<_>>>()?;
        Ok(Self { name: name.to_owned(), folder: folder.to_owned(), list, items })
    }

    fn rows(&self, run: &Run, engine: &Engine) -> Result<Vec<Row>> {
        let scratch = run.kit.scratch(&format!("lighter-{}", self.name))?;
        let (plans, mut rows) = self.plans(run, engine, &scratch)?;
        rows.extend(self.losses(run, engine, &scratch, &plans)?);
        for refused in &self.list.refused {
            rows.push(not_run(self.told(&refused.name), format!("it was not made: {}", refused.why)));
        }
        let Some(original) = plans.get(ORIGINAL) else { return Ok(rows) };
        for (form, plan) in plans.iter().filter(|(form, _)| *form != ORIGINAL) {
            for batch in self.batches() {
                let what = format!("{}, batches of {batch}", self.told(form));
                if run.is_over() {
                    rows.push(not_run(what, "the time was over"));
                    continue;
                }
                rows.push(match Self::speed(run, engine, (original, plan), *batch) {
                    Ok(row) => Row { what, ..row },
                    Err(error) => judged(what, false, format!("{error:#}")),
                });
            }
        }
        Ok(rows)
    }

    fn told(&self, form: &str) -> String {
        format!("{} {form}", self.name)
    }

    /// As a repository, in which each form is a model of its own; those of which no plan is built leave as rows.
    fn plans(
        &self,
        run: &Run,
        engine: &Engine,
        scratch: &Path,
    ) -> Result<(BTreeMap<String, PathBuf>, Vec<Row>)> {
        let (mut plans, mut rows) = (BTreeMap::new(), Vec::new());
        let forms = self.list.forms.iter().map(|form| (form.name.as_str(), form.file.as_str()));
        for (name, file) in [(ORIGINAL, "original.onnx")].into_iter().chain(forms) {
            if run.is_over() {
                rows.push(not_run(self.told(name), "the time was over"));
                continue;
            }
            let plan = scratch.join(name).join("1/model.plan");
            fs::create_dir_all(plan.parent().context("a plan without a folder")?)?;
            match task::build(run.kit, engine, &self.folder.join(file), &plan, &self.list.ranges) {
                Ok(()) => drop(plans.insert(name.to_owned(), plan)),
                Err(why) => rows.push(not_run(self.told(name), format!("no plan is built: {why}"))),
            }
        }
        Ok((plans, rows))
    }

    /// What each plan loses, by its answers through the server.
    fn losses(
        &self,
        run: &Run,
        engine: &Engine,
        scratch: &Path,
        plans: &BTreeMap<String, PathBuf>,
    ) -> Result<Vec<Row>> {
        let forms: Vec<&str> = plans.keys().map(String::as_str).collect();
        if forms.is_empty() {
            return Ok(Vec::new());
        }
        let mut group = Group::new(&run.kit.scratch("logs")?)?;
        let flags = &["--backend-config=default-max-batch-size=0"];
        let served = Served { repository: scratch.to_owned(), models: &forms, flags, ..Served::default() };
        let port = server::start(run.kit, engine, &served, &mut group)?;
        let rows = forms.iter().map(|form| match self.loss(port, form) {
            Ok(row) => row,
            Err(error) => judged(self.told(form), false, format!("{error:#}")),
        });
        let rows = rows.collect();
        group.stop()?;
        Ok(rows)
    }

    fn loss(&self, port: u16, form: &str) -> Result<Row> {
        let client = Client::default();
        let mut loss = loss::Loss::default();
        for (number, item) in self.items.iter().enumerate() {
            let got = infer(&client, port, form, &item.inputs)?;
            loss.add(&item.outputs, &got)
                .map_err(anyhow::Error::msg)
                .with_context(|| format!("item {number}"))?;
        }
        let points = if self.list.metric == "top1" { loss.flips() } else { loss.points() };
        let of = if self.list.made_up { ", of made up inputs" } else { "" };
        let value = format!(
            "{points:.3} points by {} ({} may be), {:.3} of the range{of}, items: {}",
            self.list.metric,
            self.list.max_loss,
            loss.points(),
            self.items.len()
        );
        Ok(judged(format!("{}, what it loses", self.told(form)), points <= self.list.max_loss, value))
    }

    /// The first dimension of each range is rows, where there are any.
    fn batches(&self) -> &'static [u32] {
        let takes = self.list.ranges.first().is_some_and(|range| range.max.first() > range.min.first());
        if takes { &BATCHES } else { &BATCHES[..1] }
    }

    fn speed(run: &Run, engine: &Engine, (original, plan): (&Path, &Path), rows: u32) -> Result<Row> {
        let alone = Loop { rows, contexts: 1, lanes: 1, graph: true };
        let (mut ours, mut base) = (Vec::new(), Vec::new());
        for _ in 0..run.settings.repeat.max(1) {
            ours.push(alone.run(run, engine, plan)?);
            base.push(alone.run(run, engine, original)?);
        }
        let (ours, base) = (median(ours), median(base));
        let ratio = format!("{:.2}", ours.rows_per_second / base.rows_per_second);
        Ok(Row { base: base.to_string(), ratio, ..measured("", ours.to_string()) })
    }
}
