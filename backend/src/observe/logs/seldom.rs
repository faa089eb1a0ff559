//! What can go wrong many times a second -> one line a second at most, the same words twice a minute, each with how many lines
//! were left out before it.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Between any two lines.
const GAP: Duration = Duration::from_secs(1);
/// Between two lines of the same words.
const SAME: Duration = Duration::from_secs(30);

/// A place in the program whose line can repeat.
#[derive(Default)]
pub(crate) struct Seldom {
    last: Mutex<Option<Last>>,
}

/// The line that was written last.
struct Last {
    at: Instant,
    words: String,
    /// Lines since that were not written.
    left_out: u64,
}

impl Seldom {
    pub(crate) const fn new() -> Self {
        Self { last: Mutex::new(None) }
    }

    /// Whether to write a line now, and how many were left out since one was; it counts as written then. Empty words are never
    /// the same as those before.
    pub(crate) fn due(&self, words: &str) -> Option<u64> {
        self.due_at(words, Instant::now())
    }

    /// The next line is written in any case but for the gap: what it would repeat is over.
    pub(crate) fn forget(&self) {
        if let Some(last) = &mut *self.last.lock().unwrap_or_else(PoisonError::into_inner) {
            last.words.clear();
        }
    }

    fn due_at(&self, words: &str, now: Instant) -> Option<u64> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let mut left_out = 0;
        if let Some(before) = &mut *last {
            let gap = if !words.is_empty() && before.words == words { SAME } else { GAP };
            if now.duration_since(before.at) < gap {
                before.left_out += 1;
                return None;
            }
            left_out = before.left_out;
        }
        *last = Some(Last { at: now, words: words.to_owned(), left_out: 0 });
        Some(left_out)
    }
}

/// A line of the log for what can repeat, as `tracing`'s macro of that level writes it: at most one a second from each place, with
/// how many were left out.
macro_rules! seldom {
    ($level:ident, $($said:tt)+) => {{
        static LINE: $crate::observe::logs::Seldom = $crate::observe::logs::Seldom::new();
        if let Some(left_out) = LINE.due("") {
            tracing::$level!(left_out, $($said)+);
        }
    }};
}
pub(crate) use seldom;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_second_and_the_same_one_twice_a_minute() {
        let (seldom, start) = (Seldom::new(), Instant::now());
        let at = |words, ms| seldom.due_at(words, start + Duration::from_millis(ms)).is_some();
        assert!(at("a", 0) && !at("a", 0) && !at("b", 999) && at("b", 1000));
        assert!(!at("b", 30_999) && at("b", 31_000));
        seldom.forget();
        assert!(!at("b", 31_999) && at("b", 32_000));
    }

    #[test]
    fn what_repeats_is_said_once_a_second_with_how_often_it_was_not() {
        let (seldom, start) = (Seldom::new(), Instant::now());
        let at = |ms| seldom.due_at("", start + Duration::from_millis(ms));
        assert_eq!([0, 1, 999, 1000, 1500, 5000].map(at), [Some(0), None, None, Some(2), None, Some(1)]);
    }
}
