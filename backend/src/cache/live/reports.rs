//! Which reports were counted: one that a proxy sends again, to this gate or another, because its answer was lost, is counted once
//! at most. Who reports and the report's number enter; whether it is new leaves. The registry remembers it; `Seen` is that of one process.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use tokio::task::JoinError;

use crate::cache::pool::PoolError;
use crate::time::every::Every;

/// VMs whose last reports are remembered. A report of one more is not counted.
pub(super) const MOST: usize = 65_536;
/// For how long after they were heard of. A worker with something to say says it every 10 s.
pub(super) const REMEMBERED: Duration = Duration::from_mins(10);
/// Between two looks for those that may be forgotten.
const SWEEP: Duration = Duration::from_secs(1);

/// What is to be done with a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is counted now.
    New,
    /// It was counted before.
    Known,
    /// It is not counted: too many report.
    Dropped,
}

/// A report that is in no sum.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Uncounted {
    #[error("what the poll reports can't be counted now, send it again: {0}")]
    Pool(#[from] PoolError),
    #[error("what the poll reports can't be counted: {0}")]
    Ended(#[from] JoinError),
}

/// By who reports: the number of the last report, and when it came.
#[derive(Default)]
pub(super) struct Seen {
    last: HashMap<String, (u64, Instant)>,
    swept: Every,
}

impl Seen {
    pub(super) fn fate(&mut self, who: String, seq: u64, now: Instant) -> Fate {
        if !self.last.contains_key(&who) && self.last.len() >= MOST {
            if self.swept.is_due(SWEEP, now) {
                self.last.retain(|_, (_, at)| now.duration_since(*at) < REMEMBERED);
            }
            if self.last.len() >= MOST {
                return Fate::Dropped;
            }
        }
        let (last, at) = self.last.entry(who).or_insert((0, now));
        let is_new = seq > *last;
        (*last, *at) = (seq.max(*last), now);
        if is_new { Fate::New } else { Fate::Known }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_that_comes_again_is_known() {
        let (mut seen, now) = (Seen::default(), Instant::now());
        let fates = [("a", 1), ("a", 1), ("b", 1), ("a", 3), ("a", 2)]
            .map(|(who, seq)| seen.fate(who.to_owned(), seq, now));
        assert_eq!(fates, [Fate::New, Fate::Known, Fate::New, Fate::New, Fate::Known]);
    }

    #[test]
    fn there_is_a_bound_on_who_is_remembered_and_the_gone_make_room() {
        let (mut seen, now) = (Seen::default(), Instant::now());
        assert!((0..MOST).all(|who| seen.fate(who.to_string(), 1, now) == Fate::New));
        assert_eq!(seen.fate("one more".into(), 1, now), Fate::Dropped);
        assert_eq!(seen.fate("0".into(), 1, now), Fate::Known);
        let later = now + REMEMBERED;
        assert!(seen.swept.is_due(SWEEP, later));
        assert_eq!(seen.fate("one more".into(), 1, later), Fate::Dropped, "it was looked a moment ago");
        assert_eq!(seen.fate("one more".into(), 1, later + SWEEP), Fate::New);
        assert_eq!(seen.last.len(), 1);
    }
}
