//! What came of a day under one policy: counts, latencies, replica time, and how it went over the day.

use hdrhistogram::Histogram;
use serde::Serialize;

/// Digits of a latency.
const DIGITS: u8 = 3;

/// How requests ended; together they are all that were asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Counts {
    /// All.
    pub asked: u64,
    /// Answered by a proxy itself.
    pub l1: u64,
    /// Answered by the pool.
    pub pool: u64,
    /// Answered with an equal one that was under way.
    pub joined: u64,
    /// Computed.
    pub computed: u64,
    /// Refused: queues, or what the gate holds, were full.
    pub refused: u64,
    /// Held for as long as the gate holds one, and given up.
    pub expired: u64,
    /// Of all these, those that the gate held.
    pub held: u64,
}

/// A step of the day.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Step {
    /// Requests.
    pub asked: u64,
    /// Of them, those that only a replica could answer.
    pub missed: u64,
    /// Replicas, on average.
    pub replicas: f64,
}

/// What came of it all.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// How requests ended.
    pub counts: Counts,
    /// Until the last record, or the last answer if that is later.
    pub end_us: u64,
    /// Replica time, all together.
    pub replica_us: u128,
    /// Of it, time that was computed in: of all a replica's sessions, each its part.
    pub busy_us: f64,
    /// Compute time that was spent.
    pub compute_us: u128,
    /// Replicas that were started after the beginning.
    pub starts: u64,
    /// The most that there were at a time.
    pub most_replicas: u32,
    /// Times at which there was none, and one was woken.
    pub wakes: u64,
    /// Latencies of all that were answered, in microseconds.
    pub latency: Histogram<u64>,
    /// Of those that were not answered from a cache.
    pub missed: Histogram<u64>,
    /// How it went.
    pub steps: Vec<Step>,
    /// Sum of the times in which requests waited or were computed.
    pub inside_us: u128,
    /// Integral of how many of those there were.
    pub present_us: u128,
}

impl Outcome {
    pub(crate) fn new() -> Self {
        let histogram = || {
            Histogram::new_with_bounds(1, crate::trace::MOST_US, DIGITS)
                .unwrap_or_else(|_| unreachable!("the bounds are possible"))
        };
        Self {
            counts: Counts::default(),
            end_us: 0,
            replica_us: 0,
            busy_us: 0.0,
            compute_us: 0,
            starts: 0,
            most_replicas: 0,
            wakes: 0,
            latency: histogram(),
            missed: histogram(),
            steps: Vec::new(),
            inside_us: 0,
            present_us: 0,
        }
    }

    pub(crate) fn step(&mut self, at_us: u64, step_us: u64) -> &mut Step {
        let number = usize::try_from(at_us / step_us.max(1)).unwrap_or(usize::MAX - 1);
        if self.steps.len() <= number {
            self.steps.resize(number + 1, Step::default());
        }
        &mut self.steps[number]
    }

    /// GPU hours.
    pub fn gpu_hours(&self) -> f64 {
        hours(self.replica_us as f64)
    }

    /// GPU hours in which nothing was computed.
    pub fn wasted_hours(&self) -> f64 {
        hours((self.replica_us as f64 - self.busy_us).max(0.0))
    }

    /// The share of requests that a cache answered, or another equal one.
    pub fn hit_ratio(&self) -> f64 {
        let Counts { asked, l1, pool, joined, .. } = self.counts;
        (l1 + pool + joined) as f64 / asked.max(1) as f64
    }
}

fn hours(us: f64) -> f64 {
    us / 3.6e9
}
