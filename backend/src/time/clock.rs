//! The one clock that entries are stamped and judged by: the pool's. This machine's clocks and what Redis says its time is enter,
//! milliseconds since 1970 leave.
//!
//! With the pool in memory it is this machine's, but never goes back: an entry that was stale stays so when the clock is set back.
//! With Redis it is Redis' own, as heartbeats hear it, and what has passed since: so machines whose clocks differ agree on an age, and
//! one whose clock is set between two heartbeats too.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use metrics::gauge;
use rustix::time::{ClockId, clock_gettime};

/// How far the wall clock may run ahead before it is followed: two readings are never quite at once.
const STEP_MS: i64 = 1000;
/// A round trip that took longer says too little about when the other side looked at its clock.
const LONGEST_TRIP: Duration = Duration::from_millis(500);
/// A pool's time that is farther than that from what has passed since it was heard last is of a clock that was set.
const SET_MS: i64 = 2000;
/// In place of what the pool's time is more than what has passed: nobody has heard it.
const UNHEARD: i64 = i64::MIN;

static CLOCK: LazyLock<Clock> = LazyLock::new(|| Clock::new(passed_ms(), wall_ms()));

/// The pool's time, in milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    CLOCK.pool_ms(passed_ms(), wall_ms()).unsigned_abs()
}

/// Tells what the pool's clock showed at some moment since `asked`.
pub(crate) fn heard(pool_ms: u64, asked: Instant) {
    let trip = asked.elapsed();
    CLOCK.notice(signed(pool_ms), trip, passed_ms());
    if trip > LONGEST_TRIP {
        return;
    }
    let skew_ms = CLOCK.heard(signed(pool_ms), trip, passed_ms(), wall_ms());
    gauge!("forebay_pool_clock_skew_seconds").set(skew_ms as f64 / 1000.0);
}

/// Was it found within that time that the pool's clock was set, or that another one's counts?
pub(crate) fn was_set_within(time: Duration) -> bool {
    CLOCK.was_set_within(time, passed_ms())
}

/// Where the time comes from is the caller's matter.
struct Clock {
    /// What has passed lacks so much to this machine's time.
    own_offset_ms: AtomicI64,
    /// And so much to the pool's, or [`UNHEARD`].
    pool_offset_ms: AtomicI64,
    /// What had passed when the pool's was found to be set, in milliseconds, or [`UNHEARD`].
    set_at: AtomicI64,
}

impl Clock {
    fn new(passed_ms: i64, wall_ms: i64) -> Self {
        let own_offset_ms = AtomicI64::new(wall_ms - passed_ms);
        let [pool_offset_ms, set_at] = [UNHEARD; 2].map(AtomicI64::new);
        Self { own_offset_ms, pool_offset_ms, set_at }
    }

    /// This machine's time: as the wall clock has it, but where that was set back.
    fn own_ms(&self, passed_ms: i64, wall_ms: i64) -> i64 {
        let offset = wall_ms - passed_ms;
        let ahead = |known: i64| (offset > known + STEP_MS).then_some(offset);
        let _ = self.own_offset_ms.fetch_update(Ordering::Relaxed, Ordering::Relaxed, ahead);
        passed_ms + self.own_offset_ms.load(Ordering::Relaxed)
    }

    fn pool_ms(&self, passed_ms: i64, wall_ms: i64) -> i64 {
        match self.pool_offset_ms.load(Ordering::Relaxed) {
            UNHEARD => self.own_ms(passed_ms, wall_ms),
            offset => passed_ms + offset,
        }
    }

    fn notice(&self, pool_ms: i64, trip: Duration, passed_ms: i64) {
        let offset = self.pool_offset_ms.load(Ordering::Relaxed);
        let within_ms = SET_MS + i64::try_from(trip.as_millis()).unwrap_or(0);
        if offset != UNHEARD && (passed_ms + offset).abs_diff(pool_ms) > within_ms.unsigned_abs() {
            self.set_at.store(passed_ms, Ordering::Relaxed);
        }
    }

    fn was_set_within(&self, time: Duration, passed_ms: i64) -> bool {
        match self.set_at.load(Ordering::Relaxed) {
            UNHEARD => false,
            set_at => u128::from(passed_ms.abs_diff(set_at)) <= time.as_millis(),
        }
    }

    /// How far the pool is ahead of the wall clock.
    fn heard(&self, pool_ms: i64, trip: Duration, passed_ms: i64, wall_ms: i64) -> i64 {
        let pool_ms = pool_ms + i64::try_from(trip.as_millis() / 2).unwrap_or(0);
        self.pool_offset_ms.store(pool_ms - passed_ms, Ordering::Relaxed);
        pool_ms - wall_ms
    }
}

/// What has passed since the machine started, also while it slept.
fn passed_ms() -> i64 {
    let passed = clock_gettime(ClockId::Boottime);
    passed.tv_sec * 1000 + passed.tv_nsec / 1_000_000
}

fn wall_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

fn signed(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HOUR_MS: i64 = 3_600_000;

    #[test]
    fn a_clock_set_back_does_not_bring_time_back_and_one_set_forward_is_followed() {
        let clock = Clock::new(0, 1_000_000);
        assert_eq!(clock.pool_ms(0, 1_000_000), 1_000_000);
        assert_eq!(clock.pool_ms(100, 400_100), 1_000_100, "set back by ten minutes");
        assert_eq!(clock.pool_ms(200, 1_060_200), 1_060_200, "set forward by a minute");
        assert_eq!(clock.pool_ms(300, 1_000_300), 1_060_300, "and back again");
    }

    #[test]
    fn the_pools_time_is_what_it_said_whatever_the_clock_here_shows() {
        let clock = Clock::new(0, 1_000_000);
        let skew = clock.heard(5_000_000, Duration::from_millis(10), 0, 1_000_000);
        assert_eq!(skew, 4_000_005);
        for wall_ms in [1_001_000, 1_001_000 + HOUR_MS, 1_001_000 - HOUR_MS] {
            assert_eq!(clock.pool_ms(1000, wall_ms), 5_001_005, "set between two words");
        }
        let skew = clock.heard(5_002_000, Duration::ZERO, 2000, 1_002_000 + HOUR_MS);
        assert_eq!(skew, 4_000_000 - HOUR_MS, "of the clock as it was set");
        clock.heard(2_000_000, Duration::ZERO, 3000, 1_003_000);
        assert_eq!(clock.pool_ms(3000, 1_003_000), 2_000_000, "the pool's clock was set");
    }

    #[test]
    fn a_pools_clock_that_was_set_is_noticed_and_remembered_for_a_while() {
        let (within, trip) = (Duration::from_secs(10), Duration::from_millis(400));
        for set_ms in [HOUR_MS, -HOUR_MS, 5000] {
            let clock = Clock::new(0, 0);
            let hears = |passed_ms: i64, pool_ms: i64| {
                clock.notice(pool_ms, trip, passed_ms);
                clock.heard(pool_ms, trip, passed_ms, 0);
                clock.was_set_within(within, passed_ms)
            };
            assert!(!hears(0, 10 * HOUR_MS), "nothing was heard before");
            assert!(!hears(60_000, 10 * HOUR_MS + 61_500), "clocks drift, and answers are late");
            assert!(hears(61_000, 10 * HOUR_MS + 61_500 + set_ms));
            assert!(hears(71_000, 10 * HOUR_MS + 71_500 + set_ms));
            assert!(!hears(71_001, 10 * HOUR_MS + 71_501 + set_ms));
        }
    }

    proptest! {
        #[test]
        fn time_never_goes_back_and_never_stands_still(
            steps in prop::collection::vec((0_i64..10_000, -1_000_000_i64..1_000_000), 1..50),
        ) {
            let clock = Clock::new(0, 10_000_000);
            let (mut monotonic, mut wall, mut before) = (0, 10_000_000, 10_000_000);
            for (passed, set) in steps {
                monotonic += passed;
                wall += passed + set;
                let now = clock.pool_ms(monotonic, wall);
                prop_assert!(now >= before + passed);
                before = now;
            }
        }
    }
}
