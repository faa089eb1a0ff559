//! The figures of a command as JSON: what was measured, and each measurement. Charts are drawn of it, now or later.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::run::{Measured, Plan};
use crate::settings::{Arrival, Encoding};

/// The form of this version.
const FORM: u32 = 1;

/// A report that can't be read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReportError {
    #[error("can't write {path}: {reason}")]
    Write { path: PathBuf, reason: std::io::Error },
    #[error("--from: can't read {path}: {reason}")]
    Read { path: PathBuf, reason: String },
}

/// All of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Report {
    /// Which form this is.
    pub(super) forebay_bench: u32,
    pub(super) version: String,
    /// Seconds since 1970.
    pub(super) began: u64,
    pub(super) model: String,
    pub(super) inputs: Inputs,
    pub(super) processors: usize,
    pub(super) runs: Vec<Run>,
}

/// What was asked.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Inputs {
    pub(super) tensors: Vec<String>,
    pub(super) repeats: String,
    /// Of Zipf's law.
    pub(super) keys: Option<u64>,
    pub(super) skew: Option<f64>,
    pub(super) seed: u64,
}

/// One measurement.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Run {
    pub(super) label: String,
    pub(super) encoding: String,
    pub(super) connections: u32,
    pub(super) threads: u32,
    /// Requests a second that were due; none in a closed loop.
    pub(super) rate: Option<f64>,
    pub(super) arrival: Option<String>,
    pub(super) warmup_secs: f64,
    pub(super) elapsed_secs: f64,
    /// Good answers, and how many of them a second.
    pub(super) answered: u64,
    pub(super) answered_per_sec: f64,
    /// Of good answers; in an open loop from when their requests were due.
    pub(super) latency_us: Latency,
    pub(super) failed: BTreeMap<String, Failed>,
    pub(super) cache: Cache,
    /// Requests that were sent more than a millisecond after they were due, and the longest of those times.
    pub(super) late: u64,
    pub(super) latest_us: f64,
    /// Requests that were due and never sent, for the time was over.
    pub(super) unsent: u64,
    pub(super) reconnected: u64,
    pub(super) sent_bytes: u64,
    pub(super) received_bytes: u64,
    /// CPU time of the client itself for each request, and how much of its threads' time that was.
    pub(super) client_cpu_us: Option<f64>,
    pub(super) client_busy: Option<f64>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Latency {
    pub(super) min: f64,
    pub(super) mean: f64,
    pub(super) p50: f64,
    pub(super) p90: f64,
    pub(super) p95: f64,
    pub(super) p99: f64,
    #[serde(rename = "p99.9")]
    pub(super) p999: f64,
    pub(super) max: f64,
}

/// Failures of a kind.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Failed {
    pub(super) count: u64,
    /// What the first said.
    pub(super) first: String,
}

/// What `Cache-Status` said of good answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Cache {
    pub(super) hits: u64,
    pub(super) misses: u64,
    /// Answers without it.
    pub(super) silent: u64,
    /// What the nearest cache said.
    pub(super) said: BTreeMap<String, u64>,
}

impl Report {
    pub(super) fn new(model: &str, inputs: Inputs) -> Self {
        let began = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Self {
            forebay_bench: FORM,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            began: began.map_or(0, |began| began.as_secs()),
            model: model.to_owned(),
            inputs,
            processors: super::processors(),
            runs: Vec::new(),
        }
    }

    /// Reads reports and makes one of them: the first one's, with the runs of all.
    ///
    /// # Errors
    /// [`ReportError::Read`].
    pub(super) fn of_files(paths: &[PathBuf]) -> Result<Self, ReportError> {
        let mut all: Option<Self> = None;
        for path in paths {
            let unreadable = |reason: String| ReportError::Read { path: path.clone(), reason };
            let text = std::fs::read(path).map_err(|error| unreadable(error.to_string()))?;
            let read: Self = serde_json::from_slice(&text).map_err(|error| unreadable(error.to_string()))?;
            if read.forebay_bench != FORM {
                return Err(unreadable(format!("its form is {}, {FORM} is expected", read.forebay_bench)));
            }
            match &mut all {
                Some(all) => all.runs.extend(read.runs),
                None => all = Some(read),
            }
        }
        all.ok_or_else(|| ReportError::Read { path: PathBuf::new(), reason: "no file is named".to_owned() })
    }

    /// # Errors
    /// [`ReportError::Write`].
    pub(super) fn write(&self, path: &Path) -> Result<(), ReportError> {
        let mut text = serde_json::to_vec_pretty(self).expect("numbers and names have a JSON form");
        text.push(b'\n');
        std::fs::write(path, text).map_err(|reason| ReportError::Write { path: path.to_owned(), reason })
    }
}

impl Run {
    pub(super) fn of(label: &str, encoding: Encoding, plan: &Plan<'_>, measured: &Measured) -> Self {
        let Measured { tally, elapsed, client } = measured;
        let latencies = &tally.latencies;
        let at = |quantile: f64| latencies.value_at_quantile(quantile) as f64 / 1000.0;
        let failed = tally.failures.iter().map(|(kind, failures)| {
            (kind.clone(), Failed { count: failures.count, first: failures.first.clone() })
        });
        let arrival = plan.rate.map(|rate| match rate.arrival {
            Arrival::Fixed => "fixed",
            Arrival::Poisson => "poisson",
        });
        Self {
            label: label.to_owned(),
            encoding: encoding.name().to_owned(),
            connections: plan.connections,
            threads: plan.threads,
            rate: plan.rate.map(|rate| rate.per_second),
            arrival: arrival.map(str::to_owned),
            warmup_secs: plan.warmup.as_secs_f64(),
            elapsed_secs: elapsed.as_secs_f64(),
            answered: latencies.len(),
            answered_per_sec: latencies.len() as f64 / elapsed.as_secs_f64().max(1e-9),
            latency_us: Latency {
                min: latencies.min() as f64 / 1000.0,
                mean: latencies.mean() / 1000.0,
                p50: at(0.5),
                p90: at(0.9),
                p95: at(0.95),
                p99: at(0.99),
                p999: at(0.999),
                max: latencies.max() as f64 / 1000.0,
            },
            failed: failed.collect(),
            cache: Cache {
                hits: tally.caches.hits,
                misses: tally.caches.misses,
                silent: tally.caches.silent,
                said: tally.caches.said(),
            },
            late: tally.late,
            latest_us: tally.latest.as_secs_f64() * 1e6,
            unsent: tally.unsent,
            reconnected: tally.reconnected,
            sent_bytes: tally.bytes_sent,
            received_bytes: tally.bytes_received,
            client_cpu_us: client.cpu.map(|cpu| cpu.as_secs_f64() * 1e6 / tally.all.max(1) as f64),
            client_busy: client.cpu.map(|cpu| cpu.as_secs_f64() / client.ran.as_secs_f64().max(1e-9)),
        }
    }

    /// What a chart calls the row of runs that it belongs to.
    pub(super) fn series(&self) -> String {
        if self.label.is_empty() {
            self.encoding.clone()
        } else {
            format!("{}, {}", self.label, self.encoding)
        }
    }

    pub(super) fn failures(&self) -> u64 {
        self.failed.values().map(|failed| failed.count).sum()
    }
}
