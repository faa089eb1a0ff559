//! The clock of a Memcached's server. It tells whole seconds (`stats`); what each of several answers leaves possible, together, tells
//! more: after a few the tier's time is known to some hundredths of a second, by everybody alike.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::cache::live::registry::random;

/// Answers that are taken into account. Clocks drift apart by little while so many come.
const KEPT: usize = 16;
/// It is asked again after so long.
const ASKED_AGAIN: Duration = Duration::from_secs(1);
const SECOND_US: i64 = 1_000_000;

/// What is known of the tier's time.
pub(super) struct TierClock {
    start: Instant,
    /// What the tier's time may be more than the time since `start`, at least and at most, in microseconds: the newest last.
    offsets: VecDeque<(i64, i64)>,
    /// The connection by which it was asked: behind another one may be another server.
    connection: u64,
    asked: Option<Instant>,
    /// What it is, as tests have it.
    #[cfg(test)]
    pub(super) fixed_us: Option<u64>,
}

impl TierClock {
    pub(super) fn new() -> Self {
        Self {
            start: Instant::now(),
            offsets: VecDeque::new(),
            connection: 0,
            asked: None,
            #[cfg(test)]
            fixed_us: None,
        }
    }

    /// Whether it must be asked before it is believed.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        #[cfg(test)]
        if self.fixed_us.is_some() {
            return false;
        }
        self.asked.is_none_or(|asked| now.duration_since(asked) >= ASKED_AGAIN)
    }

    /// It showed so many seconds since 1970 at some moment between the two.
    pub(super) fn heard(&mut self, seconds: u64, (asked, answered): (Instant, Instant), connection: u64) {
        if connection != self.connection {
            self.offsets.clear();
            self.connection = connection;
        }
        let since =
            |at: Instant| i64::try_from(at.duration_since(self.start).as_micros()).unwrap_or(i64::MAX / 4);
        // Some time that never comes, for who says nonsense.
        let seconds = i64::try_from(seconds.min(1 << 40)).unwrap_or(0);
        let least = seconds * SECOND_US - since(answered);
        let most = (seconds + 1) * SECOND_US - since(asked);
        self.offsets.push_back((least, most));
        while self.offsets.len() > KEPT {
            self.offsets.pop_front();
        }
        self.asked = Some(asked);
    }

    /// The tier's time in microseconds, for a step. The last digits are chance, for nobody knows them, and no two boards are to give
    /// out an epoch in one microsecond.
    pub(super) fn step_us(&self, now: Instant) -> Option<u64> {
        #[cfg(test)]
        if self.fixed_us.is_some() {
            return self.fixed_us;
        }
        self.now_us(now).map(|us| us - us % 1000 + random() % 1000)
    }

    /// The tier's time in microseconds since 1970, as far as is known.
    pub(super) fn now_us(&self, now: Instant) -> Option<u64> {
        let since = i64::try_from(now.duration_since(self.start).as_micros()).ok()?;
        let (mut least, mut most) = self.offsets.back().copied()?;
        for (lower, higher) in self.offsets.iter().rev() {
            let (next_least, next_most) = (least.max(*lower), most.min(*higher));
            // What was heard before the clock was set says nothing of now.
            if next_least > next_most {
                break;
            }
            (least, most) = (next_least, next_most);
        }
        u64::try_from((least + (most - least) / 2).saturating_add(since)).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRIP: Duration = Duration::from_millis(1);

    /// Asks at those milliseconds a tier that is so many microseconds ahead; how far from it the clock is then.
    fn error_us(clock: &mut TierClock, ahead: u64, times: impl Iterator<Item = u64>) -> u64 {
        let (mut last, start) = (clock.start, clock.start);
        for ms in times {
            let asked = start + Duration::from_millis(ms);
            last = asked + TRIP;
            let shown = (ahead + ms * 1000) / 1_000_000;
            clock.heard(shown, (asked, last), 1);
        }
        let right = ahead + u64::try_from(last.duration_since(start).as_micros()).unwrap();
        clock.now_us(last).unwrap().abs_diff(right)
    }

    #[test]
    fn whole_seconds_at_several_times_tell_a_part_of_one() {
        let ahead = 1_700_000_000_400_000;
        let mut clock = TierClock::new();
        assert!(error_us(&mut clock, ahead, 0..1) <= 510_000);
        assert!(error_us(&mut clock, ahead, (1..16).map(|number| number * 1130)) <= 70_000);
    }

    #[test]
    fn a_clock_that_was_set_is_followed_at_once() {
        let mut clock = TierClock::new();
        error_us(&mut clock, 1_700_000_000_000_000, (0..16).map(|number| number * 1130));
        let back = 1_600_000_000_000_000;
        assert!(error_us(&mut clock, back, 20_000..20_001) <= 510_000);
        clock.heard(5, (clock.start + TRIP, clock.start + TRIP), 2);
        assert!(clock.now_us(clock.start + TRIP).unwrap() < 7_000_000, "another server has another clock");
    }

    #[test]
    fn nonsense_is_some_time_and_nothing_breaks() {
        let mut clock = TierClock::new();
        for seconds in [0, u64::MAX, 1 << 40, 3] {
            let now = Instant::now();
            clock.heard(seconds, (now, now), 1);
            assert!(clock.now_us(now).is_some());
        }
    }
}
