//! How fast is replayed: what was spent, and what is about to be -> when the next may begin, so that no more than a share of a session's
//! time is taken.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// Since it began, so much of a session's time was spent.
pub(super) struct Pace {
    began: Instant,
    share: f64,
    spent: Cell<Duration>,
    requests: Cell<u32>,
    /// Of those that have begun and aren't done, at what one costs in the mean.
    ahead: Cell<Duration>,
}

/// One has begun; what it counts as until it is done.
pub(super) struct Begun(Duration);

impl Pace {
    /// `share` is more than 0, and at most 1.
    pub(super) fn new(share: f64) -> Self {
        let (spent, ahead) = (Cell::default(), Cell::default());
        Self { began: Instant::now(), share, spent, requests: Cell::default(), ahead }
    }

    /// Waits until what was spent is no more than the share.
    pub(super) async fn begin(&self) -> Begun {
        // Others may begin meanwhile.
        while let Some(next) = Some(self.next()).filter(|next| *next > Instant::now()) {
            tokio::time::sleep_until(next.into()).await;
        }
        let mean = self.spent.get().checked_div(self.requests.get()).unwrap_or_default();
        self.ahead.set(self.ahead.get() + mean);
        Begun(mean)
    }

    /// One is done, that cost so much.
    pub(super) fn end(&self, Begun(counted): Begun, cost: Duration) {
        self.ahead.set(self.ahead.get().saturating_sub(counted));
        self.spent.set(self.spent.get() + cost);
        self.requests.set(self.requests.get() + 1);
    }

    fn next(&self) -> Instant {
        self.began + (self.spent.get() + self.ahead.get()).div_f64(self.share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So little that nobody waits for it.
    const COST: Duration = Duration::from_micros(1);

    #[tokio::test]
    async fn what_is_spent_and_what_has_begun_is_the_share_of_the_time_until_the_next() {
        let pace = Pace::new(0.25);
        let first = pace.begin().await;
        assert_eq!(pace.next(), pace.began, "what it costs is not known");
        pace.end(first, COST);
        assert_eq!(pace.next(), pace.began + 4 * COST);
        let (second, third) = (pace.begin().await, pace.begin().await);
        assert_eq!(pace.next(), pace.began + 12 * COST);
        pace.end(second, 3 * COST);
        assert_eq!(pace.next(), pace.began + 20 * COST);
        pace.end(third, Duration::ZERO);
        assert_eq!(pace.next(), pace.began + 16 * COST);
    }
}
