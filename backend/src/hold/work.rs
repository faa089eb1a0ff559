//! What backends computed and saved, by model: the counters of each enter, which begin anew whenever one comes; sums since this gate
//! began leave.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::observe::metrics::text;

/// Models that have sums of their own; more are summed up under [`OTHER`].
const MOST_MODELS: usize = 1000;
const OTHER: &str = "(other)";
/// Backends whose counters are remembered, and for how long after they were last seen: one that is back by then goes on.
const MOST_BACKENDS: usize = 256;
const REMEMBERED: Duration = Duration::from_mins(10);

/// Sums of a model, in microseconds and requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ModelWork {
    pub(crate) computed_us: u64,
    /// By the pool that servers share with proxies, and by joining equal requests.
    pub(crate) saved_us: u64,
    /// By a cache of the backends' own, such as Triton's: as many hits times what one answer took.
    pub(crate) others_saved_us: u64,
    pub(crate) answered: u64,
    pub(crate) failed: u64,
}

/// The sums.
#[derive(Debug, Clone, Default)]
pub(crate) struct Work {
    /// Backends that answered at the last look.
    pub(crate) backends: usize,
    pub(crate) models: BTreeMap<String, ModelWork>,
}

/// What each backend said last.
#[derive(Default)]
pub(super) struct Looks {
    last: HashMap<IpAddr, (Instant, HashMap<String, Counts>)>,
    has_looked: bool,
}

/// What a backend says of a model: all of it only grows.
#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    computed_us: u64,
    saved_us: u64,
    hits: u64,
    answered: u64,
    failed: u64,
}

impl Counts {
    /// Since then; one that is less has begun anew.
    fn since(self, last: Self) -> Self {
        let begun_anew = self.computed_us < last.computed_us || self.answered < last.answered;
        if begun_anew {
            return self;
        }
        Self {
            computed_us: self.computed_us - last.computed_us,
            saved_us: self.saved_us.saturating_sub(last.saved_us),
            hits: self.hits.saturating_sub(last.hits),
            answered: self.answered - last.answered,
            failed: self.failed.saturating_sub(last.failed),
        }
    }

    /// What an answer takes that no cache gave.
    fn mean_us(self) -> u64 {
        self.computed_us / self.answered.saturating_sub(self.hits).max(1)
    }
}

/// The counts of a backend by model, and whether it is one of ours.
fn counts(metrics: &str) -> (HashMap<String, Counts>, bool) {
    let (mut models, mut is_ours) = (HashMap::<String, Counts>::new(), false);
    for line in text::lines(metrics) {
        is_ours |= line.name == "forebay_build_info";
        let field = |counts: &mut Counts| match line.name {
            "nv_inference_compute_infer_duration_us" => counts.computed_us += line.count(),
            "forebay_saved_us" => counts.saved_us += line.count(),
            "nv_cache_num_hits_per_model" => counts.hits += line.count(),
            "nv_inference_request_success" => counts.answered += line.count(),
            "nv_inference_request_failure" => counts.failed += line.count(),
            _ => {}
        };
        let model = line.label("model");
        if let Some(counts) = models.get_mut(model) {
            field(counts);
        } else if !model.is_empty() && models.len() < MOST_MODELS {
            field(models.entry(model.to_owned()).or_default());
        }
    }
    (models, is_ours)
}

impl Looks {
    /// Adds what backends say now.
    pub(super) fn add(&mut self, work: &mut Work, said: &[(IpAddr, String)], now: Instant) {
        work.backends = said.len();
        // What was there before this gate is nothing that it saw.
        let is_first = !std::mem::replace(&mut self.has_looked, true);
        self.last.retain(|_, (seen, _)| now.duration_since(*seen) < REMEMBERED);
        for (address, metrics) in said {
            let (counts, is_ours) = counts(metrics);
            let last = self.last.remove(address).map(|(_, last)| last);
            for (model, counts) in &counts {
                let before = last.as_ref().and_then(|last| last.get(model)).copied();
                let before = before.unwrap_or(if is_first { *counts } else { Counts::default() });
                work.add(model, counts.since(before), if is_ours { 0 } else { counts.mean_us() });
            }
            if self.last.len() < MOST_BACKENDS {
                self.last.insert(*address, (now, counts));
            }
        }
    }
}

impl Work {
    fn add(&mut self, model: &str, grown: Counts, others_mean_us: u64) {
        let has_room = self.models.len() < MOST_MODELS || self.models.contains_key(model);
        let of = self.models.entry(if has_room { model } else { OTHER }.to_owned()).or_default();
        of.computed_us = of.computed_us.saturating_add(grown.computed_us);
        of.saved_us = of.saved_us.saturating_add(grown.saved_us);
        of.others_saved_us = of.others_saved_us.saturating_add(grown.hits.saturating_mul(others_mean_us));
        of.answered = of.answered.saturating_add(grown.answered);
        of.failed = of.failed.saturating_add(grown.failed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn said(build: &str, computed: u64, answered: u64, hits: u64, saved: u64) -> Vec<(IpAddr, String)> {
        let text = format!(
            "{build}nv_inference_compute_infer_duration_us{{model=\"m\",version=\"1\"}} {computed}\n\
             nv_inference_request_success{{model=\"m\",version=\"1\"}} {answered}\n\
             nv_cache_num_hits_per_model{{model=\"m\",version=\"1\"}} {hits}\n\
             forebay_saved_us{{model=\"m\",version=\"1\"}} {saved}\n"
        );
        vec![(HERE, text)]
    }

    const OURS: &str = "forebay_build_info{version=\"1\"} 1\n";

    #[test]
    fn what_was_there_before_the_gate_is_not_counted_and_a_backend_that_begins_anew_goes_on() {
        let (mut looks, mut work, now) = (Looks::default(), Work::default(), Instant::now());
        looks.add(&mut work, &said(OURS, 1000, 10, 5, 500), now);
        assert_eq!(work.models["m"], ModelWork::default());
        looks.add(&mut work, &said(OURS, 1500, 15, 7, 700), now);
        looks.add(&mut work, &[], now + Duration::from_mins(1));
        assert_eq!(work.backends, 0);
        looks.add(&mut work, &said(OURS, 1600, 16, 8, 800), now + Duration::from_secs(61));
        let expected = ModelWork { computed_us: 600, saved_us: 300, answered: 6, ..ModelWork::default() };
        assert_eq!(work.models["m"], expected, "the same one, which was away for a while");
        looks.add(&mut work, &said(OURS, 50, 1, 0, 0), now + Duration::from_secs(62));
        let expected = ModelWork { computed_us: 650, saved_us: 300, answered: 7, ..ModelWork::default() };
        assert_eq!(work.models["m"], expected, "another one at its address");
    }

    #[test]
    fn what_a_cache_of_the_backends_own_saves_is_not_ours() {
        let (mut looks, mut work, now) = (Looks::default(), Work::default(), Instant::now());
        looks.add(&mut work, &[], now);
        looks.add(&mut work, &said("", 1000, 30, 10, 0), now);
        let of = work.models["m"];
        assert_eq!((of.saved_us, of.others_saved_us), (0, 500), "ten hits, and an answer takes 50 us");
    }

    #[test]
    fn there_is_a_bound_on_models_and_on_backends() {
        let (mut looks, mut work, now) = (Looks::default(), Work::default(), Instant::now());
        looks.add(&mut work, &[], now);
        let line = |model: usize| format!("nv_inference_request_success{{model=\"{model}\"}} 1\n");
        for (backend, last) in (0..MOST_BACKENDS + 9).zip(1_u32..) {
            let text: String = (0..10).map(|model| line(backend * 10 + model)).collect();
            looks.add(&mut work, &[(IpAddr::from(last.to_be_bytes()), text)], now);
        }
        assert_eq!((work.models.len(), looks.last.len()), (MOST_MODELS + 1, MOST_BACKENDS));
    }
}
