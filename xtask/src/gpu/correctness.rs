//! Every test model, by the engine and by ONNX Runtime in the same server: models enter, whether their answers agree leaves. ONNX
//! -> a plan -> `forebay serve` -> V2 binary -> compared.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::{Context, Result, ensure};

use super::kit::{Engine, Kit};
use super::models::{self, Case};
use super::report::{Outcome, Row, Section};
use super::server::Served;
use super::task;
use super::tensors::{self, Tensor};
use super::{Run, judged, measured, not_run, onnx, server, tolerance};
use crate::http::Client;
use crate::process::Group;
use crate::up::services::url;

/// Reasons of refusals that are shown; the others are counted.
const SHOWN_REASONS: usize = 8;

/// What became of a case.
enum Ended {
    /// How far the results were off, as a share of what is allowed.
    Agrees(f64),
    Differs(String),
    /// The engine builds no plan of it: its own words.
    Refused(String),
    /// ONNX Runtime gives no answer to compare with.
    NoAnswer(String),
    NotRun,
}

pub(super) fn sections(run: &Run, engine: &Engine) -> Result<Vec<Section>> {
    let section = |title: &str, rows| Section {
        title: title.to_owned(),
        engine: engine.told(),
        about: tolerance::STATED.to_owned(),
        rows,
    };
    let models = models::cases(run.kit);
    let ended = all(run, engine, &models)?;
    let each = ended.iter().map(|(name, ended)| ended.row(name)).collect();
    let (cases, left_out) = node_tests(run)?;
    let ended = all(run, engine, &cases)?;
    let summary = summary(&ended, left_out);
    Ok(vec![
        section("Models against ONNX Runtime", each),
        section("ONNX's node tests against ONNX Runtime", summary),
    ])
}

/// The tests whose inputs plans and V2 can have, and how many others there are.
fn node_tests(run: &Run) -> Result<(Vec<Case>, usize)> {
    let folder = run.kit.path("node-tests");
    let entries = fs::read_dir(&folder).with_context(|| format!("no {}", folder.display()))?;
    let mut tests = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    tests.sort_unstable();
    tests.truncate(run.settings.node_tests);
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
fn all<'a>(run: &Run, engine: &Engine, cases: &'a [Case]) -> Result<Vec<(&'a str, Ended)>> {
    let repository = run.kit.scratch("correctness")?;
    let refused = build(run, engine, cases, &repository);
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
                let asked = ask(case, port);
                // A server that is gone is started anew for the next.
                if Client::new().get(&format!("{}/v2/health/live", url(port))).is_ok() {
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
    let served = Served { repository: repository.to_owned(), ..Served::default() };
    let port = server::start(kit, engine, &served, &mut group)?;
    Ok((group, port))
}

/// Builds in several processes at once. What was not built leaves, by case.
fn build(run: &Run, engine: &Engine, cases: &[Case], repository: &Path) -> Vec<Option<Ended>> {
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
                        lay_out(case, run.kit, engine, repository).err().map(Ended::Refused)
                    };
                    outcomes.lock().map(|mut outcomes| outcomes.insert(number, outcome)).ok();
                }
            });
        }
    });
    outcomes.into_inner().map_or_else(|_| Vec::new(), |outcomes| outcomes.into_values().collect())
}

/// The name by which the model or its plan is served.
fn served(case: &Case, by: &str) -> String {
    format!("{}_{by}", case.name)
}

/// Lays the model and its plan out, side by side.
fn lay_out(case: &Case, kit: &Kit, engine: &Engine, repository: &Path) -> Result<(), String> {
    let folder = |by: &str| repository.join(served(case, by)).join("1");
    for by in ["plan", "onnx"] {
        fs::create_dir_all(folder(by)).map_err(|error| error.to_string())?;
    }
    fs::copy(&case.model, folder("onnx").join("model.onnx")).map_err(|error| error.to_string())?;
    task::build(kit, engine, &case.model, &folder("plan").join("model.plan"), &case.ranges)
}

/// Loads both, asks both, unloads both.
fn ask(case: &Case, port: u16) -> Result<Ended> {
    let client = Client::new();
    let [onnx, plan] = ["onnx", "plan"].map(|by| served(case, by));
    if let Err(error) = control(&client, port, &onnx, "load") {
        return Ok(Ended::NoAnswer(error.to_string()));
    }
    control(&client, port, &plan, "load")?;
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
    tensors::answer(answer.json_length.unwrap_or(answer.body.len()), &answer.body)
}

impl Ended {
    /// The worse of two comparisons.
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Agrees(one), Self::Agrees(other)) => Self::Agrees(one.max(other)),
            (Self::Agrees(_), worse) | (worse, _) => worse,
        }
    }

    fn row(&self, name: &str) -> Row {
        match self {
            Self::Agrees(off) => judged(name, true, format!("at most {off:.3} of what is allowed")),
            Self::Differs(how) => judged(name, false, how),
            Self::Refused(why) => not_run(name, format!("no plan is built: {why}")),
            Self::NoAnswer(why) => not_run(name, format!("ONNX Runtime gives no answer: {why}")),
            Self::NotRun => not_run(name, "the time was over"),
        }
    }
}

/// Counts, each failure, and why plans were not built.
fn summary(ended: &[(&str, Ended)], left_out: usize) -> Vec<Row> {
    let count = |is: fn(&Ended) -> bool| ended.iter().filter(|(_, ended)| is(ended)).count();
    let agree = count(|ended| matches!(ended, Ended::Agrees(_)));
    let differ = count(|ended| matches!(ended, Ended::Differs(_)));
    let worst = ended.iter().filter_map(|(_, ended)| match ended {
        Ended::Agrees(off) => Some(*off),
        _ => None,
    });
    let value =
        format!("{agree} agree, at most {:.3} of what is allowed; {differ} don't", worst.fold(0.0, f64::max));
    let mut rows = vec![Row {
        outcome: match (agree, differ) {
            (0, 0) => Outcome::NotRun,
            (_, 0) => Outcome::Passed,
            _ => Outcome::Failed,
        },
        ..measured(format!("{} tests", ended.len() + left_out), value)
    }];
    let different = ended.iter().filter(|(_, ended)| matches!(ended, Ended::Differs(_)));
    rows.extend(different.map(|(name, ended)| ended.row(name)));
    let others = [
        ("tests with types that plans or V2 don't have", left_out),
        ("tests that ONNX Runtime doesn't answer", count(|ended| matches!(ended, Ended::NoAnswer(_)))),
        ("tests for which there was no time", count(|ended| matches!(ended, Ended::NotRun))),
        ("tests of which no plan is built", count(|ended| matches!(ended, Ended::Refused(_)))),
    ];
    rows.extend(
        others.iter().filter(|(_, count)| *count > 0).map(|(what, count)| not_run(*what, count.to_string())),
    );
    rows.extend(reasons(ended));
    rows
}

/// Why plans were not built, the most frequent first.
fn reasons(ended: &[(&str, Ended)]) -> Vec<Row> {
    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    for (_, ended) in ended {
        if let Ended::Refused(why) = ended {
            *reasons.entry(why).or_default() += 1;
        }
    }
    let mut reasons: Vec<(&str, usize)> = reasons.into_iter().collect();
    reasons.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let shown = reasons.iter().take(SHOWN_REASONS);
    shown.map(|(why, count)| not_run(format!("{count} of them"), *why)).collect()
}
