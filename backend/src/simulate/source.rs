//! Traces, or the numbers of a day that is made up -> records in the order of time, as often as they are wanted; and what is to be said
//! of traces: when they are of, what they leave out, how far they can be believed.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, bail};
use forebay_simulate::day::Day;
use forebay_simulate::merged::{Merged, Seams};
use forebay_simulate::outcome::Outcome;
use forebay_simulate::policy::{Policy, Setup};
use forebay_simulate::sampled::{deviation, expanded, keys_each};
use forebay_simulate::trace::{ALL, Model, Record, Trace, What};
use serde::Serialize;

use crate::settings::SimulateSettings;

/// Bytes of all traces together: they lie in memory.
const MOST_BYTES: u64 = 8 << 30;
/// Models that are named where something is missing of them.
const NAMED: usize = 3;

/// Where records come from.
pub(super) enum Source {
    Traces(Traces),
    Day(Box<Day>),
}

/// Files that were read and are right.
pub(super) struct Traces {
    files: Vec<Vec<u8>>,
    models: Vec<Model>,
    seed: u64,
    pub(super) told: Told,
}

/// What is to be said of traces.
#[derive(Clone, Serialize)]
pub(super) struct Told {
    pub(super) files: Vec<String>,
    /// When the first begins, as RFC 3339 writes it; none of a day without a date.
    begins: Option<String>,
    gaps: u32,
    gap_seconds: f64,
    overlaps: u32,
    overlap_seconds: f64,
    /// So many keys each one stands for.
    keys_each: f64,
    /// The standard deviation of the number of requests, as a part of it.
    deviation: f64,
    /// Requests of which it is not known what they cost.
    without_cost: u64,
}

impl Source {
    pub(super) fn of(settings: &SimulateSettings) -> anyhow::Result<Self> {
        if settings.trace.is_empty() {
            let day = settings.day.day();
            day.records().map_err(|error| anyhow::anyhow!("the day can't be made up: {error}"))?;
            return Ok(Self::Day(Box::new(day)));
        }
        let mut files: Vec<Vec<u8>> = Vec::new();
        let mut left = MOST_BYTES;
        for (number, path) in settings.trace.iter().enumerate() {
            let file = read(path, left)?;
            left -= file.len() as u64;
            if let Some(same) = files.iter().position(|other| *other == file) {
                let [one, other] =
                    [&settings.trace[same], &settings.trace[number]].map(|path| path.display());
                bail!("TRACE: {one} and {other} are the same: what was asked would count twice");
            }
            files.push(file);
        }
        Traces::of(files, settings).map(Self::Traces)
    }

    pub(super) fn models(&self) -> Vec<Model> {
        match self {
            Self::Day(day) => day.models(),
            Self::Traces(traces) => traces.models.clone(),
        }
    }

    pub(super) fn run(&self, setup: &Setup, policy: &Policy) -> Outcome {
        let models = self.models();
        match self {
            Self::Day(day) => {
                forebay_simulate::run(&models, day.records().into_iter().flatten(), setup, policy)
            }
            Self::Traces(traces) => match traces.merged() {
                Ok(merged) => {
                    let records = expanded(merged.records(), merged.rate, traces.seed);
                    forebay_simulate::run(&models, records, setup, policy)
                }
                Err(_) => unreachable!("they were merged before"),
            },
        }
    }
}

/// A trace that is right to its end.
fn read(path: &Path, most: u64) -> anyhow::Result<Vec<u8>> {
    let mut file = Vec::new();
    let opened = File::open(path).and_then(|opened| opened.take(most + 1).read_to_end(&mut file));
    opened.with_context(|| format!("TRACE: can't read {}", path.display()))?;
    if file.len() as u64 > most {
        bail!("TRACE: with {} it is more than {MOST_BYTES} bytes", path.display());
    }
    let checked =
        Trace::read(&file).and_then(|trace| trace.records().try_for_each(|record| record.map(drop)));
    checked.with_context(|| format!("TRACE: {}", path.display()))?;
    Ok(file)
}

fn merged(files: &[Vec<u8>]) -> anyhow::Result<Merged<'_>> {
    let traces: Result<Vec<_>, _> = files.iter().map(|file| Trace::read(file)).collect();
    Merged::of(traces?).context("TRACE")
}

impl Traces {
    fn of(files: Vec<Vec<u8>>, settings: &SimulateSettings) -> anyhow::Result<Self> {
        let (models, told) = {
            let merged = merged(&files)?;
            (filled(&merged.models, settings.day.max_age_s)?, Told::of(&settings.trace, &merged))
        };
        Ok(Self { files, models, seed: settings.day.seed, told })
    }

    fn merged(&self) -> anyhow::Result<Merged<'_>> {
        merged(&self.files)
    }
}

/// Models of which all is known.
fn filled(models: &[Model], max_age_s: Option<u32>) -> anyhow::Result<Vec<Model>> {
    let unknown: Vec<&str> =
        models.iter().filter(|model| model.max_age_s.is_none()).map(|model| model.name.as_str()).collect();
    if max_age_s.is_none() && !unknown.is_empty() {
        let more = if unknown.len() > NAMED { " and others" } else { "" };
        let named = unknown[..unknown.len().min(NAMED)].join(", ");
        bail!("TRACE: nothing says how long answers of {named}{more} are fresh: say it by --max-age-s");
    }
    let fill = |model: &Model| Model { max_age_s: model.max_age_s.or(max_age_s), ..model.clone() };
    Ok(models.iter().map(fill).collect())
}

impl Told {
    fn of(paths: &[PathBuf], merged: &Merged<'_>) -> Self {
        let date = |ms| humantime::format_rfc3339_seconds(SystemTime::UNIX_EPOCH + Duration::from_millis(ms));
        let is_without = |record: &Record| matches!(record.what, What::Asked { cost_us: 0, .. });
        let Seams { gaps, gaps_ms, overlaps, overlaps_ms } = merged.seams;
        Self {
            files: paths.iter().map(|path| path.display().to_string()).collect(),
            begins: merged.begin_ms.map(|ms| date(ms).to_string()),
            gaps,
            gap_seconds: gaps_ms as f64 / 1e3,
            overlaps,
            overlap_seconds: overlaps_ms as f64 / 1e3,
            keys_each: keys_each(merged.rate),
            deviation: if merged.rate == ALL { 0.0 } else { deviation(merged.records(), merged.rate) },
            without_cost: merged.records().filter(is_without).count() as u64,
        }
    }

    /// In lines; none where there is nothing to be said.
    pub(super) fn lines(&self) -> String {
        let mut text = String::new();
        if let Some(begins) = &self.begins {
            let count = self.files.len();
            let _ = writeln!(text, "{count} trace{}, from {begins} on", if count == 1 { "" } else { "s" });
        }
        if self.gaps > 0 {
            let _ = writeln!(
                text,
                "gaps between them: {}, {:.1} s in all; nothing is taken to be asked then",
                self.gaps, self.gap_seconds
            );
        }
        if self.overlaps > 0 {
            let _ = writeln!(
                text,
                "overlaps: {}, {:.1} s in all; they must be of several gates",
                self.overlaps, self.overlap_seconds
            );
        }
        if self.keys_each > 1.0 {
            let _ = writeln!(
                text,
                "sampled: each key stands for {:.1}; how many requests there were is known to {:.1} % (standard deviation)",
                self.keys_each,
                self.deviation * 100.0
            );
        }
        if self.without_cost > 0 {
            let _ = writeln!(text, "requests without compute time: {}; they take none", self.without_cost);
        }
        text
    }
}
