//! How slow a client may be while it sends a body or a message. When it was waited for and what came enter; when to look again,
//! and that it is too slow, leave. Time in which nobody waited for the client is not its own.

use std::time::{Duration, Instant};

/// Over so long a client's speed is judged: a lost packet is sent again in less.
const WINDOW: Duration = Duration::from_secs(5);

/// How slow a client may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Least {
    /// For all of a body or message.
    pub(crate) time: Duration,
    /// Bytes a second; 0 for no bound.
    pub(crate) rate: usize,
}

/// A client that is too slow.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub(crate) enum Slow {
    #[error("did not arrive within {seconds} seconds (--body-timeout-secs)")]
    Time { seconds: f64 },
    #[error("comes slower than {rate} bytes a second (--min-body-rate)")]
    Rate { rate: usize },
}

/// One body or message on its way.
#[derive(Debug)]
pub(crate) struct Pace {
    least: Least,
    /// Since when the client is waited for.
    since: Option<Instant>,
    /// How long it was, before that: in all, and in this window.
    waited: Duration,
    in_window: Duration,
    /// What came in this window.
    came: usize,
}

impl Pace {
    pub(crate) fn new(least: Least) -> Self {
        Self { least, since: None, waited: Duration::ZERO, in_window: Duration::ZERO, came: 0 }
    }

    /// The client is waited for, unless it was already; when to [`Self::judge`] it if nothing comes.
    pub(crate) fn wait(&mut self, now: Instant) -> Instant {
        let since = *self.since.get_or_insert(now);
        let left = self.least.time.saturating_sub(self.waited);
        let left = if self.least.rate == 0 { left } else { left.min(WINDOW.saturating_sub(self.in_window)) };
        since + left
    }

    /// Something came.
    pub(crate) fn came(&mut self, now: Instant, bytes: usize) {
        self.count(now);
        self.came = self.came.saturating_add(bytes);
    }

    /// Whether the client may take longer.
    ///
    /// # Errors
    /// When it is too slow.
    pub(crate) fn judge(&mut self, now: Instant) -> Result<(), Slow> {
        self.count(now);
        self.since = Some(now);
        if self.waited >= self.least.time {
            return Err(Slow::Time { seconds: self.least.time.as_secs_f64() });
        }
        if self.least.rate > 0 && self.in_window >= WINDOW {
            if (self.came as f64) < self.least.rate as f64 * self.in_window.as_secs_f64() {
                return Err(Slow::Rate { rate: self.least.rate });
            }
            (self.in_window, self.came) = (Duration::ZERO, 0);
        }
        Ok(())
    }

    fn count(&mut self, now: Instant) {
        if let Some(since) = self.since.take() {
            let waited = now.saturating_duration_since(since);
            self.waited += waited;
            self.in_window += waited;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: Least = Least { time: Duration::from_mins(1), rate: 1000 };

    /// Sends so much every so often; what is said of it, and after how long.
    fn send(least: Least, bytes: usize, every: Duration) -> (Slow, Duration) {
        let began = Instant::now();
        let (mut now, mut pace, mut next) = (began, Pace::new(least), began + every);
        loop {
            let look = pace.wait(now);
            if next <= look {
                now = next;
                next += every;
                pace.came(now, bytes);
            } else {
                now = look;
                if let Err(slow) = pace.judge(now) {
                    return (slow, now - began);
                }
            }
        }
    }

    #[test]
    fn who_sends_nothing_or_drips_is_too_slow_after_a_window() {
        for (bytes, every) in [(0, Duration::from_secs(100)), (1, Duration::from_millis(100))] {
            let (slow, after) = send(LEAST, bytes, every);
            assert_eq!(slow, Slow::Rate { rate: 1000 });
            assert!(after >= WINDOW && after < WINDOW * 2, "{after:?}");
        }
    }

    #[test]
    fn who_is_fast_at_first_has_no_credit_for_later() {
        let (mut pace, began) = (Pace::new(LEAST), Instant::now());
        pace.came(began, 64 << 20);
        let first = pace.wait(began);
        assert_eq!(pace.judge(first), Ok(()), "it came in this window");
        let second = pace.wait(first);
        assert_eq!((second - first, pace.judge(second)), (WINDOW, Err(Slow::Rate { rate: 1000 })));
    }

    #[test]
    fn who_is_fast_enough_has_the_whole_time_and_no_more() {
        let (slow, after) = send(LEAST, 1000, Duration::from_millis(500));
        assert_eq!((slow, after), (Slow::Time { seconds: 60.0 }, LEAST.time));
        let (slow, after) = send(Least { rate: 0, ..LEAST }, 0, Duration::from_hours(1));
        assert_eq!((slow, after), (Slow::Time { seconds: 60.0 }, LEAST.time));
    }

    #[test]
    fn time_in_which_nobody_waits_is_not_the_clients() {
        let (mut pace, began) = (Pace::new(LEAST), Instant::now());
        pace.wait(began);
        pace.came(began + Duration::from_secs(1), 10);
        // For a while nothing is read: earlier messages are computed.
        let later = began + Duration::from_hours(1);
        assert_eq!(pace.wait(later), later + Duration::from_secs(4));
    }
}
