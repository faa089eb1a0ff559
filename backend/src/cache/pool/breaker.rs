//! Lookups that fail in a row -> a rest, after which one tries.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// So many failures in a row, and all rest.
const FAILURES_TO_REST: u32 = 5;
/// How long they rest before one tries again.
const REST: Duration = Duration::from_millis(500);

/// Rests after repeated failures, then lets one try.
pub(super) struct Breaker {
    failures: AtomicU32,
    /// Milliseconds after `start`.
    rest_until: AtomicU64,
    start: Instant,
}

impl Breaker {
    pub(super) fn new() -> Self {
        Self { failures: AtomicU32::new(0), rest_until: AtomicU64::new(0), start: Instant::now() }
    }

    pub(super) fn rests(&self) -> bool {
        self.rests_at(self.now_ms())
    }

    pub(super) fn record(&self, success: bool) {
        self.record_at(success, self.now_ms());
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn rests_at(&self, now_ms: u64) -> bool {
        if self.failures.load(Ordering::Relaxed) < FAILURES_TO_REST {
            return false;
        }
        let until = self.rest_until.load(Ordering::Relaxed);
        let next = now_ms + u64::try_from(REST.as_millis()).unwrap_or(u64::MAX);
        // Whoever moves the end of the rest is the one that tries.
        now_ms < until
            || self.rest_until.compare_exchange(until, next, Ordering::Relaxed, Ordering::Relaxed).is_err()
    }

    fn record_at(&self, success: bool, now_ms: u64) {
        if success {
            if self.failures.load(Ordering::Relaxed) != 0 {
                self.failures.store(0, Ordering::Relaxed);
            }
        } else if self.failures.fetch_add(1, Ordering::Relaxed) + 1 == FAILURES_TO_REST {
            let next = now_ms + u64::try_from(REST.as_millis()).unwrap_or(u64::MAX);
            self.rest_until.store(next, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_rests_after_repeated_failures_and_lets_one_try() {
        let breaker = Breaker::new();
        for _ in 0..FAILURES_TO_REST {
            assert!(!breaker.rests_at(0));
            breaker.record_at(false, 0);
        }
        assert!(breaker.rests_at(499));
        assert!(!breaker.rests_at(500), "one tries");
        assert!(breaker.rests_at(500), "the others still rest");
        breaker.record_at(true, 501);
        assert!(!breaker.rests_at(502));
    }
}
