//! What proxies count and only they know: hits and the compute time that those saved, by service and model, and what became of requests
//! (`ends`). Reports enter, each once; sums leave as counters. What is traced beside them goes to [`KeyTraces`], where traces are kept, and
//! is dropped elsewhere.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use forebay_protocol::poll::{Poll, Report, Saved};
use metrics::{Counter, counter};

use super::ends::Ends;
use super::key_trace::KeyTraces;
use super::spoken::Saving;
use crate::cache::live::{Fate, Registry, Uncounted};
use crate::cache::pool::PoolError;
use crate::observe::metrics::Series;
use crate::time::every::Every;

/// Pairs of service and model that have counters of their own; what more come with is counted under [`OTHER`].
const MOST_MODELS: usize = 1000;
/// The longest name that is a label.
const LONGEST_NAME: usize = 256;
pub(super) const OTHER: &str = "(other)";
/// For so long the sums of a model are told that is served no more: longer than any scrape waits, and than proxies keep reports.
const GONE: Duration = Duration::from_mins(10);
/// Between two looks for those.
const SWEEP: Duration = Duration::from_mins(1);
/// No proxy has more hits of a model between two reports.
const MOST_HITS: u64 = 1 << 32;
/// No answer costs more compute time, in microseconds: an hour.
const HIGHEST_COST: u64 = 3600 * 1_000_000;

/// The sums.
pub(crate) struct Savings {
    registry: Arc<dyn Registry>,
    sums: Mutex<Sums>,
    key_traces: Option<Arc<KeyTraces>>,
}

#[derive(Default)]
struct Sums {
    counters: HashMap<(String, String), Model>,
    ends: Ends,
    swept: Every,
}

struct Model {
    /// Hits and microseconds, for who asks for them here.
    total: (u64, u64),
    hits: Counter,
    saved_us: Counter,
    /// Where `/metrics` has them, for as long as this is.
    _series: Series,
    reported: Instant,
}

/// What a proxy reports.
pub(super) struct Reported {
    who: String,
    seq: u64,
    report: Report,
    /// The body, which is charged until it is counted.
    _held: Bytes,
}

impl Reported {
    /// Takes the report out of a poll, which may wait for long.
    pub(super) fn take(poll: &mut Poll, body: Bytes) -> Self {
        let report = std::mem::take(&mut poll.report);
        Self { who: format!("{} {}", poll.proxy, poll.vm), seq: poll.seq, report, _held: body }
    }
}

impl Savings {
    /// Those of a gate, and where traces are kept, the same for them.
    pub(crate) fn new(registry: Arc<dyn Registry>, key_traces: Option<Arc<KeyTraces>>) -> Self {
        Self { registry, sums: Mutex::default(), key_traces }
    }

    /// For how long an answer of a model is fresh: a trace says it.
    pub(super) fn learn(&self, service: &str, model: &str, max_age_s: u32) {
        if let Some(key_traces) = &self.key_traces {
            key_traces.learn(service, model, max_age_s);
        }
    }

    /// Counts a report, unless it was counted before; also if the proxy leaves meanwhile, for it is remembered as counted then.
    ///
    /// # Errors
    /// When nobody can say whether it was; the proxy sends it again.
    pub(super) async fn count(self: &Arc<Self>, reported: Reported) -> Result<(), Uncounted> {
        let Report { saved, ends, latency, trace, .. } = &reported.report;
        let counts_nothing = saved.is_empty() && ends.is_empty() && latency.is_empty();
        // Nobody has to remember what nobody counts.
        if counts_nothing && (trace.is_empty() || self.key_traces.is_none()) {
            return Ok(());
        }
        let savings = self.clone();
        Ok(tokio::spawn(async move { savings.count_once(reported).await }).await??)
    }

    async fn count_once(&self, reported: Reported) -> Result<(), PoolError> {
        let Reported { who, seq, report, _held } = reported;
        match self.registry.report(who, seq).await? {
            Fate::New => {
                let mut sums = self.lock();
                sums.count(&report.saved, Instant::now());
                sums.ends.count(&report.ends, &report.latency);
                drop(sums);
                if let Some(key_traces) = &self.key_traces {
                    key_traces.take(report.trace, report.trace_rate);
                }
            }
            Fate::Known => {}
            Fate::Dropped => counter!("forebay_proxy_dropped_reports").increment(1),
        }
        Ok(())
    }

    /// Takes away the sums of models that `is_gone` says of, and that nobody has reported for long; another model has their place.
    pub(crate) fn sweep(&self, now: Instant, is_gone: impl Fn(&str, &str) -> bool) {
        self.lock().sweep(now, is_gone);
    }

    /// What was reported to this gate, what saved most first.
    pub(super) fn saved(&self) -> Vec<Saving> {
        let saving = |((service, model), sums): (&(String, String), &Model)| Saving {
            service: service.clone(),
            model: model.clone(),
            hits: sums.total.0,
            saved_us: sums.total.1,
        };
        let mut saved: Vec<Saving> = self.lock().counters.iter().map(saving).collect();
        saved.sort_by(|a, b| b.saved_us.cmp(&a.saved_us).then_with(|| a.model.cmp(&b.model)));
        saved
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
    fn count(&mut self, saved: &[Saved], now: Instant) {
        for saved in saved {
            let model = self.model(&saved.service, &saved.model, now);
            let (hits, saved_us) = bounded(saved);
            model.total = (model.total.0.saturating_add(hits), model.total.1.saturating_add(saved_us));
            model.hits.increment(hits);
            model.saved_us.increment(saved_us);
        }
    }

    fn model(&mut self, service: &str, model: &str, now: Instant) -> &mut Model {
        let known = (service.to_owned(), model.to_owned());
        let fits = |name: &str| name.len() <= LONGEST_NAME && name != OTHER;
        let room = self.counters.len() < MOST_MODELS && fits(service) && fits(model);
        let other = || (OTHER.to_owned(), OTHER.to_owned());
        let name = if room || self.counters.contains_key(&known) { known } else { other() };
        let model = self.counters.entry(name).or_insert_with_key(|(service, name)| {
            // Apart from the series of versions, which are by model and version.
            let series = Series::of(&format!("hits of {service}"), name);
            let labels = [("service", service.clone()), ("model", name.clone())];
            let count = |name: &'static str| series.count(|| counter!(name, &labels));
            let (hits, saved_us) = (count("forebay_proxy_hits"), count("forebay_proxy_saved_us"));
            Model { total: (0, 0), hits, saved_us, _series: series, reported: now }
        });
        model.reported = now;
        model
    }

    fn sweep(&mut self, now: Instant, is_gone: impl Fn(&str, &str) -> bool) {
        if !self.swept.is_due(SWEEP, now) {
            return;
        }
        self.counters.retain(|(service, model), sums| {
            service == OTHER || now.duration_since(sums.reported) < GONE || !is_gone(service, model)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_bound_on_models() {
        let mut sums = Sums::default();
        for number in 0..2 * MOST_MODELS {
            sums.model("bound", &number.to_string(), Instant::now());
        }
        assert_eq!(sums.counters.len(), MOST_MODELS + 1);
    }

    #[test]
    fn sums_go_some_time_after_their_model_and_make_room() {
        let (mut sums, start) = (Sums::default(), Instant::now());
        let told = |model: &str| {
            let label = format!("forebay_proxy_hits{{service=\"goes\",model=\"{model}\"}} 1");
            crate::observe::metrics::series().contains(&label)
        };
        for model in ["live", "gone"] {
            sums.model("goes", model, start).hits.increment(1);
        }
        let is_gone = |_: &str, model: &str| model == "gone";
        sums.sweep(start + GONE / 2, is_gone);
        assert!(told("live") && told("gone"), "a scrape may not have seen it");
        sums.sweep(start + GONE, is_gone);
        assert!(told("live") && !told("gone"));
        assert_eq!(sums.counters.len(), 1);
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
