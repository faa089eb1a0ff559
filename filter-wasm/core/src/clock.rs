//! The proxy's wall clock, as one worker looks at it: what it shows enters, whether it was set leaves.
//!
//! The proxy tells filters of no other clock. Looked at on every tick, one that goes back was set back; one that leaps ahead was set,
//! or the proxy stood still.

use forebay_protocol::freshness::TOLERANCE_MS;

/// What is more between two ticks, in milliseconds, is a leap.
const LEAP_MS: u64 = 5000;

/// What it showed.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    latest_ms: u64,
    ticked_ms: Option<u64>,
    /// All leaps together, in milliseconds.
    leaps: u64,
}

impl Clock {
    /// Was it set back since the last look, by more than clocks may differ?
    pub(crate) fn goes_back(&mut self, now_ms: u64) -> bool {
        let goes_back = now_ms.saturating_add(TOLERANCE_MS) < self.latest_ms;
        self.latest_ms = if goes_back { now_ms } else { self.latest_ms.max(now_ms) };
        goes_back
    }

    /// On a tick: it may have leapt ahead since the last one.
    pub(crate) fn ticks(&mut self, now_ms: u64) {
        let ticked_ms = self.ticked_ms.replace(now_ms).unwrap_or(now_ms);
        let since_ms = now_ms.saturating_sub(ticked_ms);
        if since_ms > LEAP_MS {
            self.leaps = self.leaps.saturating_add(since_ms);
        }
    }

    /// What it would show by now without its leaps. How much of a leap has passed nobody knows: none of it counts for who waits.
    pub(crate) fn without_leaps(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.leaps)
    }

    /// When something was that was so late by the clock as it was then: by the clock as it is, if it was set back since.
    pub(crate) fn at_most(&self, then_ms: u64) -> u64 {
        then_ms.min(self.latest_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_back_when_it_is_set_back_at_once_or_little_by_little() {
        let mut clock = Clock::default();
        assert!(!clock.goes_back(10_000) && !clock.goes_back(9_000) && !clock.goes_back(9_500));
        assert!(clock.goes_back(8_900), "by more than a second from the latest");
        assert!(!clock.goes_back(8_900) && !clock.goes_back(3_600_000));
        assert_eq!(clock.at_most(3_600_000), 3_600_000);
        assert!(clock.goes_back(0));
        assert_eq!(clock.at_most(3_600_000), 0);
    }

    #[test]
    fn it_leaps_where_ticks_are_far_apart_and_not_when_it_is_set_back() {
        let mut clock = Clock::default();
        for (ticks_ms, without_ms) in [
            (1_000_000, 1_000_000),
            (1_005_000, 1_005_000),
            (1_010_001, 1_005_000),
            (1_010_251, 1_005_250),
            (2_010_251, 1_005_250),
        ] {
            clock.ticks(ticks_ms);
            assert_eq!(clock.without_leaps(ticks_ms), without_ms);
        }
        clock.ticks(0);
        assert_eq!(clock.without_leaps(3_000_000), 3_000_000 - 1_005_001);
    }
}
