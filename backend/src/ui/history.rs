//! Figures of one moment after another -> sums since this gate began, and those of the last minutes.

use std::collections::{BTreeMap, VecDeque};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::figures::{Figures, Saved, Steps};
use crate::hold::Work;

/// Moments that are remembered: a quarter of an hour.
const MOST: usize = 181;

/// Compute time that was saved, in microseconds, by who saved it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(super) struct SavedUs {
    /// Proxies, by what they had or the pool had for them.
    pub(super) proxies: u64,
    /// This gate, for those who came to be held.
    pub(super) gate: u64,
    /// Servers of ours.
    pub(super) servers: u64,
    /// Caches of backends that are not ours.
    pub(super) others: u64,
}

impl SavedUs {
    /// By Forebay.
    pub(super) fn ours(self) -> u64 {
        self.proxies.saturating_add(self.gate).saturating_add(self.servers)
    }
}

/// One moment.
#[derive(Debug, Clone)]
pub(super) struct Moment {
    pub(super) at_ms: u64,
    /// Requests in proxies that were looked up, and those of them that were answered without a backend.
    pub(super) looked_up: u64,
    pub(super) hits: u64,
    pub(super) saved: SavedUs,
    pub(super) computed_us: u64,
    pub(super) held: u64,
    pub(super) replicas: u64,
    pub(super) latency: BTreeMap<String, Steps>,
}

/// What is known.
#[derive(Default)]
pub(super) struct History {
    pub(super) figures: Figures,
    pub(super) work: Work,
    /// Hits of proxies: a model's own sums go with it.
    pub(super) proxies: Saved,
    pub(super) moments: VecDeque<Moment>,
}

/// Whether a request with that result was looked up: what passes by could not be a hit.
pub(super) fn is_looked_up(result: &str) -> bool {
    is_hit(result) || ["miss", "unsatisfiable"].contains(&result)
}

/// Whether a request with that result was answered without a backend for itself.
pub(super) fn is_hit(result: &str) -> bool {
    result.starts_with("hit_") || result == "collapsed"
}

impl History {
    pub(super) fn add(&mut self, figures: Figures, work: Work) {
        for (name, now) in &figures.models {
            let before = self.figures.models.get(name).copied().unwrap_or_default();
            self.proxies.hits += now.hits.saturating_sub(before.hits);
            self.proxies.saved_us += now.saved_us.saturating_sub(before.saved_us);
        }
        (self.figures, self.work) = (figures, work);
        let moment = self.moment();
        if self.moments.len() >= MOST {
            self.moments.pop_front();
        }
        self.moments.push_back(moment);
    }

    /// What was saved since this gate began.
    pub(super) fn saved(&self) -> SavedUs {
        let sum = |of: fn(&crate::hold::ModelWork) -> u64| self.work.models.values().map(of).sum();
        SavedUs {
            proxies: self.proxies.saved_us,
            gate: self.figures.hold.saved_us,
            servers: sum(|work| work.saved_us),
            others: sum(|work| work.others_saved_us),
        }
    }

    /// What backends computed since then.
    pub(super) fn computed_us(&self) -> u64 {
        self.work.models.values().map(|work| work.computed_us).sum()
    }

    fn moment(&self) -> Moment {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let sum = |is: fn(&str) -> bool| {
            let ends = self.figures.ends.iter().filter(|((_, result, _), _)| is(result));
            ends.map(|(_, count)| count).sum()
        };
        Moment {
            at_ms: u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
            looked_up: sum(is_looked_up),
            hits: sum(is_hit),
            saved: self.saved(),
            computed_us: self.computed_us(),
            held: self.figures.held,
            replicas: self.figures.replicas.values().sum(),
            latency: self.figures.latency.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(hits: u64) -> Figures {
        Figures::read(&format!(
            "forebay_proxy_hits{{service=\"s\",model=\"m\"}} {hits}\nforebay_proxy_saved_us{{service=\"s\",model=\"m\"}} {}\n",
            hits * 10
        ))
    }

    #[test]
    fn what_was_saved_stays_when_its_model_goes() {
        let mut history = History::default();
        for figures in [figures(3), figures(5), Figures::default(), figures(2)] {
            history.add(figures, Work::default());
        }
        assert_eq!((history.proxies.hits, history.saved().ours()), (7, 70));
        assert_eq!(
            history.moments.iter().map(|moment| moment.saved.proxies).collect::<Vec<_>>(),
            [30, 50, 50, 70]
        );
    }

    #[test]
    fn only_the_last_minutes_are_remembered() {
        let mut history = History::default();
        (0..2 * MOST).for_each(|_| history.add(Figures::default(), Work::default()));
        assert_eq!(history.moments.len(), MOST);
    }

    #[test]
    fn what_could_not_be_a_hit_is_no_part_of_the_ratio() {
        let results = ["hit_raw", "hit_l2", "collapsed", "miss", "unsatisfiable", "bypass", "(other)"];
        assert_eq!(results.map(is_looked_up), [true, true, true, true, true, false, false]);
        assert_eq!(results.map(is_hit), [true, true, true, false, false, false, false]);
    }
}
