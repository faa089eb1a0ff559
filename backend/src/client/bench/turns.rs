//! When the next request is due. In a closed loop: when a connection is free. In an open loop: when the arrivals say, whatever
//! became of others; a connection that comes late to a request that was due before takes it at once, and its latency counts from
//! when it was due. So a server that stalls shows in all requests that it kept waiting, not only in those that were on their way.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rand::SeedableRng as _;
use rand::rngs::SmallRng;
use rand_distr::{Distribution as _, Exp};
use tokio::sync::Mutex;

use super::timer::Timer;
use crate::settings::Arrival;

/// For how long nobody looks whether the run was stopped.
const LOOK: Duration = Duration::from_millis(100);

/// The distances between an open loop's requests.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    pub(super) per_second: f64,
    pub(super) arrival: Arrival,
}

/// When a thread's requests of an open loop are due, from the begin of the run.
pub(super) struct Arrivals {
    gaps: Gaps,
    end: Duration,
    next: Duration,
}

enum Gaps {
    /// The thread's part of one row of equal distances: `number` of the next, `stride` to its own next one.
    Fixed {
        per_second: f64,
        number: u64,
        stride: u64,
    },
    Poisson {
        gaps: Exp<f64>,
        random: SmallRng,
    },
}

impl Arrivals {
    /// Of thread `index` of `threads`. Poisson's requests are the thread's own: so many of them together are Poisson's too.
    pub(super) fn new(rate: Rate, index: u32, threads: u32, seed: u64, end: Duration) -> Self {
        let gaps = match rate.arrival {
            Arrival::Fixed => Gaps::Fixed {
                per_second: rate.per_second,
                number: u64::from(index),
                stride: u64::from(threads),
            },
            Arrival::Poisson => Gaps::Poisson {
                gaps: Exp::new(rate.per_second / f64::from(threads)).expect("a rate is positive"),
                random: SmallRng::seed_from_u64(seed ^ (u64::from(index) << 48)),
            },
        };
        let mut arrivals = Self { gaps, end, next: Duration::ZERO };
        arrivals.step();
        arrivals
    }

    /// When the next request is due; `None` when all were.
    fn peek(&self) -> Option<Duration> {
        (self.next < self.end).then_some(self.next)
    }

    fn step(&mut self) {
        match &mut self.gaps {
            Gaps::Fixed { per_second, number, stride } => {
                self.next = Duration::from_secs_f64(*number as f64 / *per_second);
                *number += *stride;
            }
            Gaps::Poisson { gaps, random } => {
                // A gap beyond the run is one beyond the run.
                let gap = gaps.sample(random).min(1e9);
                self.next += Duration::from_secs_f64(gap);
            }
        }
    }
}

impl Iterator for Arrivals {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let due = self.peek()?;
        self.step();
        Some(due)
    }
}

/// The turns of a thread's connections.
pub(super) struct Turns<'a> {
    begin: Instant,
    /// No request is due from here on.
    end: Instant,
    /// No request is sent from here on, though it was due.
    patience: Duration,
    is_stopped: &'a AtomicBool,
    arrivals: Option<Mutex<(Arrivals, Timer)>>,
}

impl<'a> Turns<'a> {
    pub(super) fn new(
        begin: Instant,
        end: Instant,
        patience: Duration,
        arrivals: Option<Arrivals>,
        is_stopped: &'a AtomicBool,
    ) -> io::Result<Self> {
        let arrivals = arrivals.map(|arrivals| Ok::<_, io::Error>(Mutex::new((arrivals, Timer::new()?))));
        Ok(Self { begin, end, patience, is_stopped, arrivals: arrivals.transpose()? })
    }

    /// Waits for the next request; when it is due, or `None` after the last. Connections take turns in the order they came.
    ///
    /// # Errors
    /// The timer's.
    pub(super) async fn next(&self) -> io::Result<Option<Instant>> {
        let Some(arrivals) = &self.arrivals else {
            let now = Instant::now();
            return Ok((now < self.end && !self.is_stopped()).then_some(now));
        };
        let mut arrivals = arrivals.lock().await;
        let (arrivals, timer) = &mut *arrivals;
        let Some(due) = arrivals.peek().map(|due| self.begin + due) else { return Ok(None) };
        loop {
            let now = Instant::now();
            if self.is_stopped() || now >= self.end + self.patience {
                return Ok(None);
            }
            if due <= now {
                break;
            }
            timer.until(due.min(now + LOOK)).await?;
        }
        arrivals.step();
        Ok(Some(due))
    }

    /// How many were due from `from` on and not sent.
    pub(super) fn unsent(self, from: Instant) -> u64 {
        if self.is_stopped() {
            return 0;
        }
        let begin = self.begin;
        let rest = self.arrivals.map(|arrivals| arrivals.into_inner().0);
        rest.into_iter().flatten().filter(|due| begin + *due >= from).count() as u64
    }

    fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(arrival: Arrival, threads: u32, per_second: f64) -> Vec<Duration> {
        let rate = Rate { per_second, arrival };
        let of = |index| Arrivals::new(rate, index, threads, 1, Duration::from_secs(10));
        let mut all: Vec<Duration> = (0..threads).flat_map(of).collect();
        all.sort_unstable();
        all
    }

    #[test]
    fn fixed_requests_are_equally_far_apart_whatever_the_threads() {
        let expected: Vec<Duration> = (0..50).map(|number| Duration::from_millis(200 * number)).collect();
        for threads in [1, 3] {
            assert_eq!(all(Arrival::Fixed, threads, 5.0), expected, "{threads}");
        }
    }

    #[test]
    fn poisson_requests_are_as_many_as_asked_and_their_gaps_as_uneven_as_chance() {
        for threads in [1, 4] {
            let all = all(Arrival::Poisson, threads, 1000.0);
            assert!((9_500..10_500).contains(&all.len()), "{}", all.len());
            let gaps: Vec<f64> =
                all.windows(2).map(|pair| pair[1].as_secs_f64() - pair[0].as_secs_f64()).collect();
            let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
            let deviation = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
            // An exponential's deviation is its mean.
            assert!((0.9..1.1).contains(&(deviation.sqrt() / mean)), "{} {mean}", deviation.sqrt());
        }
    }

    #[tokio::test]
    async fn what_was_due_long_ago_comes_at_once_with_the_time_it_was_due() {
        let is_stopped = AtomicBool::new(false);
        let begin = Instant::now().checked_sub(Duration::from_secs(5)).unwrap();
        let rate = Rate { per_second: 1.0, arrival: Arrival::Fixed };
        let arrivals = Arrivals::new(rate, 0, 1, 0, Duration::from_secs(4));
        let end = begin + Duration::from_secs(4);
        let turns = Turns::new(begin, end, Duration::from_mins(1), Some(arrivals), &is_stopped).unwrap();
        for second in 0..4 {
            assert_eq!(turns.next().await.unwrap(), Some(begin + Duration::from_secs(second)));
        }
        assert_eq!(turns.next().await.unwrap(), None);
        assert_eq!(turns.unsent(begin), 0);
    }

    #[tokio::test]
    async fn what_can_not_be_sent_in_time_is_counted() {
        let is_stopped = AtomicBool::new(false);
        let begin = Instant::now().checked_sub(Duration::from_secs(5)).unwrap();
        let rate = Rate { per_second: 1.0, arrival: Arrival::Fixed };
        let arrivals = Arrivals::new(rate, 0, 1, 0, Duration::from_secs(4));
        let end = begin + Duration::from_secs(4);
        let turns = Turns::new(begin, end, Duration::ZERO, Some(arrivals), &is_stopped).unwrap();
        assert_eq!(turns.next().await.unwrap(), None);
        assert_eq!(turns.unsent(begin + Duration::from_secs(1)), 3);
    }
}
