//! Sessions whose GPU was lost leave, and new ones take their places; requests that nobody can run meanwhile are refused. What
//! is still there goes on.

use std::sync::{Arc, MutexGuard};

use super::{QueueError, RunError, Schedule, Shared, State};
use crate::engine::gpu::Gpu;
use crate::engine::{EngineError, Session};

impl Schedule {
    /// Why no session is there; `None` while one is.
    pub(crate) fn why_away(&self) -> Option<String> {
        self.shared.lock().why_away()
    }

    /// Takes out the sessions that are lost and don't run. The others are taken out when they come back.
    pub(crate) fn withdraw_lost(&self) {
        self.shared.withdraw_lost();
    }

    /// How many sessions went with that GPU.
    pub(crate) fn away(&self, gpu: i32) -> usize {
        self.shared.lock().away.iter().filter(|away| away.number() == gpu).count()
    }

    /// Has sessions take the places of those that went with that GPU.
    pub(crate) fn restore(&self, gpu: i32, sessions: Vec<Box<dyn Session>>) {
        let mut state = self.shared.lock();
        let mut left = sessions.len();
        state.away.retain(|away| {
            let is_back = left > 0 && away.number() == gpu;
            left -= usize::from(is_back);
            !is_back
        });
        state.free.extend(sessions);
        if !state.queue.is_empty() && state.tell_one() {
            self.shared.wake.notify_one();
        }
    }
}

impl State {
    /// Why no session is there.
    fn why_away(&self) -> Option<String> {
        let gpu = self.away.first().filter(|_| self.is_away())?;
        Some(gpu.why())
            .filter(|why| !why.is_empty())
            .or_else(|| Some("its sessions are being opened".to_owned()))
    }

    /// Whether no session is there, free or running.
    pub(super) fn is_away(&self) -> bool {
        self.away.len() == self.sessions
    }

    /// # Errors
    /// `Away`: no session is there.
    pub(super) fn check_away(&self) -> Result<(), QueueError> {
        self.why_away().map_or(Ok(()), |reason| Err(QueueError::Away { reason }))
    }
}

impl Shared {
    /// A free session, unless it was lost: no request has to meet one that was.
    pub(super) fn take_free<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
    ) -> (MutexGuard<'a, State>, Option<Box<dyn Session>>) {
        if state.free.iter().any(|session| session.lost().is_some()) {
            drop(state);
            self.withdraw_lost();
            state = self.lock();
        }
        let session = state.free.pop();
        (state, session)
    }

    fn withdraw_lost(&self) {
        let mut state = self.lock();
        let (lost, free) = state.free.drain(..).partition(|session| session.lost().is_some());
        state.free = free;
        drop(state);
        self.lose(lost);
    }

    /// Lets go of sessions that are lost, and refuses what waits if they were the last.
    pub(super) fn lose(&self, sessions: Vec<Box<dyn Session>>) {
        let gpus: Vec<Arc<Gpu>> = sessions.iter().filter_map(|session| session.lost().cloned()).collect();
        let mut state = self.lock();
        // Before they are dropped: when nothing of the old context is left, all are known to be away.
        state.away.extend(gpus);
        let reason = state.why_away();
        let refused = if reason.is_some() { state.queue.drain() } else { Vec::new() };
        self.tell_waiting(&mut state);
        if state.closed {
            self.wake.notify_all();
        } else if !state.queue.is_empty() && !state.free.is_empty() && state.tell_one() {
            self.wake.notify_one();
        }
        drop(state);
        drop(sessions);
        for taken in refused {
            let reason = reason.clone().unwrap_or_default();
            let refusal = RunError::Engine(EngineError::Away { reason });
            self.deliver(taken.number, taken.waiting.item, Err(refusal));
        }
    }
}

#[cfg(test)]
mod tests;
