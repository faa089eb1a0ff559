//! Outcomes -> the figures that are told of them: a table for people, JSON for programs.

use std::fmt::Write as _;

use forebay_simulate::day::Day;
use forebay_simulate::outcome::{Counts, Outcome, Step};
use forebay_simulate::policy::{Policy, Scaling, Setup};
use serde::Serialize;

use super::source::{self, Source};

/// Of the JSON.
const FORMAT: u32 = 2;

/// A policy, and what came of it.
pub(super) struct Ran {
    pub(super) policy: Policy,
    pub(super) outcome: Outcome,
}

/// All that is told.
#[derive(Serialize)]
pub(super) struct Report {
    forebay_simulate: u32,
    /// What was recorded, or none of a day that is made up.
    traces: Option<source::Told>,
    day: Option<Day>,
    setup: Setup,
    /// Of a GPU hour.
    price: f64,
    pub(super) hours: f64,
    pub(super) policies: Vec<Told>,
}

/// What is told of a policy.
#[derive(Serialize)]
pub(super) struct Told {
    pub(super) name: String,
    scaling: Scaling,
    pub(super) cached: bool,
    counts: Counts,
    pub(super) hit_ratio: f64,
    pub(super) gpu_hours: f64,
    /// Of them, hours in which nothing was computed.
    pub(super) wasted_hours: f64,
    pub(super) cost: f64,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    /// Of what was computed, or joined to it.
    missed_p50_ms: f64,
    missed_p99_ms: f64,
    /// Replicas that were started after the beginning.
    cold_starts: u64,
    wakes: u64,
    most_replicas: u32,
    pub(super) steps: Vec<Step>,
}

impl Report {
    pub(super) fn of(source: &Source, price: f64, setup: &Setup, ran: &[Ran]) -> Self {
        let ends = ran.iter().map(|ran| ran.outcome.end_us);
        let (traces, day) = match source {
            Source::Traces(traces) => (Some(traces.told.clone()), None),
            Source::Day(day) => (None, Some(Day::clone(day))),
        };
        Self {
            forebay_simulate: FORMAT,
            traces,
            day,
            setup: setup.clone(),
            price,
            hours: ends.max().unwrap_or(0) as f64 / 3.6e9,
            policies: ran.iter().map(|ran| Told::of(ran, price)).collect(),
        }
    }

    pub(super) fn json(&self) -> serde_json::Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    /// Steps that the day is as long as: the last may be a part of one.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // minutes of a year at most
    pub(super) fn whole_steps(&self) -> usize {
        ((self.hours * 3600.0 / self.step_seconds()) as usize).max(1)
    }

    /// Seconds of a step.
    pub(super) fn step_seconds(&self) -> f64 {
        self.setup.step_us as f64 / 1e6
    }

    pub(super) fn table(&self) -> String {
        let asked = self.policies.first().map_or(0, |told| told.counts.asked);
        let mut text = self.traces.as_ref().map(source::Told::lines).unwrap_or_default();
        let _ =
            writeln!(text, "{asked} requests in {:.1} hours; a GPU hour costs {}\n", self.hours, self.price);
        let heads = [
            ("GPU hours", 10),
            ("wasted", 8),
            ("cost", 10),
            ("hits", 7),
            ("p50 ms", 9),
            ("p99 ms", 10),
            ("missed p99", 11),
            ("cold starts", 12),
            ("wakes", 6),
            ("lost", 8),
        ];
        let _ = write!(text, "{:<26}", "");
        for (head, width) in heads {
            let _ = write!(text, " {head:>width$}");
        }
        text.push('\n');
        for told in &self.policies {
            let Told { gpu_hours, wasted_hours, cost, p50_ms, p99_ms, missed_p99_ms, .. } = told;
            let lost = told.counts.refused + told.counts.expired;
            let _ = writeln!(
                text,
                "{:<26} {gpu_hours:>10.2} {wasted_hours:>8.2} {cost:>10.2} {:>6.1}% {p50_ms:>9.1} {p99_ms:>10.1} \
                 {missed_p99_ms:>11.1} {:>12} {:>6} {lost:>8}",
                told.name,
                told.hit_ratio * 100.0,
                told.cold_starts,
                told.wakes,
            );
        }
        text
    }
}

impl Told {
    fn of(Ran { policy, outcome }: &Ran, price: f64) -> Self {
        let ms = |us: u64| us as f64 / 1e3;
        let quantile = |of: f64| ms(outcome.latency.value_at_quantile(of));
        let missed = |of: f64| ms(outcome.missed.value_at_quantile(of));
        Self {
            name: name(policy),
            scaling: policy.scaling.clone(),
            cached: policy.cached,
            counts: outcome.counts,
            hit_ratio: outcome.hit_ratio(),
            gpu_hours: outcome.gpu_hours(),
            wasted_hours: outcome.wasted_hours(),
            cost: outcome.gpu_hours() * price,
            p50_ms: quantile(0.5),
            p99_ms: quantile(0.99),
            missed_p50_ms: missed(0.5),
            missed_p99_ms: missed(0.99),
            cold_starts: outcome.starts,
            wakes: outcome.wakes,
            most_replicas: outcome.most_replicas,
            steps: outcome.steps.clone(),
        }
    }
}

fn name(policy: &Policy) -> String {
    match policy.scaling {
        Scaling::Always(replicas) => format!("{}, replicas: {replicas}", policy.name),
        _ => policy.name.clone(),
    }
}
