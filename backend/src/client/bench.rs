//! `forebay bench`: one measurement for each encoding, rate and concurrency; a table, a report and a chart leave.

mod chart;
mod draw;
mod progress;
mod report;
mod run;
mod table;
mod tally;
mod timer;
mod turns;

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use super::connection::Server;
use super::request::Request;
use super::{AskError, asked};
use crate::settings::{BenchSettings, Encoding, Repeats};
use draw::Law;
use progress::Progress;
use report::{Inputs, Report, ReportError, Run};
use run::{Plan, measure};
use turns::Rate;

/// Characters of an id of a request's own: enough for any run, however many there were.
const ID_LENGTH: usize = 12;

/// Requests that can't be as different as asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BenchError {
    #[error("--keys: these inputs make {variants} different requests only, {keys} are asked for")]
    TooFew { variants: u64, keys: u64 },
}

/// Runs `forebay bench`.
///
/// # Errors
/// No server, no such model, inputs that can't be made, a first request that is refused, a file that can't be written.
pub(crate) fn run(settings: &BenchSettings) -> anyhow::Result<()> {
    let told = &settings.told;
    let report = match &settings.model {
        None => Report::of_files(&told.from)?,
        Some(model) => {
            let runtime =
                tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
            let is_stopped = Arc::new(AtomicBool::new(false));
            let stop = is_stopped.clone();
            runtime.spawn(async move {
                if tokio::signal::ctrl_c().await.is_ok() {
                    stop.store(true, Ordering::Relaxed);
                }
            });
            let report = Sweep { settings, model, is_stopped: &is_stopped, runtime: &runtime }.run()?;
            runtime.shutdown_background();
            report
        }
    };
    if let Some(path) = &told.json {
        report.write(path)?;
    }
    if let Some(path) = &told.chart {
        write(path, &chart::draw(&report, told.title.as_deref()))?;
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<(), ReportError> {
    std::fs::write(path, text).map_err(|reason| ReportError::Write { path: path.to_owned(), reason })
}

/// All measurements of a command.
struct Sweep<'a> {
    settings: &'a BenchSettings,
    model: &'a str,
    is_stopped: &'a AtomicBool,
    runtime: &'a tokio::runtime::Runtime,
}

impl Sweep<'_> {
    fn run(&self) -> anyhow::Result<Report> {
        let settings = self.settings;
        let seed = settings.seed.unwrap_or_else(by_the_clock);
        let law = Law::new(settings.repeats, settings.keys, settings.skew, seed);
        let mut report: Option<Report> = None;
        for encoding in &settings.load.encoding {
            let server = Server::of(&settings.server, *encoding).map_err(AskError::from)?;
            let (request, tensors) = self.runtime.block_on(self.prepare(&server, *encoding, &law))?;
            if report.is_none() {
                println!("{}: {}; {}, seed {seed}", self.model, tensors.join(", "), self.repeats());
                print!("{}", table::head());
            }
            let report = report.get_or_insert_with(|| Report::new(self.model, self.inputs(tensors, seed)));
            for plan in plans(settings, &server, &request, &law) {
                if self.is_stopped.load(Ordering::Relaxed) {
                    return Ok(report.clone());
                }
                report.runs.push(self.measure(*encoding, &plan)?);
            }
        }
        report.ok_or_else(|| anyhow::anyhow!("--encoding: none is named"))
    }

    /// One measurement, told when it is over.
    fn measure(&self, encoding: Encoding, plan: &Plan<'_>) -> anyhow::Result<Run> {
        let name = format!("{} x {}", encoding.name(), plan.connections);
        let progress = Progress::new(&name, plan.warmup + plan.duration);
        let measured = measure(plan, &progress, self.is_stopped)?;
        drop(progress);
        let run = Run::of(&self.settings.told.label, encoding, plan, &measured);
        let mut out = std::io::stdout().lock();
        write!(out, "{}", table::row(&run))?;
        for remark in table::remarks(&run) {
            writeln!(out, "    {remark}")?;
        }
        out.flush()?;
        Ok(run)
    }

    /// Makes the request and asks it once: what is refused is told, not measured.
    async fn prepare(
        &self,
        server: &Server,
        encoding: Encoding,
        law: &Law,
    ) -> anyhow::Result<(Request, Vec<String>)> {
        let settings = self.settings;
        let mut connection = server.connect().await.map_err(AskError::from)?;
        let mut asked = asked(server, &mut connection, self.model, &settings.inputs, law.seed).await?;
        if settings.unique_ids {
            asked.request.id = "0".repeat(ID_LENGTH);
        }
        let mut request =
            Request::infer(server, encoding, &asked, law.is_varied()).map_err(AskError::from)?;
        let (variants, keys) = (request.variants(), settings.keys);
        if settings.repeats == Repeats::Zipf && keys > variants {
            return Err(BenchError::TooFew { variants, keys }.into());
        }
        if settings.repeats == Repeats::Unique && variants < u64::from(u32::MAX) {
            eprintln!("forebay: these inputs make {variants} different requests only: then they repeat");
        }
        request.vary(law.draws(0).next());
        if settings.unique_ids {
            request.name(law.id());
        }
        let answer = connection.ask(&mut request, server.timeout).await.map_err(AskError::from)?;
        if !answer.status.is_good() {
            return Err(AskError::Refused { status: answer.status.to_string(), said: answer.error() }.into());
        }
        let tensors = asked.request.inputs.iter();
        let tensors =
            tensors.map(|input| format!("{} {} {:?}", input.name, input.datatype, input.shape)).collect();
        Ok((request, tensors))
    }

    fn repeats(&self) -> String {
        let settings = self.settings;
        match settings.repeats {
            Repeats::Same => "one request".to_owned(),
            Repeats::Unique => "unique requests".to_owned(),
            Repeats::Zipf => format!("Zipf's law, {} requests, skew {}", settings.keys, settings.skew),
        }
    }

    fn inputs(&self, tensors: Vec<String>, seed: u64) -> Inputs {
        let settings = self.settings;
        let is_zipf = settings.repeats == Repeats::Zipf;
        let repeats = match settings.repeats {
            Repeats::Same => "same",
            Repeats::Zipf => "zipf",
            Repeats::Unique => "unique",
        };
        Inputs {
            tensors,
            repeats: repeats.to_owned(),
            keys: is_zipf.then_some(settings.keys),
            skew: is_zipf.then_some(settings.skew),
            seed,
        }
    }
}

/// The measurements of an encoding.
fn plans<'a>(
    settings: &BenchSettings,
    server: &'a Server,
    request: &'a Request,
    law: &'a Law,
) -> Vec<Plan<'a>> {
    let load = &settings.load;
    let rates: Vec<Option<Rate>> = if load.rate.is_empty() {
        vec![None]
    } else {
        load.rate.iter().map(|rate| Some(Rate { per_second: *rate, arrival: load.arrival })).collect()
    };
    let half = u32::try_from(processors() / 2).unwrap_or(1).max(1);
    let threads = load.threads.map_or(half, u32::from);
    let each = rates.into_iter().flat_map(|rate| load.concurrency.iter().map(move |count| (rate, *count)));
    let plan = |(rate, connections): (Option<Rate>, u32)| Plan {
        server,
        request,
        law,
        has_ids: settings.unique_ids,
        connections,
        threads: threads.min(connections),
        rate,
        warmup: load.warmup_secs,
        duration: load.duration_secs,
    };
    each.map(plan).collect()
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, Into::into)
}

/// A seed that no earlier command had.
#[allow(clippy::cast_possible_truncation)] // the low bits differ most
fn by_the_clock() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |now| now.as_micros() as u64)
}
