//! The circuit breaker of the gate's callouts: outcomes enter, leave to ask comes out.
//!
//! It goes by the share of failures among the last outcomes, not by failures in a row alone: a gate that is too slow for every
//! fifth lookup costs every fifth miss its whole deadline, and is to be left alone as much as one that is gone.

/// Outcomes looked back at.
const WINDOW: u32 = 32;
/// So many of them must be there before a share means anything.
const ENOUGH: u32 = 16;
/// Failures among [`WINDOW`] outcomes that open it: a fifth.
const MOST_FAILURES: u32 = 6;
/// Failures in a row that open it however few outcomes there are: a few slow answers are bad luck, five are an outage.
const IN_A_ROW: u32 = 5;
/// How long it stays open the first time before one callout tries again, in milliseconds; twice as long after each that fails.
const FIRST_OPEN_MS: u64 = 1000;
/// And at most so long.
const LONGEST_OPEN_MS: u64 = 30_000;

/// Opens when too many callouts fail; open, it lets one through now and then until one succeeds.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    /// The last outcomes, the newest in the lowest bit; 1 is a failure.
    outcomes: u32,
    seen: u32,
    in_a_row: u32,
    /// How long it stays open; 0: it is closed.
    open_ms: u64,
    retry_at_ms: u64,
}

impl Breaker {
    /// May the gate be asked now? An open breaker says yes once each time it has waited.
    pub(super) fn admits(&mut self, now_ms: u64) -> bool {
        if self.open_ms == 0 {
            return true;
        }
        // A clock that was set back must not keep it open for longer than it is to be.
        let retry = now_ms >= self.retry_at_ms || self.retry_at_ms.saturating_sub(now_ms) > self.open_ms;
        if retry {
            self.retry_at_ms = now_ms.saturating_add(self.open_ms);
        }
        retry
    }

    /// The gate answered, hit or miss.
    pub(super) fn succeeded(&mut self) {
        if self.open_ms > 0 {
            // What was before it opened says nothing of the gate that answers now.
            *self = Self::default();
        }
        self.remember(0);
        self.in_a_row = 0;
    }

    /// The gate failed or was too slow.
    pub(super) fn failed(&mut self, now_ms: u64) {
        self.remember(1);
        self.in_a_row = self.in_a_row.saturating_add(1);
        if self.open_ms > 0 {
            // Those that were under way when it opened are no news.
            if now_ms >= self.retry_at_ms.saturating_sub(self.open_ms) {
                self.open(self.open_ms.saturating_mul(2).min(LONGEST_OPEN_MS), now_ms);
            }
        } else if self.in_a_row >= IN_A_ROW
            || (self.seen >= ENOUGH && self.outcomes.count_ones() >= MOST_FAILURES)
        {
            self.open(FIRST_OPEN_MS, now_ms);
        }
    }

    fn open(&mut self, open_ms: u64, now_ms: u64) {
        self.open_ms = open_ms;
        self.retry_at_ms = now_ms.saturating_add(open_ms);
    }

    fn remember(&mut self, outcome: u32) {
        self.outcomes = (self.outcomes << 1) | outcome;
        self.seen = self.seen.saturating_add(1).min(WINDOW);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened_at(now_ms: u64) -> Breaker {
        let mut breaker = Breaker::default();
        for _ in 0..IN_A_ROW {
            assert!(breaker.admits(now_ms));
            breaker.failed(now_ms);
        }
        breaker
    }

    #[test]
    fn opens_after_failures_in_a_row() {
        assert!(!opened_at(0).admits(FIRST_OPEN_MS - 1));
    }

    #[test]
    fn opens_when_a_fifth_fails_and_not_when_a_tenth_does() {
        let opens = |every: u32| {
            let mut breaker = Breaker::default();
            (1..1000_u32).any(|number| {
                if number.is_multiple_of(every) {
                    breaker.failed(0);
                } else {
                    breaker.succeeded();
                }
                !breaker.admits(1)
            })
        };
        assert!(opens(5) && opens(4));
        assert!(!opens(10));
    }

    #[test]
    fn lets_one_through_and_closes_when_it_succeeds() {
        let mut breaker = opened_at(0);
        assert!(breaker.admits(FIRST_OPEN_MS));
        assert!(!breaker.admits(FIRST_OPEN_MS + 1));
        breaker.succeeded();
        assert!(breaker.admits(FIRST_OPEN_MS + 2));
    }

    #[test]
    fn waits_longer_after_each_that_fails_and_never_for_ever() {
        let (mut breaker, mut now_ms, mut waited) = (opened_at(0), 0, Vec::new());
        for _ in 0..7 {
            let from = now_ms;
            while !breaker.admits(now_ms) {
                now_ms += 100;
            }
            waited.push((now_ms - from) / 1000);
            breaker.failed(now_ms);
        }
        assert_eq!(waited, [1, 2, 4, 8, 16, 30, 30]);
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_keep_it_open() {
        assert!(opened_at(3_600_000).admits(0));
    }
}
