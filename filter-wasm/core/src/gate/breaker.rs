//! The circuit breaker of the gate's callouts: outcomes enter, leave to ask comes out.

/// Failures in a row that open the breaker: a few slow answers are bad luck, five are an outage.
const FAILURES_TO_OPEN: u32 = 5;
/// How long an open breaker stays so before one callout tries again, in milliseconds.
const OPEN_MS: u64 = 1000;

/// Counts failures in a row; open, it lets one callout a second through until one succeeds.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    failures: u32,
    retry_at_ms: u64,
}

impl Breaker {
    /// May the gate be asked now? An open breaker says yes once a second.
    pub(super) fn admits(&mut self, now_ms: u64) -> bool {
        if self.failures < FAILURES_TO_OPEN {
            return true;
        }
        let retry = now_ms >= self.retry_at_ms;
        if retry {
            self.retry_at_ms = now_ms.saturating_add(OPEN_MS);
        }
        retry
    }

    /// The gate answered, hit or miss.
    pub(super) fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// The gate failed or was too slow.
    pub(super) fn failed(&mut self, now_ms: u64) {
        self.failures = self.failures.saturating_add(1);
        self.retry_at_ms = now_ms.saturating_add(OPEN_MS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened_at(now_ms: u64) -> Breaker {
        let mut breaker = Breaker::default();
        for _ in 0..FAILURES_TO_OPEN {
            assert!(breaker.admits(now_ms));
            breaker.failed(now_ms);
        }
        breaker
    }

    #[test]
    fn opens_after_failures_in_a_row() {
        assert!(!opened_at(0).admits(OPEN_MS - 1));
    }

    #[test]
    fn a_success_between_failures_keeps_it_closed() {
        let mut breaker = Breaker::default();
        for _ in 0..FAILURES_TO_OPEN * 2 {
            breaker.failed(0);
            breaker.succeeded();
        }
        assert!(breaker.admits(0));
    }

    #[test]
    fn lets_one_through_a_second_and_closes_when_it_succeeds() {
        let mut breaker = opened_at(0);
        assert!(breaker.admits(OPEN_MS));
        assert!(!breaker.admits(OPEN_MS + 1));
        breaker.succeeded();
        assert!(breaker.admits(OPEN_MS + 2));
    }
}
