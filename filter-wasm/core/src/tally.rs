//! What only the proxy knows: hits and the compute time that they saved, by service and model, what became of requests (`ends`), and
//! a trace of sampled keys. Each request's outcome enters; a report leaves with a poll, and is kept until the gate has it.

mod ends;

use crate::live::Said;
use ends::Ends;
use forebay_protocol::digest::Digest;
use forebay_protocol::poll::{MAX_ROWS, Report, Saved, Tier, Trace};
use forebay_protocol::tenant::Tenant;
use std::collections::HashMap;

/// Key context of the hash by which keys are sampled: the same in every proxy, so that a key is traced everywhere or nowhere.
const SAMPLE_CONTEXT: &str = "forebay 2026-11 keys of a trace v1";
/// Sums between two reports. With the longest names that, and the trace, is less than a poll may have.
const MOST_SUMS: usize = MAX_ROWS / 2;
/// Rows of trace between two reports, beyond which fewer keys are sampled.
const MOST_ROWS: usize = MAX_ROWS / 4;
/// Rows of trace in a report, below which more keys are sampled again.
const FEW_ROWS: usize = MOST_ROWS / 8;
/// Models with longer names are left out, in bytes.
const MAX_NAME_BYTES: usize = 128;
/// Longest between two reports of a worker that does not poll, in milliseconds.
const REPORT_MS: u64 = 10_000;

/// A request that was answered.
#[derive(Clone, Copy, Debug)]
pub struct Outcome<'a> {
    /// Number of the service.
    pub service: u16,
    /// The model's name.
    pub model: &'a str,
    /// Who may share it.
    pub tenant: Option<&'a Tenant>,
    /// What was asked; `None` when it was not parsed, and so is not traced.
    pub digest: Option<&'a Digest>,
    /// What answered.
    pub tier: Tier,
    /// Size of the answer, in bytes.
    pub bytes: usize,
    /// Its compute time, in microseconds.
    pub cost_us: u64,
    /// When.
    pub at_ms: u64,
}

/// One row of trace, before its service is named.
#[derive(Debug)]
struct Row {
    service: u16,
    hash: u32,
    trace: Trace,
}

/// The tally of one worker.
#[derive(Debug)]
pub struct Tally {
    /// Number of this VM.
    pub vm: u64,
    /// Hits and the time that they saved, by service and model.
    saved: HashMap<u16, HashMap<String, (u64, u64)>>,
    /// How many sums that is.
    sums: usize,
    /// What became of requests.
    pub ends: Ends,
    rows: Vec<Row>,
    /// Hashes keys, from the context on.
    sampler: blake3::Hasher,
    /// A key is sampled when its hash is below.
    rate: u32,
    seq: u64,
    /// The report that was sent and is not known to have arrived.
    sent: Option<Report>,
    reported_ms: u64,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            vm: 0,
            saved: HashMap::new(),
            sums: 0,
            ends: Ends::default(),
            rows: Vec::new(),
            sampler: blake3::Hasher::new_derive_key(SAMPLE_CONTEXT),
            rate: u32::MAX,
            seq: 0,
            sent: None,
            reported_ms: 0,
        }
    }
}

impl Tally {
    /// Counts a request.
    pub fn count(&mut self, outcome: Outcome<'_>) {
        if outcome.model.len() > MAX_NAME_BYTES {
            return;
        }
        if outcome.tier != Tier::Upstream {
            self.save(&outcome);
        }
        self.trace(&outcome);
    }

    fn save(&mut self, outcome: &Outcome<'_>) {
        let models = self.saved.entry(outcome.service).or_default();
        if let Some((hits, cost_us)) = models.get_mut(outcome.model) {
            *hits = hits.saturating_add(1);
            *cost_us = cost_us.saturating_add(outcome.cost_us);
        } else if self.sums < MOST_SUMS {
            // Names that nobody serves must not fill it: those that come too late are left out until the next report.
            models.insert(outcome.model.to_owned(), (1, outcome.cost_us));
            self.sums = self.sums.saturating_add(1);
        }
    }

    fn trace(&mut self, outcome: &Outcome<'_>) {
        let Some(digest) = outcome.digest else { return };
        let key = first_bytes(&self.sampler, &digest.0);
        let hash = u32::try_from(key >> 32).unwrap_or(u32::MAX);
        if hash >= self.rate {
            return;
        }
        let trace = Trace {
            at_ms: outcome.at_ms,
            service: String::new(),
            model: outcome.model.to_owned(),
            tenant: outcome.tenant.map_or(0, |tenant| first_bytes(&self.sampler, tenant.as_str().as_bytes())),
            key,
            bytes: outcome.bytes as u64,
            cost_us: outcome.cost_us,
            tier: outcome.tier,
        };
        self.rows.push(Row { service: outcome.service, hash, trace });
        while self.rows.len() >= MOST_ROWS && self.rate > 1 {
            self.rate /= 2;
            let rate = self.rate;
            self.rows.retain(|row| row.hash < rate);
        }
    }

    /// What to say with the next poll: the report before, if it may be lost, or what has happened since.
    pub fn say(&mut self, services: &[String], now_ms: u64) -> Said {
        self.reported_ms = now_ms;
        if self.sent.is_none() {
            let report = self.report(services);
            if !report.is_empty() {
                self.seq = self.seq.saturating_add(1);
                self.sent = Some(report);
            }
        }
        Said { vm: self.vm, seq: self.seq, report: self.sent.clone().unwrap_or_default() }
    }

    fn report(&mut self, services: &[String]) -> Report {
        let name = |service: u16| services.get(usize::from(service)).cloned().unwrap_or_default();
        self.sums = 0;
        let saved = std::mem::take(&mut self.saved).into_iter();
        let saved = saved.flat_map(|(service, models)| models.into_iter().map(move |model| (service, model)));
        let saved = saved.map(|(service, (model, (hits, cost_us)))| Saved {
            service: name(service),
            model,
            hits,
            cost_us,
        });
        let rows = std::mem::take(&mut self.rows);
        let trace_rate = self.rate;
        if rows.len() < FEW_ROWS {
            self.rate = self.rate.saturating_mul(2);
        }
        let trace = rows.into_iter().map(|row| Trace { service: name(row.service), ..row.trace });
        let (ends, latency) = self.ends.take(name);
        Report { saved: saved.collect(), ends, latency, trace: trace.collect(), trace_rate }
    }

    /// The gate has the report of that number.
    pub fn arrived(&mut self, seq: u64) {
        if seq == self.seq {
            self.sent = None;
        }
    }

    /// Is a report due from a worker that does not poll?
    pub fn is_due(&self, now_ms: u64) -> bool {
        let has_news = self.sent.is_some() || self.sums > 0 || !self.ends.is_empty() || !self.rows.is_empty();
        has_news && now_ms.abs_diff(self.reported_ms) >= REPORT_MS
    }
}

fn first_bytes(sampler: &blake3::Hasher, bytes: &[u8]) -> u64 {
    let hash = sampler.clone().update(bytes).finalize();
    hash.as_bytes().first_chunk::<8>().map_or(0, |first| u64::from_be_bytes(*first))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(digest: &Digest, tier: Tier) -> Outcome<'_> {
        Outcome {
            service: 0,
            model: "m",
            tenant: None,
            digest: Some(digest),
            tier,
            bytes: 10,
            cost_us: 7,
            at_ms: 1,
        }
    }

    fn services() -> Vec<String> {
        vec!["demo".to_owned()]
    }

    #[test]
    fn hits_are_summed_and_misses_are_traced_too() {
        let mut tally = Tally::default();
        let digest = Digest([1; 32]);
        for tier in [Tier::Raw, Tier::Vm, Tier::Upstream] {
            tally.count(outcome(&digest, tier));
        }
        let Said { seq, report, .. } = tally.say(&services(), 0);
        let saved = Saved { service: "demo".into(), model: "m".into(), hits: 2, cost_us: 14 };
        assert_eq!((seq, report.saved), (1, vec![saved]));
        let tiers: Vec<Tier> = report.trace.iter().map(|trace| trace.tier).collect();
        assert_eq!(tiers, [Tier::Raw, Tier::Vm, Tier::Upstream]);
        assert!(report.trace.iter().all(|trace| trace.service == "demo" && trace.key == report.trace[0].key));
    }

    #[test]
    fn a_report_is_said_again_until_it_has_arrived_and_then_never() {
        let mut tally = Tally::default();
        let digest = Digest([1; 32]);
        tally.count(outcome(&digest, Tier::Raw));
        let first = tally.say(&services(), 0);
        tally.count(outcome(&digest, Tier::Raw));
        let again = tally.say(&services(), 1);
        assert_eq!((again.seq, again.report), (first.seq, first.report));
        tally.arrived(1);
        let next = tally.say(&services(), 2);
        assert_eq!((next.seq, next.report.saved[0].hits), (2, 1));
        tally.arrived(2);
        assert!(tally.say(&services(), 3).report.is_empty());
        assert!(!tally.is_due(u64::MAX));
    }

    #[test]
    fn a_trace_is_bounded_and_holds_all_of_the_keys_that_it_holds() {
        let mut tally = Tally::default();
        for number in 0..20_000_u32 {
            let digest = Digest(*blake3::hash(&(number % 2000).to_le_bytes()).as_bytes());
            tally.count(outcome(&digest, Tier::Raw));
        }
        let report = tally.say(&services(), 0).report;
        assert!(report.trace.len() < MOST_ROWS && report.trace.len() > 10, "{}", report.trace.len());
        let mut times: HashMap<u64, usize> = HashMap::new();
        report.trace.iter().for_each(|trace| *times.entry(trace.key).or_default() += 1);
        assert!(times.values().all(|times| *times == 10), "{times:?}");
        assert!(times.keys().all(|key| key >> 32 < u64::from(report.trace_rate)));
    }

    #[test]
    fn names_that_nobody_serves_do_not_fill_it() {
        let mut tally = Tally::default();
        for number in 0..MOST_SUMS + 100 {
            let model = format!("m{number}");
            let digest = Digest([1; 32]);
            tally.count(Outcome { model: &model, digest: None, ..outcome(&digest, Tier::Raw) });
        }
        assert_eq!(tally.say(&services(), 0).report.saved.len(), MOST_SUMS);
    }
}
