//! What backends computed and saved, by model: the counters of each enter, which begin anew whenever one comes; sums since this gate
//! began leave, and the compute time that a second takes.

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

/// What backends did since they were last seen.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Since {
    /// Seconds of compute time that a second took.
    pub(super) busy: f64,
    /// Something was answered. A backend that only missed a look has not.
    pub(super) has_answered: bool,
}

/// What a backend says of a model: all of it only grows.
#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    /// Costs, where it tells them: ours does.
    cost_us: u64,
    /// Time in the engine, counted for each request of a batch, and how often the model ran: Triton's.
    engine_us: u64,
    runs: u64,
    saved_us: u64,
    hits: u64,
    answered: u64,
    failed: u64,
}

impl Counts {
    /// Since then; one that is less has begun anew.
    fn since(self, last: Self) -> Self {
        let is_less = |count: fn(&Self) -> u64| count(&self) < count(&last);
        let begun_anew = is_less(|of| of.cost_us) || is_less(|of| of.engine_us) || is_less(|of| of.answered);
        if begun_anew {
            return self;
        }
        Self {
            cost_us: self.cost_us - last.cost_us,
            engine_us: self.engine_us - last.engine_us,
            runs: self.runs.saturating_sub(last.runs),
            saved_us: self.saved_us.saturating_sub(last.saved_us),
            hits: self.hits.saturating_sub(last.hits),
            answered: self.answered - last.answered,
            failed: self.failed.saturating_sub(last.failed),
        }
    }

    /// Compute time, each run once. Of a backend that tells no costs by the mean size of its batches.
    fn computed_us(self) -> u64 {
        if self.cost_us > 0 {
            return self.cost_us;
        }
        // It says nothing of runs, or each had one request at least.
        let requests = self.computed().max(self.runs);
        let runs = if self.runs == 0 { requests } else { self.runs };
        (self.engine_us / requests).saturating_mul(runs)
    }

    /// Answers that no cache gave.
    fn computed(self) -> u64 {
        self.answered.saturating_sub(self.hits).max(1)
    }

    /// What one of those takes.
    fn mean_us(self) -> u64 {
        self.computed_us() / self.computed()
    }
}

/// The counts of a backend by model, and whether it is one of ours.
fn counts(metrics: &str) -> (HashMap<String, Counts>, bool) {
    let (mut models, mut is_ours) = (HashMap::<String, Counts>::new(), false);
    for line in text::lines(metrics) {
        is_ours |= line.name == "forebay_build_info";
        let field = |counts: &mut Counts| match line.name {
            "forebay_computed_us" => counts.cost_us += line.count(),
            "nv_inference_compute_infer_duration_us" => counts.engine_us += line.count(),
            "nv_inference_exec_count" => counts.runs += line.count(),
            "forebay_saved_us" => counts.saved_us += line.count(),
            "nv_cache_num_hits_per_model" => counts.hits += line.count(),
            "nv_inference_request_success" => counts.answered += line.count(),
            "nv_inference_request_failure" => counts.failed += line.count(),
            _ => {}
        };
        let model = line.label("model");
        let has_room = models.len() < MOST_MODELS;
        if let Some(counts) = models.get_mut(model) {
            field(counts);
        } else if !model.is_empty() {
            field(models.entry(if has_room { model } else { OTHER }.to_owned()).or_default());
        }
    }
    (models, is_ours)
}

impl Looks {
    /// Adds what backends say now; leaves what each did since it was last seen. How busy one was is known of those that were seen before.
    pub(super) fn add(&mut self, work: &mut Work, said: &[(IpAddr, String)], now: Instant) -> Since {
        work.backends = said.len();
        // What was there before this gate is nothing that it saw.
        let is_first = !std::mem::replace(&mut self.has_looked, true);
        self.last.retain(|_, (seen, _)| now.duration_since(*seen) < REMEMBERED);
        let mut all = Since::default();
        for (address, metrics) in said {
            let (counts, is_ours) = counts(metrics);
            let last = self.last.remove(address);
            let mut computed_us: u64 = 0;
            for (model, counts) in &counts {
                let before = last.as_ref().and_then(|(_, last)| last.get(model)).copied();
                let before = before.unwrap_or(if is_first { *counts } else { Counts::default() });
                let grown = counts.since(before);
                computed_us = computed_us.saturating_add(grown.computed_us());
                all.has_answered |= grown.answered > 0 || grown.failed > 0;
                work.add(model, grown, if is_ours { 0 } else { counts.mean_us() });
            }
            if let Some((seen, _)) = last {
                let since = now.duration_since(seen).as_secs_f64().max(0.001);
                all.busy += Duration::from_micros(computed_us).as_secs_f64() / since;
            }
            if self.last.len() < MOST_BACKENDS {
                self.last.insert(*address, (now, counts));
            }
        }
        all
    }
}

impl Work {
    fn add(&mut self, model: &str, grown: Counts, others_mean_us: u64) {
        let has_room = self.models.len() < MOST_MODELS || self.models.contains_key(model);
        let of = self.models.entry(if has_room { model } else { OTHER }.to_owned()).or_default();
        of.computed_us = of.computed_us.saturating_add(grown.computed_us());
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
        let time =
            if build == OURS { "forebay_computed_us" } else { "nv_inference_compute_infer_duration_us" };
        let text = format!(
            "{build}{time}{{model=\"m\",version=\"1\"}} {computed}\n\
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
    fn a_batch_of_a_backend_that_tells_no_costs_is_one_run() {
        let (mut looks, mut work, now) = (Looks::default(), Work::default(), Instant::now());
        looks.add(&mut work, &[], now);
        let mut told = said("", 8000, 12, 4, 0);
        told[0].1 += "nv_inference_exec_count{model=\"m\"} 2\n";
        looks.add(&mut work, &told, now);
        assert_eq!(
            work.models["m"].computed_us, 2000,
            "two runs of four requests each, which waited 1000 us each"
        );
        assert_eq!(work.models["m"].others_saved_us, 4 * 250);
    }

    #[test]
    fn a_backend_that_missed_a_look_has_answered_nothing_by_that() {
        let (mut looks, mut work, now) = (Looks::default(), Work::default(), Instant::now());
        let told = said(OURS, 1000, 10, 0, 0);
        let mut answers = |said: &[(IpAddr, String)]| looks.add(&mut work, said, now).has_answered;
        assert!(!answers(&told), "what was there before");
        assert!(!answers(&[]) && !answers(&told), "it is back");
        assert!(answers(&said(OURS, 1100, 11, 0, 0)));
    }

    #[test]
    fn a_backend_is_busy_by_what_it_computed_since_it_was_seen_itself() {
        let (mut looks, mut work, start) = (Looks::default(), Work::default(), Instant::now());
        let seconds = |seconds: u64| start + Duration::from_secs(seconds);
        let mut busy = |computed: Option<u64>, at: u64| {
            let said = computed.map(|computed| said(OURS, computed, 1, 0, 0)).unwrap_or_default();
            Duration::from_secs_f64(looks.add(&mut work, &said, seconds(at)).busy).as_millis()
        };
        assert_eq!((busy(Some(900_000_000), 0), busy(Some(901_000_000), 2)), (0, 500));
        assert_eq!((busy(None, 4), busy(Some(903_000_000), 6)), (0, 500), "one look late is no burst");
        assert_eq!(busy(Some(1_000_000), 8), 500, "it began anew");
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
