//! A warm rollout: a version that computes otherwise than what was served takes requests only when it has computed again what its model
//! was asked lately, so that not all of it is asked of it at once. A model that was just loaded enters; its answers go to the pool, and
//! the surge that is left leaves. Next: `control` puts the model among those that are served, and a load is answered.
//!
//! What was asked comes from the recorder, as far as answers of that age are still given (the model's `max-age`): what is older would be
//! computed again without a rollout, too. The most valuable comes first (`candidates`), for no longer than it may take, by no more than a
//! share of a session's time (`pace`). It goes the way of any request, so that servers which come up side by side share the work.
//!
//! What is kept of it is fresh for a time by chance, up to what the model says: as what it takes the place of would have been, and so not
//! all of it is to be computed again at one moment later.

mod candidates;
mod pace;

use std::cell::RefCell;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream;
use metrics::{counter, gauge};
use tokio::runtime::Handle;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::infer::{Inference, Replayed};
use crate::models::control::Replays;
use crate::models::served::Model;
use crate::record::{self, Key};
use crate::settings::ReplayConfig;
use crate::time::clock::now_ms;
use candidates::{Candidate, Candidates};
use pace::Pace;

/// So many are asked at a time: enough for batches.
const AT_A_TIME: usize = 16;
/// What was computed is on its way to the pool for no longer than that before requests come.
const WRITTEN_WITHIN: Duration = Duration::from_secs(1);

/// Replays what was recorded.
pub(crate) struct Replay {
    config: ReplayConfig,
    inference: Inference,
    /// Models come one after another: the share is that of all.
    turn: Mutex<()>,
}

/// What came of it.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub(crate) struct Told {
    computed: usize,
    kept: usize,
    failed: usize,
    left: usize,
    /// Seconds of computing a second that what is left will cost at first; `None`: nothing was computed, so nobody knows.
    surge: Option<f64>,
}

impl Replay {
    /// By that inference, which records nothing of it.
    pub(crate) fn new(config: ReplayConfig, inference: &Inference) -> Self {
        let inference = Inference { recorder: None, bypass_quota: None, ..inference.clone() };
        Self { config, inference, turn: Mutex::new(()) }
    }
}

impl Replays for Replay {
    fn replay(
        &self,
        name: &str,
        model: &Model,
        before: Option<&Model>,
        stop: &CancellationToken,
    ) -> Option<f64> {
        let until = Instant::now() + self.config.within;
        if !self.config.models.iter().any(|recorded| recorded == name) || self.inference.store.is_none() {
            return None;
        }
        let mut candidates = Candidates::of(model, before, self.config.bytes)?;
        let told = Handle::current().block_on(async {
            let _turn = tokio::time::timeout_at(until.into(), self.turn.lock()).await.ok()?;
            let window_s = self.read(name, &mut candidates, until, stop)?;
            Some(self.compute(candidates.ranked(), window_s, until, stop).await)
        });
        let Some(told) = told else {
            tracing::warn!(model = name, "nothing is replayed: there was no time for it, or no key");
            return None;
        };
        let Told { computed, kept, failed, left, surge } = told;
        for (outcome, requests) in
            [("computed", computed), ("kept", kept), ("failed", failed), ("left", left)]
        {
            counter!("forebay_replay_requests", "model" => name.to_owned(), "outcome" => outcome)
                .increment(requests as u64);
        }
        gauge!("forebay_replay_surge", "model" => name.to_owned()).set(surge.unwrap_or(f64::NAN));
        tracing::info!(model = name, computed, kept, failed, left, surge, "replayed what was recorded");
        surge
    }
}

impl Replay {
    /// Reads what was recorded, the newest segments first, and for no longer than half of the time. How many seconds it spans; `None`:
    /// it can't be read.
    fn read(
        &self,
        name: &str,
        candidates: &mut Candidates<'_>,
        until: Instant,
        stop: &CancellationToken,
    ) -> Option<f64> {
        let key = match Key::read("--record-key-file", &self.config.key_file) {
            Ok(key) => key,
            Err(error) => {
                tracing::error!(model = name, "what was recorded can't be read: {error}");
                return None;
            }
        };
        let (now, half) = (now_ms(), until.checked_sub(self.config.within / 2).unwrap_or(until));
        let since_ms = now.saturating_sub(candidates.longest_ms());
        let mut oldest_ms = now;
        for recorded in record::read(&self.config.folder, &key, name).newest(since_ms) {
            if stop.is_cancelled() || Instant::now() >= half {
                tracing::warn!(
                    model = name,
                    "not all is replayed: reading what was recorded took half of the time"
                );
                break;
            }
            match recorded {
                Ok(recorded) if recorded.time_ms >= since_ms => {
                    oldest_ms = oldest_ms.min(recorded.time_ms);
                    candidates.add(recorded, &self.inference.service, now);
                }
                Ok(_) => {}
                Err(error) if error.is_unfinished() => {}
                Err(error) => tracing::warn!(model = name, "not replayed: {error}"),
            }
        }
        Some(Duration::from_millis(now.saturating_sub(oldest_ms)).as_secs_f64())
    }

    async fn compute(
        &self,
        ranked: Vec<Candidate<'_>>,
        window_s: f64,
        until: Instant,
        stop: &CancellationToken,
    ) -> Told {
        let mut tally = RefCell::new(Tally::of(&ranked));
        let pace = Pace::new(self.config.share);
        let mut ranked = ranked.into_iter();
        let all = async {
            // What one costs is known after the first.
            if let Some(first) = ranked.next() {
                self.one(first, &pace, &tally).await;
            }
            let rest = stream::iter(ranked);
            rest.for_each_concurrent(AT_A_TIME, |candidate| self.one(candidate, &pace, &tally)).await;
        };
        tokio::select! {
            () = all => {}
            () = tokio::time::sleep_until(until.into()) => {}
            () = stop.cancelled() => {}
        }
        if let Some(store) = &self.inference.store {
            store.drain(WRITTEN_WITHIN).await;
        }
        tally.get_mut().told(window_s * self.config.recorded_share)
    }

    async fn one(&self, candidate: Candidate<'_>, pace: &Pace, tally: &RefCell<Tally>) {
        let begun = pace.begin().await;
        let (bytes, value) = (candidate.bytes(), candidate.value());
        let Candidate { version, request, max_age_s, .. } = candidate;
        let ttl = rand::random_range(1..=max_age_s.max(1));
        let replayed = self.inference.replay(version, request, ttl).await.ok();
        let cost_us =
            replayed.as_ref().filter(|replayed| replayed.is_computed).map_or(0, |replayed| replayed.cost_us);
        pace.end(begun, Duration::from_micros(cost_us));
        tally.borrow_mut().count(bytes, value, replayed);
    }
}

/// What came of those that were asked.
struct Tally {
    told: Told,
    /// Bytes that were asked, and what computing them costs.
    bytes: f64,
    cost_s: f64,
    /// Of those that are left.
    value: f64,
}

impl Tally {
    fn of(ranked: &[Candidate<'_>]) -> Self {
        let value = ranked.iter().map(Candidate::value).sum();
        Self { told: Told { left: ranked.len(), ..Told::default() }, bytes: 0.0, cost_s: 0.0, value }
    }

    fn count(&mut self, bytes: f64, value: f64, replayed: Option<Replayed>) {
        let Self { told, .. } = self;
        let Some(Replayed { cost_us, is_computed, is_kept }) = replayed else {
            // What is refused now will be later; what could not be computed now is to be expected again.
            told.failed += 1;
            return;
        };
        told.left -= 1;
        let outcome = if is_computed { &mut told.computed } else { &mut told.kept };
        *outcome += 1;
        self.bytes += bytes;
        self.cost_s += Duration::from_micros(cost_us).as_secs_f64();
        if is_kept {
            self.value -= value;
        }
    }

    /// `window_s`: seconds in which as much was asked as was recorded.
    fn told(&self, window_s: f64) -> Told {
        let Self { mut told, bytes, cost_s, value } = *self;
        told.left -= told.failed;
        // Values are whole numbers.
        told.surge = if value < 1.0 {
            Some(0.0)
        } else if bytes > 0.0 && window_s > 0.0 {
            Some(value * (cost_s / bytes) / window_s)
        } else {
            None
        };
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replayed(cost_ms: u64, is_computed: bool, is_kept: bool) -> Replayed {
        Replayed { cost_us: cost_ms * 1000, is_computed, is_kept }
    }

    /// Of requests that are worth ten bytes, each asked so often.
    fn tally(times: &[f64]) -> Tally {
        let value = times.iter().sum::<f64>() * 10.0;
        Tally { told: Told { left: times.len(), ..Told::default() }, bytes: 0.0, cost_s: 0.0, value }
    }

    #[test]
    fn the_surge_is_what_is_left_at_the_cost_of_what_was_asked() {
        let mut tally = tally(&[5.0, 3.0, 2.0, 1.0]);
        tally.count(10.0, 50.0, Some(replayed(10, true, true)));
        tally.count(10.0, 30.0, Some(replayed(30, false, true)));
        tally.count(10.0, 20.0, None);
        // One that was asked twice and one that was asked once in ten seconds, at 20 ms.
        let told = tally.told(10.0);
        assert_eq!((told.computed, told.kept, told.failed, told.left), (1, 1, 1, 1));
        assert!((told.surge.unwrap() - 3.0 * 0.02 / 10.0).abs() < 1e-9, "{told:?}");
    }

    #[test]
    fn what_was_computed_and_is_not_kept_is_left() {
        let mut tally = tally(&[4.0]);
        tally.count(10.0, 40.0, Some(replayed(10, true, false)));
        assert_eq!(tally.told(1.0).surge, Some(0.04));
    }

    #[test]
    fn where_nothing_was_computed_nobody_knows_and_where_nothing_was_asked_nothing_is_left() {
        assert_eq!(tally(&[1.0]).told(1.0).surge, None);
        assert_eq!(tally(&[]).told(0.0).surge, Some(0.0));
    }
}
