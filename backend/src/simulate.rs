//! `forebay simulate`: a recorded trace, or a day that is made up -> what it would cost under each policy, by the crate
//! `forebay-simulate`, which has no I/O. A table leaves, a report as JSON, a picture as SVG.

mod picture;
mod report;

use std::fs::{self, File};
use std::io::{BufWriter, Read as _, Write as _};
use std::path::Path;
use std::thread;

use anyhow::{Context as _, bail};
use forebay_simulate::day::Day;
use forebay_simulate::outcome::Outcome;
use forebay_simulate::policy::{Policy, Scaling, Setup};
use forebay_simulate::trace::{Model, Record, Trace, Writer};

use crate::settings::SimulateSettings;
use report::{Ran, Report};

/// Bytes of a trace that is read: it lies in memory.
const MOST_BYTES: u64 = 8 << 30;
/// Bytes that a trace is written by.
const PIECE: usize = 1 << 20;

/// Where records come from.
enum Source {
    Trace(Vec<u8>),
    Day(Box<Day>),
}

impl Source {
    fn of(settings: &SimulateSettings) -> anyhow::Result<Self> {
        let Some(path) = &settings.trace else {
            let day = settings.day.day();
            day.records().map_err(|error| anyhow::anyhow!("the day can't be made up: {error}"))?;
            return Ok(Self::Day(Box::new(day)));
        };
        let mut file = Vec::new();
        let opened = File::open(path).and_then(|opened| opened.take(MOST_BYTES + 1).read_to_end(&mut file));
        opened.with_context(|| format!("TRACE: can't read {}", path.display()))?;
        if file.len() as u64 > MOST_BYTES {
            bail!("TRACE: {} is larger than {MOST_BYTES} bytes", path.display());
        }
        let checked =
            Trace::read(&file).and_then(|trace| trace.records().try_for_each(|record| record.map(drop)));
        checked.with_context(|| format!("TRACE: {}", path.display()))?;
        Ok(Self::Trace(file))
    }

    fn models(&self) -> Vec<Model> {
        match self {
            Self::Day(day) => day.models(),
            Self::Trace(file) => Trace::read(file).map(|trace| trace.models).unwrap_or_default(),
        }
    }

    /// From the first; a day is made up anew each time.
    fn records(&self) -> Box<dyn Iterator<Item = Record> + '_> {
        match self {
            Self::Day(day) => Box::new(day.records().into_iter().flatten()),
            Self::Trace(file) => Box::new(
                Trace::read(file).into_iter().flat_map(|trace| trace.records()).map_while(Result::ok),
            ),
        }
    }

    fn run(&self, setup: &Setup, policy: &Policy) -> Outcome {
        let models = self.models();
        match self {
            // Not by way of a box: it is asked ten million times.
            Self::Day(day) => {
                forebay_simulate::run(&models, day.records().into_iter().flatten(), setup, policy)
            }
            Self::Trace(_) => forebay_simulate::run(&models, self.records(), setup, policy),
        }
    }
}

/// Runs `forebay simulate`.
///
/// # Errors
/// The trace can't be read, the day can't be, or a file can't be written.
pub(crate) fn run(settings: &SimulateSettings) -> anyhow::Result<()> {
    let source = Source::of(settings)?;
    if let Some(path) = &settings.write_trace {
        write_trace(&source, path)?;
    }
    let setup = settings.setup();
    let scaled = settings.policies();
    let outcomes: Vec<Outcome> = thread::scope(|scope| {
        let running: Vec<_> =
            scaled.iter().map(|policy| scope.spawn(|| source.run(&setup, policy))).collect();
        running
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    // What is always there must bear the most that was wanted.
    let most = outcomes.iter().map(|outcome| outcome.most_replicas).max().unwrap_or(1).max(1);
    let always = Policy {
        name: "always on".to_owned(),
        scaling: Scaling::Always(settings.always.unwrap_or(most)),
        cached: false,
    };
    let always_ran = source.run(&setup, &always);
    let ran = std::iter::once((always, always_ran)).chain(scaled.into_iter().zip(outcomes));
    let ran: Vec<Ran> = ran.map(|(policy, outcome)| Ran { policy, outcome }).collect();
    let report = Report::of(settings, &setup, &ran);
    print!("{}", report.table());
    if let Some(path) = &settings.json {
        write(path, &report.json()?)?;
    }
    if let Some(path) = &settings.chart {
        write(path, &picture::draw(&report))?;
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(path, text).with_context(|| format!("can't write {}", path.display()))
}

/// Keeps the records as a trace.
fn write_trace(source: &Source, path: &Path) -> anyhow::Result<()> {
    let put = || -> std::io::Result<()> {
        let mut file = BufWriter::new(File::create(path)?);
        let mut piece = Vec::with_capacity(PIECE);
        let mut writer = Writer::new(&source.models(), &mut piece);
        for record in source.records() {
            writer.put(&record, &mut piece);
            if piece.len() >= PIECE {
                file.write_all(&piece)?;
                piece.clear();
            }
        }
        file.write_all(&piece)?;
        file.flush()
    };
    put().with_context(|| format!("--write-trace: can't write {}", path.display()))
}

#[cfg(test)]
mod tests;
