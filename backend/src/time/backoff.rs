//! Pauses between attempts that fail: each twice as long as the one before, and by chance longer, so that what failed together isn't
//! tried again together.

use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};

/// Pauses without an end, from the shortest to the longest. Chance adds up to as much again.
pub(crate) struct Backoff {
    pauses: ExponentialBackoff,
    longest: Duration,
}

/// Pauses that begin with the shortest of the two and grow to the longest.
pub(crate) fn backoff((shortest, longest): (Duration, Duration)) -> Backoff {
    let pauses = ExponentialBuilder::new().with_min_delay(shortest).with_max_delay(longest);
    Backoff { pauses: pauses.with_jitter().without_max_times().build(), longest }
}

impl Backoff {
    /// The next pause.
    pub(crate) fn next(&mut self) -> Duration {
        self.pauses.next().unwrap_or(self.longest)
    }

    /// Waits for as long as the next pause is.
    pub(crate) async fn pause(&mut self) {
        tokio::time::sleep(self.next()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_differ_by_chance() {
        let (shortest, longest) = (Duration::from_millis(50), Duration::from_secs(1));
        let mut bound = shortest;
        let mut pauses = backoff((shortest, longest));
        for _ in 0..64 {
            let pause = pauses.next();
            assert!((bound..=bound * 2).contains(&pause), "{pause:?} is not {bound:?} or up to twice that");
            bound = (bound * 2).min(longest);
        }
        let firsts: Vec<Duration> = (0..64).map(|_| backoff((shortest, longest)).next()).collect();
        assert!(firsts.iter().any(|first| *first != firsts[0]), "{firsts:?}");
    }
}
