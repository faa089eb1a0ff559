//! What the page shows, as JSON: sums since this gate began, the last minutes step by step, and how it is now. However many models there
//! are, it has a bound: the dearest are named.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde::Serialize;

use super::figures::{Saved, quantile, since};
use super::history::{History, Moment, SavedUs};
use super::{Held, LOOK, Ui};
use crate::hold::HoldTold;

/// Of the JSON.
const FORMAT: u32 = 1;
/// Models that are named.
const MOST_MODELS: usize = 50;
/// Ends of requests that are named, and services.
const MOST_ENDS: usize = 100;
const MOST_SERVICES: usize = 50;

#[derive(Serialize)]
pub(super) struct State {
    format: u32,
    version: &'static str,
    now_ms: u64,
    /// Of a GPU hour.
    price: Option<f64>,
    /// Seconds between two steps of the history.
    step_s: u64,
    saved_us: SavedUs,
    computed_us: u64,
    ends: Vec<End>,
    more_ends: usize,
    latency: Vec<Latency>,
    models: Vec<ModelLine>,
    more_models: usize,
    replicas: BTreeMap<String, u64>,
    more_services: usize,
    proxies: u64,
    proxies_behind: u64,
    hold: Option<Hold>,
    history: Course,
}

/// Requests of a service that came to the same.
#[derive(Serialize)]
struct End {
    service: String,
    result: String,
    reason: String,
    count: u64,
}

/// Of what answered, in the last minutes.
#[derive(Serialize)]
struct Latency {
    tier: String,
    count: u64,
    p50_ms: Option<f64>,
    p99_ms: Option<f64>,
}

#[derive(Serialize)]
struct ModelLine {
    service: String,
    model: String,
    hits: u64,
    /// By proxies and servers.
    saved_us: u64,
    /// By backends, where they are known.
    computed_us: u64,
    answered: u64,
    failed: u64,
}

#[derive(Serialize)]
struct Hold {
    service: String,
    /// Backends that answered at the last look.
    backends_heard: usize,
    hits: u64,
    collapsed: u64,
    refused: BTreeMap<String, u64>,
    #[serde(flatten)]
    told: HoldTold,
}

/// The last minutes, one value a step; rates are of the time since the step before.
#[derive(Serialize, Default)]
struct Course {
    at_ms: Vec<u64>,
    /// Requests a second that were looked up.
    looked_up: Vec<f64>,
    /// The part of them that was answered without a backend; none where nothing was looked up.
    hit_ratio: Vec<Option<f64>>,
    /// Seconds of compute time a second.
    saved: Vec<f64>,
    computed: Vec<f64>,
    held: Vec<u64>,
    replicas: Vec<u64>,
}

impl State {
    pub(super) fn of(ui: &Ui) -> Self {
        // Asked for outside of the lock, which looks take too.
        let told = ui.held.as_ref().map(|held| (held, held.handover.told()));
        let history = ui.lock();
        let figures = &history.figures;
        let mut ends: Vec<End> = figures.ends.iter().map(End::of).collect();
        ends.sort_by_key(|end| Reverse(end.count));
        let more_ends = cut(&mut ends, MOST_ENDS);
        let (models, more_models) = models(&history, ui.held.as_ref().map_or("", |held| &held.service));
        let services = figures.replicas.len();
        Self {
            format: FORMAT,
            version: env!("CARGO_PKG_VERSION"),
            now_ms: history.moments.back().map_or(0, |moment| moment.at_ms),
            price: ui.price,
            step_s: LOOK.as_secs(),
            saved_us: history.saved(),
            computed_us: history.computed_us(),
            ends,
            more_ends,
            latency: latency(&history),
            models,
            more_models,
            replicas: figures.replicas.clone().into_iter().take(MOST_SERVICES).collect(),
            more_services: services.saturating_sub(MOST_SERVICES),
            proxies: figures.proxies,
            proxies_behind: figures.proxies_behind,
            hold: told.map(|(held, told)| Hold::of(held, told, &history)),
            history: Course::of(history.moments.iter()),
        }
    }
}

impl End {
    fn of(((service, result, reason), count): (&(String, String, String), &u64)) -> Self {
        let [service, result, reason] = [service, result, reason].map(Clone::clone);
        Self { service, result, reason, count: *count }
    }
}

impl Hold {
    fn of(held: &Held, told: HoldTold, history: &History) -> Self {
        let of = &history.figures.hold;
        Self {
            service: held.service.clone(),
            backends_heard: history.work.backends,
            hits: of.hits,
            collapsed: of.collapsed,
            refused: of.refused.clone(),
            told,
        }
    }
}

/// Leaves so many; how many went.
fn cut<T>(all: &mut Vec<T>, most: usize) -> usize {
    let more = all.len().saturating_sub(most);
    all.truncate(most);
    more
}

/// What proxies saved and backends computed, the dearest first: by what was computed, and where that is not known by what was saved.
fn models(history: &History, service: &str) -> (Vec<ModelLine>, usize) {
    let mut models: BTreeMap<(&str, &str), ModelLine> = BTreeMap::new();
    let new = |service: &str, model: &str| {
        let (service, model) = (service.to_owned(), model.to_owned());
        ModelLine { service, model, hits: 0, saved_us: 0, computed_us: 0, answered: 0, failed: 0 }
    };
    for ((service, model), Saved { hits, saved_us }) in &history.figures.models {
        let of = models.entry((service, model)).or_insert_with(|| new(service, model));
        (of.hits, of.saved_us) = (*hits, *saved_us);
    }
    for (model, work) in &history.work.models {
        let of = models.entry((service, model)).or_insert_with(|| new(service, model));
        of.saved_us = of.saved_us.saturating_add(work.saved_us);
        (of.computed_us, of.answered, of.failed) = (work.computed_us, work.answered, work.failed);
    }
    let mut models: Vec<ModelLine> = models.into_values().collect();
    models.sort_by_key(|of| Reverse((of.computed_us, of.saved_us)));
    let more = cut(&mut models, MOST_MODELS);
    (models, more)
}

/// How long answers took in the minutes that are remembered.
fn latency(history: &History) -> Vec<Latency> {
    let first = history.moments.front();
    let all = history.figures.latency.iter().map(|(tier, steps)| {
        let steps = since(steps, first.and_then(|first| first.latency.get(tier)));
        let count = steps.last().map_or(0, |(_, count)| *count);
        Latency { tier: tier.clone(), count, p50_ms: quantile(&steps, 0.5), p99_ms: quantile(&steps, 0.99) }
    });
    all.collect()
}

impl Course {
    fn of<'a>(moments: impl Iterator<Item = &'a Moment> + Clone) -> Self {
        let mut course = Self::default();
        for (before, now) in moments.clone().zip(moments.skip(1)) {
            let seconds = now.at_ms.saturating_sub(before.at_ms).max(1) as f64 / 1e3;
            let rate = |of: fn(&Moment) -> u64| of(now).saturating_sub(of(before)) as f64 / seconds;
            let (looked_up, hits) = (rate(|moment| moment.looked_up), rate(|moment| moment.hits));
            course.at_ms.push(now.at_ms);
            course.looked_up.push(looked_up);
            course.hit_ratio.push((looked_up > 0.0).then(|| hits / looked_up));
            course.saved.push(rate(|moment| moment.saved.ours()) / 1e6);
            course.computed.push(rate(|moment| moment.computed_us) / 1e6);
            course.held.push(now.held);
            course.replicas.push(now.replicas);
        }
        course
    }
}

#[cfg(test)]
mod tests {
    use super::super::figures::Figures;
    use super::*;
    use crate::hold::Work;

    fn history(metrics: &str) -> History {
        let mut history = History::default();
        history.add(Figures::read(metrics), Work::default());
        history
    }

    #[test]
    fn of_many_models_the_dearest_are_named_and_how_many_more_there_are() {
        let line = |model: usize| {
            format!(
                "forebay_proxy_saved_us{{service=\"s\",model=\"{}\"}} {model}\n",
                "x".repeat(200) + &model.to_string()
            )
        };
        let mut history = history(&(0..10_000).map(line).collect::<String>());
        let (named, more) = models(&history, "s");
        assert_eq!((named.len(), more), (MOST_MODELS, 9950));
        assert!(named[0].model.ends_with("x9999") && named[49].model.ends_with("x9950"));
        history
            .work
            .models
            .insert("computed".to_owned(), crate::hold::ModelWork { computed_us: 1, ..Default::default() });
        let (named, _) = models(&history, "s");
        assert_eq!((&*named[0].model, &*named[0].service), ("computed", "s"), "what was computed costs");
        let json = serde_json::to_string(&named).unwrap();
        assert!(json.len() < 64 << 10, "{}", json.len());
    }

    #[test]
    fn the_course_is_told_in_rates_and_has_no_ratio_where_nothing_was_asked() {
        let moment = |at_ms, looked_up, hits, saved_us| Moment {
            at_ms,
            looked_up,
            hits,
            saved: SavedUs { proxies: saved_us, ..SavedUs::default() },
            computed_us: 0,
            held: 4,
            replicas: 1,
            latency: BTreeMap::new(),
        };
        let moments =
            [moment(0, 0, 0, 0), moment(5000, 20, 5, 10_000_000), moment(10_000, 20, 5, 10_000_000)];
        let course = Course::of(moments.iter());
        assert_eq!((course.looked_up, course.hit_ratio), (vec![4.0, 0.0], vec![Some(0.25), None]));
        assert_eq!(
            (course.saved, course.held, course.at_ms),
            (vec![2.0, 0.0], vec![4, 4], vec![5000, 10_000])
        );
    }

    #[test]
    fn latency_is_of_the_last_minutes() {
        let bucket = |le: &str, count: u64| {
            format!("forebay_proxy_latency_ms_bucket{{tier=\"l2\",le=\"{le}\"}} {count}\n")
        };
        let moment = |count| bucket("1", 100) + &bucket("2", count) + &bucket("+Inf", count);
        let mut history = history(&moment(100));
        history.add(Figures::read(&moment(110)), Work::default());
        let told = &latency(&history)[0];
        assert_eq!((&*told.tier, told.count, told.p50_ms), ("l2", 10, Some(1.5)));
    }
}
