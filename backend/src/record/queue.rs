//! What waits to be written, by its bytes: they are reserved before a record is made, and released when it is written or dropped.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes that wait, and how many may.
pub(super) struct Queue {
    used: AtomicUsize,
    most: usize,
}

impl Queue {
    pub(super) fn new(most: usize) -> Self {
        Self { used: AtomicUsize::new(0), most }
    }

    pub(super) fn most(&self) -> usize {
        self.most
    }

    /// Whether there is room for them; it is taken, then.
    pub(super) fn reserve(&self, bytes: usize) -> bool {
        let more = |used: usize| used.checked_add(bytes).filter(|used| *used <= self.most);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    pub(super) fn release(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_waits_than_may_and_what_was_written_makes_room() {
        let queue = Queue::new(100);
        assert!(queue.reserve(60) && !queue.reserve(41) && queue.reserve(40) && !queue.reserve(1));
        assert!(!queue.reserve(usize::MAX));
        queue.release(60);
        assert!(queue.reserve(60) && !queue.reserve(1));
    }
}
