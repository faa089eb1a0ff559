//! What can go wrong many times a second -> one line a second at most, and the same line twice a minute.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Between any two lines.
const GAP: Duration = Duration::from_secs(1);
/// Between two lines of the same words.
const SAME: Duration = Duration::from_secs(30);

/// When a line was written last, and which.
#[derive(Default)]
pub(crate) struct Seldom {
    last: Mutex<Option<(Instant, String)>>,
}

impl Seldom {
    /// Whether this line may be written now; it counts as written then.
    pub(crate) fn allows(&self, line: &str) -> bool {
        self.allows_at(line, Instant::now())
    }

    /// The next line is written in any case but for the gap: what it would repeat is over.
    pub(crate) fn forget(&self) {
        if let Some((_, line)) = &mut *self.last.lock().unwrap_or_else(PoisonError::into_inner) {
            line.clear();
        }
    }

    fn allows_at(&self, line: &str, now: Instant) -> bool {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let silent = |(at, before): &(Instant, String)| {
            now.duration_since(*at) < if before == line { SAME } else { GAP }
        };
        if last.as_ref().is_some_and(silent) {
            return false;
        }
        *last = Some((now, line.to_owned()));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_second_and_the_same_one_twice_a_minute() {
        let (seldom, start) = (Seldom::default(), Instant::now());
        let at = |line, ms| seldom.allows_at(line, start + Duration::from_millis(ms));
        assert!(at("a", 0) && !at("a", 0) && !at("b", 999) && at("b", 1000));
        assert!(!at("b", 30_999) && at("b", 31_000));
        seldom.forget();
        assert!(!at("b", 31_999) && at("b", 32_000));
    }
}
