//! Every test model, by the engine and by ONNX Runtime in the same server: models enter, whether their answers agree leaves. ONNX
//! -> a plan, built before or by the server -> `forebay serve` -> V2 binary -> compared.

mod ended;
mod form;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::{Context, Result, ensure};

use super::kit::{Engine, Kit};
use super::models::{self, Case};
use super::report::Section;
use super::server::Served;
use super::tensors::{self, Tensor};
use super::{Run, onnx, server, tolerance};
use crate::http::Client;
use crate::up::services::url;
use ended::{Ended, summary};
use form::{Form, lay_out, served};
use rig::group::Group;

pub(super) fn sections(run: &Run, engine: &Engine) -> Result<Vec<Section>> {
    let section = |title: &str, rows| Section {
        title: title.to_owned(),
        engine: engine.told(),
        about: tolerance::STATED.to_owned(),
        rows,
    };
    let models = models::cases(run.kit);
    let mut sections = Vec::new();
    for (form, title) in [
        (Form::Plan, "Models against ONNX Runtime"),
        (Form::Compiled, "Models that the server has compiled against ONNX Runtime"),
    ] {
        let ended = all(run, engine, form, &models)?;
        sections.push(section(title, ended.iter().map(|(name, ended)| ended.row(name)).collect()));
    }
    let (cases, left_out) = node_tests(run)?;
    let ended = all(run, engine, Form::Plan, &cases)?;
    let summary = summary(&ended, left_out);
    sections.push(section("ONNX's node tests against ONNX Runtime", summary));
    Ok(sections)
}

/// The tests whose inputs plans and V2 can have, and how many others there are.
fn node_tests(run: &Run) -> Result<(Vec<Case>, usize)> {
    let folder = run.kit.path("node-tests");
    let entries = fs::read_dir(&folder).with_context(|| format!("no {}", folder.display()))?;
    let mut tests = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    tests.sort_unstable();
    tests.truncate(run.settings.node_tests.unwrap_or(usize::MAX));
    let all = tests.len();
    let case = |test: PathBuf| {
        let name = test.file_name()?.to_string_lossy().into_owned();
        let requests = vec![onnx::inputs(&test).ok()?];
        Some(Case { name, model: test.join("model.onnx"), ranges: Vec::new(), requests })
    };
    let cases: Vec<Case> = tests.into_iter().filter_map(case).collect();
    let left_out = all - cases.len();
    Ok((cases, left_out))
}

/// Builds the plans, serves each beside its model, and compares.
fn all<'a>(run: &Run, engine: &Engine, form: Form, cases: &'a [Case]) -> Result<Vec<(&'a str, Ended)>> {
    let repository = run.kit.scratch("correctness")?;
    let refused = build(run, engine, form, cases, &repository);
    let logs = run.kit.scratch("logs")?;
    let mut server = None;
    let mut ended = Vec::new();
    for (case, refused) in cases.iter().zip(refused) {
        let outcome = match refused {
            Some(ended) => ended,
            None if run.is_over() => Ended::NotRun,
            None => {
                let (group, port) = match server.take() {
                    Some(running) => running,
                    None => start(run.kit, engine, &repository, &logs)?,
                };
                let asked = ask(case, form, port);
                // A server that is gone is started anew for the next.
                if Client::default().get(&format!("{}/v2/health/live", url(port))).is_ok() {
                    server = Some((group, port));
                }
                asked.unwrap_or_else(|error| Ended::Differs(format!("{error:#}")))
            }
        };
        ended.push((case.name.as_str(), outcome));
    }
    if let Some((mut group, _)) = server {
        group.stop()?;
    }
    Ok(ended)
}

fn start(kit: &Kit, engine: &Engine, repository: &Path, logs: &Path) -> Result<(Group, u16)> {
    let mut group = Group::new(logs)?;
    // ONNX Runtime is asked for as many rows as the plan: no batch is guessed.
    let flags = &["--backend-config=default-max-batch-size=0"];
    let served = Served { repository: repository.to_owned(), flags, ..Served::default() };
    let port = server::start(kit, engine, &served, &mut group)?;
    Ok((group, port))
}

/// Builds in several processes at once. What was not built leaves, by case.
fn build(run: &Run, engine: &Engine, form: Form, cases: &[Case], repository: &Path) -> Vec<Option<Ended>> {
    let next = Mutex::new(cases.iter().enumerate());
    let outcomes = Mutex::new(BTreeMap::new());
    let threads = std::thread::available_parallelism().map_or(1, usize::from).div_ceil(2);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some((number, case)) = next.lock().ok().and_then(|mut cases| cases.next()) {
                    let outcome = if run.is_over() {
                        Some(Ended::NotRun)
                    } else {
                        lay_out(case, form, run.kit, engine, repository).err().map(Ended::Refused)
                    };
                    outcomes.lock().map(|mut outcomes| outcomes.insert(number, outcome)).ok();
                }
            });
        }
    });
    outcomes.into_inner().map_or_else(|_| Vec::new(), |outcomes| outcomes.into_values().collect())
}

/// Loads both, asks both, unloads both.
fn ask(case: &Case, form: Form, port: u16) -> Result<Ended> {
    let client = Client::default();
    let [onnx, plan] = ["onnx", form.name()].map(|by| served(case, by));
    if let Err(error) = control(&client, port, &onnx, "load") {
        return Ok(Ended::NoAnswer(error.to_string()));
    }
    match control(&client, port, &plan, "load") {
        Err(error) if form == Form::Compiled => return Ok(Ended::Refused(error.to_string())),
        loaded => loaded?,
    }
    let mut ended = Ended::Agrees(0.0);
    for request in &case.requests {
        let wanted = match infer(&client, port, &onnx, request) {
            Ok(wanted) => wanted,
            Err(error) => return Ok(Ended::NoAnswer(error.to_string())),
        };
        if infer(&client, port, &onnx, request)? != wanted {
            return Ok(Ended::NoAnswer("another one each time".to_owned()));
        }
        let got = infer(&client, port, &plan, request)?;
        ended = ended.and(compare(&got, &wanted));
    }
    control(&client, port, &onnx, "unload")?;
    control(&client, port, &plan, "unload")?;
    Ok(ended)
}

fn control(client: &Client, port: u16, model: &str, call: &str) -> Result<()> {
    let answer = client.post(&format!("{}/v2/repository/models/{model}/{call}", url(port)), &[], b"{}")?;
    ensure!(answer.status == 200, "{call}: {}", String::from_utf8_lossy(&answer.body));
    Ok(())
}

/// The plan's outputs with the model's.
fn compare(got: &[Tensor], wanted: &[Tensor]) -> Ended {
    wanted.iter().fold(Ended::Agrees(0.0), |ended, wanted| {
        let compared = match got.iter().find(|tensor| tensor.name == wanted.name) {
            Some(got) => tolerance::compare(got, wanted),
            None => Err(format!("there is no output {}", wanted.name)),
        };
        ended.and(compared.map_or_else(Ended::Differs, Ended::Agrees))
    })
}

/// Asks for all outputs.
///
/// # Errors
/// The answer is another than 200, or can't be read.
pub(super) fn infer(client: &Client, port: u16, model: &str, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
    let (length, body) = tensors::request(inputs);
    let length = length.to_string();
    let headers =
        [("content-type", "application/octet-stream"), ("inference-header-content-length", length.as_str())];
    let answer = client.post(&format!("{}/v2/models/{model}/infer", url(port)), &headers, &body)?;
    ensure!(answer.status == 200, "{}", String::from_utf8_lossy(&answer.body));
    let json_length = answer.header("inference-header-content-length").parse();
    tensors::answer(json_length.unwrap_or(answer.body.len()), &answer.body)
}
