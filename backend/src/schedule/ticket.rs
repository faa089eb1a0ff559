//! A request's hold on the queue: what its task has, while a session's thread has the rest.

use std::time::Instant;

use super::queue::Place;
use super::{Shared, hand_over, locked};

/// A queued request. Dropping it takes the request out of the queue, if it is still there.
pub(crate) struct Ticket<'a> {
    pub(super) shared: &'a Shared,
    pub(super) place: Place,
    pub(super) is_open: bool,
}

impl Ticket<'_> {
    /// When the request is given up while it waits.
    pub(crate) fn expires(&self) -> Option<Instant> {
        self.place.expires
    }

    /// The request has its answer.
    pub(crate) fn close(mut self) {
        self.is_open = false;
    }

    /// Takes the request out of the queue; false when a session has it.
    pub(crate) fn withdraw(&mut self) -> bool {
        self.is_open = false;
        let waiting = {
            let mut state = self.shared.lock();
            let waiting = state.queue.withdraw(self.place);
            self.shared.tell_waiting(&mut state);
            waiting
        };
        if waiting.is_some()
            && let Some(order) = &self.shared.order
        {
            let mut order = locked(order);
            order.leave(self.place.number).into_iter().for_each(hand_over);
        }
        waiting.is_some()
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        if self.is_open && self.withdraw() {
            self.shared.statistics.abandoned();
        }
    }
}
