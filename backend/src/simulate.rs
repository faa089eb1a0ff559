//! `forebay simulate`: recorded traces, or a day that is made up -> what it would cost under each policy, by the crate
//! `forebay-simulate`, which has no I/O. A table leaves, a report as JSON, a picture as SVG.

mod picture;
mod report;
mod source;

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::thread;

use anyhow::Context as _;
use forebay_simulate::day::Day;
use forebay_simulate::outcome::Outcome;
use forebay_simulate::policy::{Policy, Scaling};
use forebay_simulate::trace::Writer;

use crate::settings::SimulateSettings;
use report::{Ran, Report};
use source::Source;

/// Bytes that a trace is written by.
const PIECE: usize = 1 << 20;

/// Runs `forebay simulate`.
///
/// # Errors
/// The trace can't be read, the day can't be, or a file can't be written.
pub(crate) fn run(settings: &SimulateSettings) -> anyhow::Result<()> {
    let source = Source::of(settings)?;
    if let (Some(path), Source::Day(day)) = (&settings.write_trace, &source) {
        write_trace(day, path)?;
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
    let report = Report::of(&source, settings.price, &setup, &ran);
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

/// Keeps a day that is made up as a trace.
fn write_trace(day: &Day, path: &Path) -> anyhow::Result<()> {
    let put = || -> std::io::Result<()> {
        let mut file = BufWriter::new(File::create(path)?);
        let mut piece = Vec::with_capacity(PIECE);
        let mut writer = Writer::new(None, &day.models(), &mut piece);
        for record in day.records().into_iter().flatten() {
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
