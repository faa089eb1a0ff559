//! Requests whose body is not complete yet: each is watched from its headers on, what comes is counted, and one that takes too long
//! is let go by the tick, whether more of it comes or nothing at all.

use crate::memory::Held;
use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::{Rc, Weak};

/// Longest that a body may take after its headers, in milliseconds, for the request to be looked at. A slower one streams to the
/// backend, which has its own least rate for bodies; here it would only take room.
pub const BODY_MS: u64 = 10_000;
/// From how many on those that are complete are looked for among those that are watched; fewer go with time.
const SWEPT: usize = 1024;

/// A request whose body is not complete yet.
#[derive(Debug)]
pub struct Arriving {
    /// Whose.
    pub context: u32,
    /// Number of the service that it asks.
    pub service: u16,
    /// What has come of it, which the proxy holds, taken of the worker's memory.
    pub held: Held,
    since_ms: u64,
    let_go: Cell<bool>,
}

impl Arriving {
    /// It took too long: it goes on to the upstream, or has.
    pub fn is_let_go(&self) -> bool {
        self.let_go.get()
    }

    fn is_late(&self, now_ms: u64) -> bool {
        // A clock that was set back must not hold it, and all behind it, until it has caught up.
        now_ms.abs_diff(self.since_ms) > BODY_MS
    }
}

/// All of a worker, in the order in which they came. Those that are complete, or have left, are not kept alive by it.
#[derive(Debug, Default)]
pub struct Arrivals {
    watched: VecDeque<Weak<Arriving>>,
}

impl Arrivals {
    /// The request of `context` was told of: its body is to come.
    pub fn begin(&mut self, context: u32, service: u16, held: Held, now_ms: u64) -> Rc<Arriving> {
        let arriving = Arriving { context, service, held, since_ms: now_ms, let_go: Cell::new(false) };
        let arriving = Rc::new(arriving);
        self.watched.push_back(Rc::downgrade(&arriving));
        arriving
    }

    /// The next that takes too long: it holds nothing any more, and is to be resumed.
    pub fn next_late(&mut self, now_ms: u64) -> Option<Rc<Arriving>> {
        while let Some(first) = self.watched.front() {
            let first = first.upgrade();
            if first.as_ref().is_some_and(|first| !first.is_late(now_ms)) {
                return None;
            }
            self.watched.pop_front();
            if let Some(late) = first {
                late.let_go.set(true);
                late.held.let_go();
                return Some(late);
            }
        }
        None
    }

    /// On the tick: who is complete leaves no trace.
    pub fn sweep(&mut self) {
        if self.watched.len() >= SWEPT {
            self.watched.retain(|arriving| arriving.strong_count() > 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Memory;

    #[test]
    fn who_takes_too_long_is_let_go_once_and_who_is_complete_never() {
        let (memory, mut arrivals) = (Memory::new(100), Arrivals::default());
        let [complete, slow, later] =
            [(1, 0), (2, 0), (3, 1)].map(|(context, at)| arrivals.begin(context, 0, memory.hold(), at));
        assert!(slow.held.grow_to(60) && later.held.grow_to(40));
        drop(complete);
        assert!(arrivals.next_late(BODY_MS).is_none());
        assert_eq!(arrivals.next_late(BODY_MS + 1).map(|late| late.context), Some(2));
        assert!(arrivals.next_late(BODY_MS + 1).is_none());
        assert_eq!((slow.is_let_go(), later.is_let_go(), memory.held()), (true, false, 40));
    }

    #[test]
    fn a_clock_that_was_set_back_holds_nobody() {
        let (memory, mut arrivals) = (Memory::new(100), Arrivals::default());
        let slow = arrivals.begin(1, 0, memory.hold(), 3_600_000);
        assert!(arrivals.next_late(1).is_some() && slow.is_let_go());
    }

    #[test]
    fn who_is_complete_leaves_no_trace_though_one_before_it_is_not() {
        let (memory, mut arrivals) = (Memory::new(100), Arrivals::default());
        let first = arrivals.begin(0, 0, memory.hold(), 0);
        for context in 1..2000 {
            drop(arrivals.begin(context, 0, memory.hold(), 0));
        }
        arrivals.sweep();
        assert_eq!(arrivals.watched.len(), 1);
        drop(first);
    }
}
