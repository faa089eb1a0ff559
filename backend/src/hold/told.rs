//! Who waits, for which model and why, as people are told: by model, since who they are is nobody's business.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;

use super::asked::Model;
use super::backends::Backend;
use super::phase::{Phase, Wake, millis};

/// Models that are named; of the rest it is told how many there are.
const MOST_MODELS: usize = 50;
/// Letters of a name that are told: who asks chooses it.
const LONGEST_NAME: usize = 256;

/// Why requests wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Why {
    /// No backend is ready for anything.
    NoBackend,
    /// Backends are there, and none is ready for this model.
    NotReady,
    /// Those that are ready for it take no more now.
    Busy,
}

/// What is held.
#[derive(Debug, Serialize)]
pub(crate) struct HoldTold {
    phase: &'static str,
    /// For how long one has been wanted.
    waking_ms: Option<u64>,
    /// Backends by address, ready or not.
    backends: usize,
    requests: usize,
    bytes: usize,
    /// Those who wait for most first.
    models: Vec<Waiting>,
    more_models: usize,
    wakes: Vec<Wake>,
}

/// Those who wait for a model.
#[derive(Debug, Serialize)]
pub(super) struct Waiting {
    model: String,
    version: String,
    requests: usize,
    bytes: usize,
    tenants: usize,
    longest_ms: u64,
    why: Why,
}

/// Those of a tenant who wait for a model.
pub(super) struct Queue<'a> {
    pub(super) model: &'a Model,
    pub(super) requests: usize,
    pub(super) bytes: usize,
    /// Since when the first of them waits.
    pub(super) since: Instant,
}

/// What is known at a moment.
pub(super) struct Standing<'a> {
    pub(super) phase: Phase,
    pub(super) wakes: Vec<Wake>,
    pub(super) backends: &'a [Arc<Backend>],
    pub(super) now: Instant,
}

impl Standing<'_> {
    fn why(&self, model: &Model) -> Why {
        if self.phase != Phase::Awake {
            Why::NoBackend
        } else if self.backends.iter().any(|backend| backend.is_ready(model, self.now)) {
            Why::Busy
        } else {
            Why::NotReady
        }
    }

    /// All of it.
    pub(super) fn tell<'a>(self, queues: impl Iterator<Item = Queue<'a>>) -> HoldTold {
        let mut by_model: BTreeMap<(&str, &str), Waiting> = BTreeMap::new();
        for Queue { model, requests, bytes, since } in queues {
            let of = by_model.entry((&model.name, &model.version)).or_insert_with(|| Waiting {
                model: model.name.chars().take(LONGEST_NAME).collect(),
                version: model.version.chars().take(LONGEST_NAME).collect(),
                requests: 0,
                bytes: 0,
                tenants: 0,
                longest_ms: 0,
                why: self.why(model),
            });
            of.requests += requests;
            of.bytes += bytes;
            of.tenants += 1;
            of.longest_ms = of.longest_ms.max(millis(self.now.saturating_duration_since(since)));
        }
        let mut models: Vec<Waiting> = by_model.into_values().collect();
        let sum = |of: fn(&Waiting) -> usize| models.iter().map(of).sum::<usize>();
        let (requests, bytes) = (sum(|model| model.requests), sum(|model| model.bytes));
        models.sort_by_key(|model| std::cmp::Reverse(model.requests));
        let more_models = models.len().saturating_sub(MOST_MODELS);
        models.truncate(MOST_MODELS);
        let (phase, waking_ms) = match self.phase {
            Phase::Asleep => ("asleep", None),
            Phase::Waking(since) => ("waking", Some(millis(self.now.saturating_duration_since(since)))),
            Phase::Awake => ("awake", None),
        };
        let (backends, wakes) = (self.backends.len(), self.wakes);
        HoldTold { phase, waking_ms, backends, requests, bytes, models, more_models, wakes }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn told(phase: Phase, queues: &[(Model, usize)], now: Instant) -> HoldTold {
        let standing = Standing { phase, wakes: Vec::new(), backends: &[], now };
        standing.tell(queues.iter().map(|(model, requests)| Queue {
            model,
            requests: *requests,
            bytes: 10 * requests,
            since: now.checked_sub(Duration::from_secs(*requests as u64)).unwrap(),
        }))
    }

    fn model(name: &str) -> Model {
        Model { name: name.to_owned(), version: String::new() }
    }

    #[test]
    fn those_of_all_tenants_who_wait_for_a_model_are_told_together() {
        let start = Instant::now() + Duration::from_secs(1000);
        let queues = [(model("a"), 2), (model("b"), 9), (model("a"), 3)];
        let told = told(Phase::Waking(start), &queues, start + Duration::from_secs(1));
        assert_eq!((told.phase, told.waking_ms), ("waking", Some(1000)));
        assert_eq!((told.requests, told.bytes), (14, 140));
        let lines: Vec<_> = told
            .models
            .iter()
            .map(|of| (&*of.model, of.requests, of.tenants, of.longest_ms, of.why))
            .collect();
        assert_eq!(lines, [("b", 9, 1, 9000, Why::NoBackend), ("a", 5, 2, 3000, Why::NoBackend)]);
    }

    #[test]
    fn where_backends_are_up_a_model_waits_because_none_is_ready_for_it() {
        let told = told(Phase::Awake, &[(model("a"), 1)], Instant::now() + Duration::from_secs(10));
        assert_eq!((told.phase, told.models[0].why), ("awake", Why::NotReady));
    }

    #[test]
    fn there_is_a_bound_on_models() {
        let name = |number: u32| number.to_string() + &"x".repeat(2 * LONGEST_NAME);
        let queues: Vec<_> = (0..10_000).map(|number| (model(&name(number)), 1)).collect();
        let told = told(Phase::Asleep, &queues, Instant::now() + Duration::from_secs(10));
        assert!(told.models.iter().all(|of| of.model.len() == LONGEST_NAME));
        assert_eq!((told.models.len(), told.more_models, told.requests), (50, 9950, 10_000));
    }
}
