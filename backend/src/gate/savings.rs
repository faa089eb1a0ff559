//! What proxies count and only they know: hits and the compute time that those saved, by service and model. Reports enter, each
//! once; sums leave as counters. What is traced beside them is checked with the poll, and dropped here.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use forebay_protocol::poll::{Poll, Saved};
use metrics::{Counter, counter};

use crate::live::{Fate, Reports};
use crate::pool::PoolError;

/// Pairs of service and model that have counters of their own; what more come with is counted under [`OTHER`].
const MOST_MODELS: usize = 1000;
/// The longest name that is a label.
const LONGEST_NAME: usize = 256;
const OTHER: &str = "(other)";
/// No proxy has more hits of a model between two reports.
const MOST_HITS: u64 = 1 << 32;
/// No answer costs more compute time, in microseconds: an hour.
const HIGHEST_COST: u64 = 3600 * 1_000_000;

/// The sums.
pub(crate) struct Savings {
    reports: Reports,
    sums: Mutex<Sums>,
}

#[derive(Default)]
struct Sums {
    counters: HashMap<(String, String), Model>,
}

#[derive(Clone)]
struct Model {
    hits: Counter,
    saved_us: Counter,
}

impl Savings {
    pub(crate) fn new(reports: Reports) -> Self {
        Self { reports, sums: Mutex::default() }
    }

    /// Counts what a poll reports, unless it was counted before.
    ///
    /// # Errors
    /// When nobody can say whether it was; the proxy sends it again.
    pub(crate) async fn count(&self, poll: &Poll) -> Result<(), PoolError> {
        if poll.report.saved.is_empty() {
            return Ok(());
        }
        match self.reports.fate(poll).await? {
            Fate::New => {}
            Fate::Known => return Ok(()),
            Fate::Dropped => {
                counter!("forebay_proxy_dropped_reports").increment(1);
                return Ok(());
            }
        }
        let mut sums = self.lock();
        for saved in &poll.report.saved {
            let model = sums.model(&saved.service, &saved.model);
            let (hits, saved_us) = bounded(saved);
            model.hits.increment(hits);
            model.saved_us.increment(saved_us);
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Sums> {
        self.sums.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Hits and compute time as they can be: counters that overflow begin anew, and nobody may make them.
fn bounded(saved: &Saved) -> (u64, u64) {
    let hits = saved.hits.min(MOST_HITS);
    (hits, saved.cost_us.min(hits.saturating_mul(HIGHEST_COST)))
}

impl Sums {
    fn model(&mut self, service: &str, model: &str) -> Model {
        let known = (service.to_owned(), model.to_owned());
        if let Some(model) = self.counters.get(&known) {
            return model.clone();
        }
        let fits = |name: &str| name.len() <= LONGEST_NAME && name != OTHER;
        let room = self.counters.len() < MOST_MODELS && fits(service) && fits(model);
        let (service, name) = if room { known } else { (OTHER.to_owned(), OTHER.to_owned()) };
        let labels = [("service", service.clone()), ("model", name.clone())];
        let model = || Model {
            hits: counter!("forebay_proxy_hits", &labels),
            saved_us: counter!("forebay_proxy_saved_us", &labels),
        };
        self.counters.entry((service, name)).or_insert_with(model).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_bound_on_models() {
        let mut sums = Sums::default();
        for number in 0..2 * MOST_MODELS {
            sums.model("s", &number.to_string());
        }
        assert_eq!(sums.counters.len(), MOST_MODELS + 1);
    }

    #[test]
    fn nobody_saves_more_than_there_can_be() {
        let saved = |hits, cost_us| Saved { service: "s".into(), model: "m".into(), hits, cost_us };
        assert_eq!(bounded(&saved(3, 700)), (3, 700));
        assert_eq!(bounded(&saved(0, 700)), (0, 0));
        assert_eq!(bounded(&saved(1, u64::MAX)), (1, HIGHEST_COST));
        let most = bounded(&saved(u64::MAX, u64::MAX));
        assert_eq!(most, (MOST_HITS, MOST_HITS * HIGHEST_COST));
    }
}
