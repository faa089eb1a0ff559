//! A day that is made up: numbers that say what it is like enter; models and records leave, in the order of time, the same for the same
//! seed. Requests come as Poisson's law has it at each minute's rate; keys by Zipf's law of those that come again, and once for the
//! rest; an answer's cost and size go with its key.

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use rand_distr::{Distribution as _, Exp1, LogNormal, Zipf};
use serde::Serialize;

use crate::tier::mixed;
use crate::trace::{Model, Record, What};

const MINUTE_US: u64 = 60_000_000;
const HOUR_US: u64 = 60 * MINUTE_US;
/// Ways of one seed to chance.
const BURSTS: u64 = 1;
const ROLLOUTS: u64 = 2;
const COST: u64 = 3;
const PHASE: u64 = 4;

/// What a day is like.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Day {
    /// Decides all that is left to chance.
    pub seed: u64,
    /// Hours of it.
    pub hours: u32,
    /// Requests, on average.
    pub requests: u64,
    /// Models; the first is asked most, by Zipf's law.
    pub models: u32,
    /// Keys of each model that come again.
    pub keys: u64,
    /// Zipf's exponent of them.
    pub skew: f64,
    /// The share of requests that never come again.
    pub unique: f64,
    /// The busiest hour's rate by the quietest's; a day goes like a cosine.
    pub peak: f64,
    /// Bursts of the day: minutes in which more is asked.
    pub bursts: u32,
    /// How much more.
    pub burst_factor: f64,
    /// Minutes of one.
    pub burst_minutes: u32,
    /// The share of keys that others take the place of, each hour.
    pub shift: f64,
    /// Rollouts of each model.
    pub rollouts: u32,
    /// Compute time of an answer: the median, and sigma of its logarithm.
    pub cost_us: f64,
    /// Sigma of its logarithm.
    pub cost_spread: f64,
    /// Bytes of an answer.
    pub bytes: u32,
    /// Seconds for which answers are fresh.
    pub max_age_s: u32,
}

impl Default for Day {
    fn default() -> Self {
        Self {
            seed: 0,
            hours: 24,
            requests: 10_000_000,
            models: 8,
            keys: 100_000,
            skew: 1.0,
            unique: 0.2,
            peak: 6.0,
            bursts: 4,
            burst_factor: 4.0,
            burst_minutes: 10,
            shift: 0.02,
            rollouts: 1,
            cost_us: 20_000.0,
            cost_spread: 0.5,
            bytes: 2048,
            max_age_s: 3600,
        }
    }
}

/// A day that can't be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} is {is}; {wanted} may be")]
pub struct DayError {
    /// The number.
    pub what: &'static str,
    /// What it is.
    pub is: String,
    /// What would be right.
    pub wanted: &'static str,
}

impl Day {
    /// Its records.
    ///
    /// # Errors
    /// [`DayError`]: a number is out of bounds.
    pub fn records(&self) -> Result<Records, DayError> {
        self.check()?;
        let rates = self.rates();
        let zipf =
            |count: f64, skew| Zipf::new(count, skew).unwrap_or_else(|_| unreachable!("it is checked"));
        let cost = LogNormal::new(self.cost_us.ln(), self.cost_spread);
        Ok(Records {
            random: SmallRng::seed_from_u64(self.seed),
            now_us: 0.0,
            minute: 0,
            rates,
            rollouts: self.rollouts(),
            next: None,
            models: zipf(f64::from(self.models), 1.0),
            keys: zipf(self.keys as f64, self.skew),
            cost: cost.unwrap_or_else(|_| unreachable!("it is checked")),
            fresh: 0,
            day: self.clone(),
        })
    }

    /// Its models.
    pub fn models(&self) -> Vec<Model> {
        let model = |number| Model { name: format!("model-{number}"), max_age_s: Some(self.max_age_s) };
        (1..=self.models).map(model).collect()
    }

    fn check(&self) -> Result<(), DayError> {
        let check = |fits: bool, what, is: String, wanted| {
            if fits { Ok(()) } else { Err(DayError { what, is, wanted }) }
        };
        let within = |number: f64, least: f64, most: f64| number >= least && number <= most;
        let Self {
            hours, models, keys, skew, unique, peak, burst_factor, shift, cost_us, cost_spread, ..
        } = self;
        check((1..=24 * 365).contains(hours), "hours", hours.to_string(), "1 to 8760")?;
        check((1..=4096).contains(models), "models", models.to_string(), "1 to 4096")?;
        check(*keys >= 1 && *keys <= 1 << 40, "keys", keys.to_string(), "1 to 2^40")?;
        check(within(*skew, 0.0, 10.0), "skew", skew.to_string(), "0 to 10")?;
        check(within(*unique, 0.0, 1.0), "unique", unique.to_string(), "0 to 1")?;
        check(within(*peak, 1.0, 1e6), "peak", peak.to_string(), "1 to 1000000")?;
        check(within(*burst_factor, 1.0, 1e6), "burst factor", burst_factor.to_string(), "1 to 1000000")?;
        check(within(*shift, 0.0, 1.0), "shift", shift.to_string(), "0 to 1")?;
        check(within(*cost_us, 1.0, 1e9), "cost", cost_us.to_string(), "1 to 10^9 microseconds")?;
        check(within(*cost_spread, 0.0, 5.0), "cost spread", cost_spread.to_string(), "0 to 5")
    }

    /// Requests a microsecond, by minute, of which a day's sum is what it shall have.
    fn rates(&self) -> Vec<f64> {
        let minutes = self.hours * 60;
        let mut weights: Vec<f64> = (0..minutes)
            .map(|minute| {
                let turn = f64::from(minute) / (24.0 * 60.0) * std::f64::consts::TAU;
                1.0 + (self.peak - 1.0) * (1.0 - turn.cos()) / 2.0
            })
            .collect();
        let mut random = SmallRng::seed_from_u64(mixed(self.seed, BURSTS));
        for _ in 0..self.bursts {
            let start = random.random_range(0..minutes) as usize;
            for weight in weights.iter_mut().skip(start).take(self.burst_minutes as usize) {
                *weight *= self.burst_factor;
            }
        }
        let sum: f64 = weights.iter().sum();
        let of_all = self.requests as f64 / sum / MINUTE_US as f64;
        weights.iter().map(|weight| weight * of_all).collect()
    }

    /// When which model has another generation, the last first.
    fn rollouts(&self) -> Vec<(u64, u32)> {
        let mut random = SmallRng::seed_from_u64(mixed(self.seed, ROLLOUTS));
        let end_us = u64::from(self.hours) * HOUR_US;
        let of = (0..self.models).flat_map(|model| (0..self.rollouts).map(move |_| model));
        let mut rollouts: Vec<(u64, u32)> = of.map(|model| (random.random_range(0..end_us), model)).collect();
        rollouts.sort_unstable_by(|one, other| other.cmp(one));
        rollouts
    }
}

/// The records of a day.
#[derive(Debug)]
pub struct Records {
    day: Day,
    random: SmallRng,
    now_us: f64,
    minute: usize,
    rates: Vec<f64>,
    rollouts: Vec<(u64, u32)>,
    /// When the next request comes.
    next: Option<u64>,
    models: Zipf<f64>,
    keys: Zipf<f64>,
    cost: LogNormal<f64>,
    /// Keys that never came.
    fresh: u64,
}

impl Iterator for Records {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        let next = self.next.take().or_else(|| self.arrival());
        let rollout = self.rollouts.last().copied();
        match (next, rollout) {
            (next, Some((at_us, model))) if next.is_none_or(|next| at_us <= next) => {
                self.rollouts.pop();
                self.next = next;
                Some(Record { at_us, model, what: What::Rollout })
            }
            (Some(at_us), _) => Some(self.asked(at_us)),
            (None, _) => None,
        }
    }
}

impl Records {
    /// The time of the next request: gaps are exponential, and start anew at each minute's rate.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // microseconds of a day
    fn arrival(&mut self) -> Option<u64> {
        loop {
            let rate = *self.rates.get(self.minute)?;
            let gap: f64 = Exp1.sample(&mut self.random);
            let end = (self.minute as u64 + 1).saturating_mul(MINUTE_US) as f64;
            self.now_us += gap / rate;
            if self.now_us < end {
                return Some(self.now_us as u64);
            }
            self.now_us = end;
            self.minute += 1;
        }
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // ranks, and costs that are bounded
    fn asked(&mut self, at_us: u64) -> Record {
        let model = self.models.sample(&mut self.random) as u32 - 1;
        let key = if self.random.random_bool(self.day.unique) {
            self.fresh += 1;
            mixed(self.fresh, u64::MAX)
        } else {
            let rank = self.keys.sample(&mut self.random) as u64;
            mixed(rank, mixed(u64::from(model), self.turn(rank, at_us)))
        };
        // Of the key alone: equal requests cost the same.
        let mut own = SmallRng::seed_from_u64(mixed(key, COST ^ self.day.seed));
        let cost_us = self.cost.sample(&mut own).clamp(1.0, f64::from(u32::MAX)) as u32;
        Record { at_us, model, what: What::Asked { key, cost_us, bytes: self.day.bytes } }
    }

    /// How often another key has taken that rank: each hour that share of ranks, each rank at its own hours.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // hours
    fn turn(&self, rank: u64, at_us: u64) -> u64 {
        let phase = (mixed(rank, PHASE) >> 11) as f64 / (1_u64 << 53) as f64;
        ((at_us / HOUR_US) as f64 * self.day.shift + phase) as u64
    }
}

#[cfg(test)]
mod tests;
