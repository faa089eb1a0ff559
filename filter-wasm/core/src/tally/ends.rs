//! What became of requests, and why, and how long their answers took. Each enters once; sums leave with a report.

use crate::counters::Result;
use forebay_protocol::poll::{End, LATENCY_MS, Latency, MAX_ROWS, Tier};
use std::collections::HashMap;

/// Sums between two reports: more services than that have none of those that come last.
const MOST_ENDS: usize = MAX_ROWS / 8;
/// Steps of a latency.
const STEPS: usize = LATENCY_MS.len() + 1;

/// Sums since the last report.
#[derive(Debug, Default)]
pub struct Ends {
    counts: HashMap<(u16, Result, &'static str), u64>,
    latency: HashMap<Tier, [u64; STEPS]>,
}

impl Ends {
    /// A request of that service came to that, and why.
    pub fn count(&mut self, service: u16, result: Result, why: &'static str) {
        let end = (service, result, why);
        if self.counts.len() < MOST_ENDS || self.counts.contains_key(&end) {
            let count = self.counts.entry(end).or_default();
            *count = count.saturating_add(1);
        }
    }

    /// An answer of that tier took so long.
    pub fn took(&mut self, tier: Tier, ms: u64) {
        let step = LATENCY_MS.iter().position(|bound| ms <= *bound).unwrap_or(LATENCY_MS.len());
        if let Some(count) = self.latency.entry(tier).or_default().get_mut(step) {
            *count = count.saturating_add(1);
        }
    }

    /// Is there nothing to say?
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty() && self.latency.is_empty()
    }

    /// The sums, which begin anew. `name` is a service's.
    pub fn take(&mut self, name: impl Fn(u16) -> String) -> (Vec<End>, Vec<Latency>) {
        let end = |((service, result, why), count): ((u16, Result, &str), u64)| End {
            service: name(service),
            result: result.text().to_owned(),
            reason: why.to_owned(),
            count,
        };
        let latency = |(tier, counts): (Tier, [u64; STEPS])| Latency { tier, counts: counts.to_vec() };
        let ends = std::mem::take(&mut self.counts).into_iter().map(end).collect();
        (ends, std::mem::take(&mut self.latency).into_iter().map(latency).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_summed_by_what_became_of_them_and_why_and_latencies_by_step() {
        let mut ends = Ends::default();
        for (result, why) in [(Result::Miss, "stale"), (Result::Miss, "stale"), (Result::Bypass, "no-store")]
        {
            ends.count(0, result, why);
        }
        for ms in [0, 1, 2, 30_000, 30_001] {
            ends.took(Tier::L2, ms);
        }
        let (mut said, latency) = ends.take(|_| "demo".to_owned());
        said.sort_unstable_by(|a, b| a.result.cmp(&b.result));
        let end = |result: &str, reason: &str, count| End {
            service: "demo".into(),
            result: result.into(),
            reason: reason.into(),
            count,
        };
        assert_eq!(said, [end("bypass", "no-store", 1), end("miss", "stale", 2)]);
        let counts = vec![2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1];
        assert_eq!(latency, [Latency { tier: Tier::L2, counts }]);
        assert!(ends.is_empty());
    }

    #[test]
    fn services_without_number_do_not_fill_it() {
        let mut ends = Ends::default();
        for service in 0..2000 {
            ends.count(service, Result::Miss, "miss");
        }
        ends.count(0, Result::Miss, "miss");
        let (said, _) = ends.take(|number| number.to_string());
        assert_eq!(said.len(), MOST_ENDS);
        assert!(said.iter().any(|end| end.service == "0" && end.count == 2));
    }
}
