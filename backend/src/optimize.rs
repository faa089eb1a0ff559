//! `forebay optimize MODEL`: a model of a repository and data enter; the next version of the model leaves, lighter and no slower, and
//! never worse than what may be lost, or nothing and the reasons. The way:
//!
//! ```text
//! samples    what the model is asked, in three splits
//! tools      well-kept Python libraries make variants
//! judge      runs models as `serve` does, in a child process
//! loss       outputs of two -> points lost, and a bound
//! speed      rounds of two -> how much faster, and a bound
//! workshop   where variants lie, and what was found of them
//! search     which variants are tried
//! verdict    which may be installed, and why others may not
//! fleet      whether what is found here holds for all servers
//! turn       who may change the model, one at a time
//! install    the next version, or the way back
//! for_tensorrt   files for a GPU, in place of all that follows the tools
//! report     what is told
//! ```

mod arrays;
mod fleet;
mod for_tensorrt;
mod install;
mod judge;
mod loss;
mod prepare;
mod process;
mod progress;
mod report;
mod request;
mod samples;
mod search;
mod speed;
mod tools;
mod turn;
mod verdict;
mod workshop;

pub(crate) use judge::child::run as judge;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::engine::cpu::Cpu;
use crate::settings::OptimizeSettings;
use fleet::Fleet;
use prepare::Prepared;
use progress::Progress;
use request::Request;
use samples::Samples;
use search::{Found, Search, Tried, Wanted};
use tools::Tools;
use turn::Turn;
use verdict::{Judged, Terms};
use workshop::{WorkError, Workshop};

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// A variant was installed, taken away, or keeps its word.
    Done,
    /// Nothing may be installed, or what was checked not be served.
    Kept,
    /// It was stopped; what was done is kept for the next run.
    Stopped,
}

/// Part of the time that is left for the verdict, at most.
const VERDICT: Duration = Duration::from_mins(2);

/// Runs `forebay optimize`.
///
/// # Errors
/// Model, data or tools can't be used.
pub(crate) fn run(settings: &OptimizeSettings) -> anyhow::Result<Outcome> {
    let Some(model) = &settings.model else { return set_up(settings) };
    let found = model.canonicalize();
    let model = found.map_err(|error| anyhow::anyhow!("MODEL: can't read {}: {error}", model.display()))?;
    if settings.undo {
        let _turn = Turn::take(&model)?;
        let (version, original) = install::undo(&model)?;
        println!("version {version} is taken away; version {original} is the newest that is no variant");
        return Ok(Outcome::Done);
    }
    let stop = stop()?;
    let (request, samples) = Request::read(settings, &model)?;
    let _turn = if settings.dry_run || settings.check { None } else { Some(Turn::take(&model)?) };
    let done = optimized(settings, &request, samples, &stop);
    match done {
        Err(error) if stop.load(Ordering::Relaxed) => {
            eprintln!("stopped: what was tried is kept, the same command goes on from there ({error:#})");
            Ok(Outcome::Stopped)
        }
        done => done,
    }
}

/// Makes the tools' environment.
fn set_up(settings: &OptimizeSettings) -> anyhow::Result<Outcome> {
    let until = Instant::now() + settings.time;
    let tools = Tools::ready(&settings.tools, &prepare::folders(&settings.tools)?, until, &*stop()?)?;
    let versions: Vec<String> =
        tools.versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
    println!("the tools are ready: {}", versions.join(", "));
    Ok(Outcome::Done)
}

/// Set by the first Ctrl-C or SIGTERM; the second ends the program.
fn stop() -> std::io::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 130, stop.clone())?;
        signal_hook::flag::register(signal, stop.clone())?;
    }
    Ok(stop)
}

fn optimized(
    settings: &OptimizeSettings,
    request: &Request,
    samples: Samples,
    stop: &AtomicBool,
) -> anyhow::Result<Outcome> {
    let fleet = Fleet::read(&settings.fleet)?;
    let is_for_all = !fleet.as_ref().is_some_and(Fleet::is_unlike_here);
    if !(is_for_all || settings.check || settings.dry_run) {
        return Ok(kept_for(fleet.as_ref()));
    }
    let until = Instant::now() + settings.time.saturating_sub(VERDICT.min(settings.time / 3));
    let tools = Tools::ready(&settings.tools, &prepare::folders(&settings.tools)?, until, stop)?;
    let Prepared { mut shop, terms, lock: _lock } = request.prepare(settings, samples, &tools, stop)?;
    if let Some(folder) = &settings.for_tensorrt {
        return for_tensorrt::write(request, &mut shop, &terms, folder);
    }
    let wanted = Wanted {
        max_loss: terms.max_loss,
        prefer: settings.prefer,
        batch: match settings.prefer {
            crate::settings::Prefer::Throughput => terms.batches.iter().copied().max().unwrap_or(1),
            _ => 1,
        },
        until,
    };
    if settings.check {
        return checked(request, shop, &terms, fleet.as_ref());
    }
    let mut progress = Progress::new(until, terms.original_bytes, terms.max_loss);
    let found = Search::new(&mut shop, &wanted, &mut progress).run()?;
    let mut judged: Vec<Judged> = Vec::new();
    for tried in verdict::finalists(&found.tried, &terms, wanted.prefer) {
        progress.trying(&format!("the verdict on {}", tried.candidate));
        let verdict = verdict::judge(&mut shop, &tried, &terms)?;
        let is_good = verdict.refusals.is_empty();
        judged.push(verdict);
        if is_good {
            break;
        }
    }
    let footprint = shop.footprint(workshop::ORIGINAL)?;
    drop(progress);
    let keep: Vec<u64> = judged.iter().map(|judged| judged.tried.candidate.number).collect();
    shop.tidy(found.tried.iter().map(|tried| &tried.candidate), &keep);
    let fleet = fleet.as_ref();
    let report = report::Report {
        request,
        shop: &shop,
        terms: &terms,
        found: &found,
        judged: &judged,
        footprint,
        fleet,
    };
    print!("{}", report.text());
    let good = judged.last().filter(|judged| judged.refusals.is_empty());
    match good {
        Some(_) if settings.dry_run => {
            let folder = shop.folder.join("report");
            report.write(&folder)?;
            println!("nothing is installed, for --dry-run. The report lies in {}", folder.display());
            Ok(Outcome::Kept)
        }
        Some(good) => {
            // A server may have come meanwhile.
            let fleet = Fleet::read(&settings.fleet)?;
            if fleet.as_ref().is_some_and(Fleet::is_unlike_here) {
                return Ok(kept_for(fleet.as_ref()));
            }
            let version = installed(request, &shop, good, &report)?;
            println!("{}", request.installed(version));
            Ok(Outcome::Done)
        }
        None => {
            let folder = shop.folder.join("report");
            report.write(&folder)?;
            println!("nothing is installed: the original stays. The report lies in {}", folder.display());
            Ok(Outcome::Kept)
        }
    }
}

/// Judges the newest variant as it is.
fn checked(
    request: &Request,
    mut shop: Workshop<'_>,
    terms: &Terms,
    fleet: Option<&Fleet>,
) -> anyhow::Result<Outcome> {
    let candidate = shop.adopted(&install::newest_variant(&request.model)?)?;
    let tried = Tried::of(&mut shop, candidate, 1)?;
    let judged = [verdict::judge(&mut shop, &tried, terms)?];
    let found = Found { tried: vec![tried], ..Found::default() };
    let footprint = shop.footprint(workshop::ORIGINAL)?;
    let report =
        report::Report { request, shop: &shop, terms, found: &found, judged: &judged, footprint, fleet };
    print!("{}", report.text());
    let cpu = Cpu::here();
    if !judged[0].refusals.is_empty() {
        println!("it does not keep its word here, on {cpu}");
        return Ok(Outcome::Kept);
    }
    println!("it keeps its word here, on {cpu}");
    if fleet.is_some_and(Fleet::is_unlike_here) {
        println!("that says nothing of other classes: they are to be checked where they are");
        return Ok(Outcome::Kept);
    }
    Ok(Outcome::Done)
}

/// What is found here would not hold for all servers.
fn kept_for(fleet: Option<&Fleet>) -> Outcome {
    print!("{}", fleet.map(Fleet::text).unwrap_or_default());
    println!("nothing is installed, for --fleet: the original stays");
    Outcome::Kept
}

fn installed(
    request: &Request,
    shop: &Workshop<'_>,
    good: &Judged,
    report: &report::Report<'_, '_>,
) -> anyhow::Result<u64> {
    let template = request.described(shop, good);
    shop.describe(&good.tried.candidate, &template)?;
    let from = shop.version(good.tried.candidate.number);
    let described = std::fs::read(from.join(crate::models::variant::FILE_NAME)).map_err(WorkError::File)?;
    Ok(install::install(&request.model, &from, &described, &report.files())?)
}
