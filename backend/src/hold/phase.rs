//! Whether a backend is there, as far as those who wait could see -> whether one is wanted, how long a wake takes, and the last ones.

use std::collections::VecDeque;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use metrics::{counter, histogram};
use serde::Serialize;

/// How long a wake is expected to take before one was seen.
const FIRST_WAKE: Duration = Duration::from_secs(10);
/// Wakes that are remembered.
const MOST: usize = 20;

/// How the backends are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// None is there, as far as is known.
    Asleep,
    /// One is wanted, since then.
    Waking(Instant),
    /// One is there.
    Awake,
}

/// What was seen now.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    pub(super) is_up: bool,
    /// All that there could be have said that they are not ready, or there is none.
    pub(super) is_known_down: bool,
    /// Requests that wait.
    pub(super) held: usize,
}

/// One wake.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Wake {
    /// When a backend was wanted, in milliseconds since 1970.
    at_ms: u64,
    /// How long it took until one was there; `None`: it has not ended, or ended without one.
    took_ms: Option<u64>,
    /// Who waited left before one was there.
    was_left: bool,
    /// The most that waited meanwhile.
    held: usize,
}

pub(super) struct Wakes {
    phase: Phase,
    /// How long a wake takes, as far as was seen, here or at another gate.
    takes: Option<Duration>,
    last: VecDeque<Wake>,
}

impl Default for Wakes {
    fn default() -> Self {
        Self { phase: Phase::Asleep, takes: None, last: VecDeque::new() }
    }
}

impl Wakes {
    pub(super) fn phase(&self) -> Phase {
        self.phase
    }

    pub(super) fn is_wanted(&self) -> bool {
        matches!(self.phase, Phase::Waking(_))
    }

    /// The last ones, the newest first.
    pub(super) fn last(&self) -> Vec<Wake> {
        self.last.iter().rev().copied().collect()
    }

    /// How long a wake takes, if one was seen.
    pub(super) fn takes(&self) -> Option<Duration> {
        self.takes
    }

    /// Another gate saw how long a wake takes; what was seen here is not changed by it.
    pub(super) fn learn(&mut self, takes: Duration) {
        self.takes.get_or_insert(takes);
    }

    /// What is left of this wake, or what the next would take.
    pub(super) fn left(&self) -> Duration {
        let takes = self.takes.unwrap_or(FIRST_WAKE);
        match self.phase {
            Phase::Asleep => takes,
            Phase::Waking(since) => takes.saturating_sub(since.elapsed()),
            Phase::Awake => Duration::ZERO,
        }
    }

    pub(super) fn judge(&mut self, seen: Seen, now: Instant) {
        let Seen { is_up, is_known_down, held } = seen;
        if let (Phase::Waking(_), Some(wake)) = (self.phase, self.last.back_mut()) {
            wake.held = wake.held.max(held);
        }
        self.phase = match (self.phase, is_up) {
            (Phase::Waking(since), true) => {
                let took = now.duration_since(since);
                histogram!("forebay_hold_wake_seconds").record(took);
                // Half of what was known: the last one tells the most, and one alone not all.
                self.takes = Some(self.takes.map_or(took, |before| (before + took) / 2));
                tracing::info!(took_ms = took.as_millis(), held, "a backend is awake");
                self.ends(|wake| wake.took_ms = Some(millis(took)));
                Phase::Awake
            }
            (_, true) => Phase::Awake,
            (Phase::Waking(_), false) if held == 0 => {
                self.ends(|wake| wake.was_left = true);
                Phase::Asleep
            }
            (Phase::Asleep | Phase::Awake, false) if is_known_down => {
                counter!("forebay_hold_wakes").increment(1);
                tracing::info!(held, "a backend is wanted: none is awake");
                self.begins(held);
                Phase::Waking(now)
            }
            (phase, false) => phase,
        };
    }

    fn begins(&mut self, held: usize) {
        if self.last.len() >= MOST {
            self.last.pop_front();
        }
        let at_ms = millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default());
        self.last.push_back(Wake { at_ms, took_ms: None, was_left: false, held });
    }

    fn ends(&mut self, how: impl FnOnce(&mut Wake)) {
        if let Some(wake) = self.last.back_mut() {
            how(wake);
        }
    }
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const UP: Seen = Seen { is_up: true, is_known_down: false, held: 0 };
    const UNKNOWN: Seen = Seen { is_up: false, is_known_down: false, held: 1 };
    const DOWN: Seen = Seen { is_up: false, is_known_down: true, held: 3 };

    #[test]
    fn a_wake_begins_when_none_is_known_to_be_there_and_ends_with_one_or_with_the_last_who_waits() {
        let (mut wakes, start) = (Wakes::default(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        wakes.judge(UNKNOWN, start);
        assert_eq!((wakes.phase(), wakes.last().len()), (Phase::Asleep, 0), "nobody has looked yet");
        wakes.judge(DOWN, start);
        wakes.judge(Seen { held: 9, ..DOWN }, after(1));
        assert!(wakes.is_wanted() && wakes.last().len() == 1);
        wakes.judge(UP, after(4));
        let wake = wakes.last()[0];
        assert_eq!((wake.took_ms, wake.held, wake.was_left), (Some(4000), 9, false));
        assert_eq!(wakes.takes(), Some(Duration::from_secs(4)));
        wakes.judge(DOWN, after(5));
        wakes.judge(Seen { held: 0, ..UNKNOWN }, after(6));
        assert_eq!(wakes.phase(), Phase::Asleep);
        assert_eq!((wakes.last()[0].took_ms, wakes.last()[0].was_left), (None, true));
    }

    #[test]
    fn what_another_gate_saw_counts_until_a_wake_is_seen_here() {
        let (mut wakes, start) = (Wakes::default(), Instant::now());
        assert_eq!((wakes.left(), wakes.takes()), (FIRST_WAKE, None));
        wakes.learn(Duration::from_secs(40));
        wakes.learn(Duration::from_secs(50));
        assert_eq!(wakes.left(), Duration::from_secs(40));
        wakes.judge(DOWN, start);
        wakes.judge(UP, start + Duration::from_secs(20));
        wakes.learn(Duration::from_secs(50));
        assert_eq!(wakes.takes(), Some(Duration::from_secs(30)));
    }

    #[test]
    fn only_the_last_are_remembered() {
        let (mut wakes, start) = (Wakes::default(), Instant::now());
        for seconds in 0..2 * MOST as u64 {
            wakes.judge(DOWN, start + Duration::from_secs(2 * seconds));
            wakes.judge(UP, start + Duration::from_secs(2 * seconds + 1));
        }
        assert_eq!(wakes.last().len(), MOST);
    }
}
