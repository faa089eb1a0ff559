//! What proxies count and only they know: hits and the compute time that those saved, by service and model. Reports enter, each
//! once; sums leave as counters.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use forebay_protocol::poll::{Poll, Saved};
use metrics::{Counter, counter};

/// Pairs of service and model that have counters of their own; what more come with is counted under [`OTHER`].
const MOST_MODELS: usize = 1000;
/// The longest name that is a label.
const LONGEST_NAME: usize = 256;
const OTHER: &str = "(other)";
/// VMs whose last reports are remembered, and for how long after they were heard of.
const VMS: (usize, Duration) = (65_536, Duration::from_mins(10));

/// The sums.
#[derive(Default)]
pub(crate) struct Savings {
    sums: Mutex<Sums>,
}

#[derive(Default)]
struct Sums {
    counters: HashMap<(String, String), Model>,
    /// By proxy and VM: the number of the last report, and when it came.
    last: HashMap<(String, u64), (u64, Instant)>,
}

#[derive(Clone)]
struct Model {
    hits: Counter,
    saved_us: Counter,
}

impl Savings {
    /// Counts what a poll reports, unless it was counted before.
    pub(crate) fn count(&self, poll: &Poll) {
        if poll.report.saved.is_empty() {
            return;
        }
        let mut sums = self.lock();
        if !sums.is_new(poll, Instant::now()) {
            return;
        }
        for Saved { service, model, hits, cost_us } in &poll.report.saved {
            let model = sums.model(service, model);
            model.hits.increment(*hits);
            model.saved_us.increment(*cost_us);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Sums> {
        self.sums.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sums {
    fn is_new(&mut self, poll: &Poll, now: Instant) -> bool {
        let key = (poll.proxy.clone(), poll.vm);
        let (most, remembered) = VMS;
        if !self.last.contains_key(&key) && self.last.len() >= most {
            self.last.retain(|_, (_, at)| now.duration_since(*at) < remembered);
            if self.last.len() >= most {
                counter!("forebay_proxy_dropped_reports").increment(1);
                return false;
            }
        }
        let (last, at) = self.last.entry(key).or_insert((0, now));
        let is_new = poll.seq > *last;
        (*last, *at) = (poll.seq.max(*last), now);
        is_new
    }

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
    use forebay_protocol::poll::Report;

    use super::*;

    fn poll(vm: u64, seq: u64, model: &str) -> Poll {
        let saved = vec![Saved { service: "s".into(), model: model.into(), hits: 1, cost_us: 10 }];
        let report = Report { saved, ..Report::default() };
        Poll { format: 2, proxy: "p".into(), vm, epoch: 0, proof: String::new(), wait_ms: 0, seq, report }
    }

    #[test]
    fn a_report_that_comes_again_is_counted_once() {
        let (mut sums, now) = (Sums::default(), Instant::now());
        let counted =
            [(1, 1), (1, 1), (2, 1), (1, 3), (1, 2)].map(|(vm, seq)| sums.is_new(&poll(vm, seq, "m"), now));
        assert_eq!(counted, [true, false, true, true, false]);
    }

    #[test]
    fn there_is_a_bound_on_models_and_on_vms() {
        let (mut sums, now) = (Sums::default(), Instant::now());
        for number in 0..2 * MOST_MODELS {
            sums.model("s", &number.to_string());
        }
        assert_eq!(sums.counters.len(), MOST_MODELS + 1);
        let vms = VMS.0 as u64;
        assert!((0..vms).all(|vm| sums.is_new(&poll(vm, 1, "m"), now)));
        assert!(!sums.is_new(&poll(vms, 1, "m"), now));
        assert!(sums.is_new(&poll(vms, 1, "m"), now + VMS.1));
        assert_eq!(sums.last.len(), 1);
    }
}
