//! Which models are being loaded: one load of a model at a time, and not too many of all. Calls wait here without a thread, for
//! those that the runtime has for what takes long are needed by others too. A name enters, its turn leaves.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::ControlError;

/// So many models are loaded at a time, each on a thread: most wait for a disk, or for a GPU that another is built for.
const AT_A_TIME: usize = 64;
/// So many calls may wait for a turn, each with the files that it brought.
const MOST_CALLS: usize = 1024;

/// The models that calls are on for, by name.
pub(super) struct Loads {
    lines: Mutex<BTreeMap<String, Line>>,
    room: Arc<Semaphore>,
}

/// The calls for one model.
struct Line {
    turn: Arc<tokio::sync::Mutex<()>>,
    /// Stops the load that is on, and those that wait.
    stop: CancellationToken,
    calls: usize,
}

/// A model's turn; it ends when this is dropped.
pub(super) struct Turn {
    pub(super) stop: CancellationToken,
    // In the order in which they are given back.
    _held: OwnedMutexGuard<()>,
    _call: Call,
}

/// A call in its line.
struct Call {
    loads: Arc<Loads>,
    model: String,
}

impl Default for Loads {
    fn default() -> Self {
        Self { lines: Mutex::default(), room: Arc::new(Semaphore::new(AT_A_TIME)) }
    }
}

impl Loads {
    /// Waits until no other has the model's turn; calls have it in the order in which they came. `all` stops all of them.
    ///
    /// # Errors
    /// `Busy`: too many calls wait.
    pub(super) async fn turn(
        self: &Arc<Self>,
        model: &str,
        all: &CancellationToken,
    ) -> Result<Turn, ControlError> {
        let (turn, stop, call) = {
            let mut lines = self.lines();
            if lines.values().map(|line| line.calls).sum::<usize>() >= MOST_CALLS {
                return Err(ControlError::Busy { calls: MOST_CALLS });
            }
            let new = || Line { turn: Arc::default(), stop: all.child_token(), calls: 0 };
            let line = lines.entry(model.to_owned()).or_insert_with(new);
            line.calls += 1;
            let call = Call { loads: self.clone(), model: model.to_owned() };
            (line.turn.clone(), line.stop.clone(), call)
        };
        let turn = turn.lock_owned().await;
        Ok(Turn { stop, _held: turn, _call: call })
    }

    /// Waits until there is room for one more load; `None` when it is stopped before: who stopped it waits for its turn.
    pub(super) async fn room(&self, turn: &Turn) -> Option<OwnedSemaphorePermit> {
        let room = self.room.clone().acquire_owned();
        turn.stop.run_until_cancelled(room).await?.ok()
    }

    /// Stops the load of that model that is on, and those that wait for their turn. Later ones are not stopped by it.
    pub(super) fn stop(&self, model: &str, all: &CancellationToken) {
        if let Some(line) = self.lines().get_mut(model) {
            line.stop.cancel();
            line.stop = all.child_token();
        }
    }

    /// The models that calls are on for.
    pub(super) fn models(&self) -> Vec<String> {
        self.lines().keys().cloned().collect()
    }

    fn lines(&self) -> MutexGuard<'_, BTreeMap<String, Line>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let mut lines = self.loads.lines();
        if let Some(line) = lines.get_mut(&self.model) {
            line.calls -= 1;
            if line.calls == 0 {
                lines.remove(&self.model);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::poll;

    use super::*;

    #[tokio::test]
    async fn a_model_has_one_turn_at_a_time_in_order_and_models_dont_wait_for_each_other() {
        let (loads, all) = (Arc::new(Loads::default()), CancellationToken::new());
        let first = loads.turn("a", &all).await.unwrap();
        let mut second = pin!(loads.turn("a", &all));
        assert!(poll!(second.as_mut()).is_pending());
        let other = loads.turn("b", &all).await.unwrap();
        assert_eq!(loads.models(), ["a", "b"]);
        drop((first, other));
        drop(second.await.unwrap());
        assert!(loads.models().is_empty());
    }

    #[tokio::test]
    async fn a_stop_is_for_those_that_are_there() {
        let (loads, all) = (Arc::new(Loads::default()), CancellationToken::new());
        let on = loads.turn("a", &all).await.unwrap();
        let mut waits = pin!(loads.turn("a", &all));
        assert!(poll!(waits.as_mut()).is_pending());
        loads.stop("a", &all);
        let mut later = pin!(loads.turn("a", &all));
        assert!(poll!(later.as_mut()).is_pending() && on.stop.is_cancelled());
        drop(on);
        assert!(waits.await.unwrap().stop.is_cancelled());
        let later = later.await.unwrap();
        assert!(!later.stop.is_cancelled());
        all.cancel();
        assert!(later.stop.is_cancelled());
    }

    #[tokio::test]
    async fn a_load_that_waits_for_room_is_stopped_at_once() {
        let (loads, all) = (Arc::new(Loads::default()), CancellationToken::new());
        let all_room = u32::try_from(AT_A_TIME).unwrap();
        let taken = loads.room.clone().acquire_many_owned(all_room).await.unwrap();
        let turn = loads.turn("a", &all).await.unwrap();
        let mut room = Box::pin(loads.room(&turn));
        assert!(poll!(&mut room).is_pending());
        loads.stop("a", &all);
        assert!(room.await.is_none());
        drop((turn, taken));
        let turn = loads.turn("a", &all).await.unwrap();
        assert!(loads.room(&turn).await.is_some());
    }

    #[tokio::test]
    async fn calls_are_bounded_and_one_that_is_given_up_leaves_its_line() {
        let (loads, all) = (Arc::new(Loads::default()), CancellationToken::new());
        let _on = loads.turn("a", &all).await.unwrap();
        let mut waiting: Vec<_> = (1..MOST_CALLS).map(|_| Box::pin(loads.turn("a", &all))).collect();
        for call in &mut waiting {
            assert!(poll!(call).is_pending());
        }
        assert!(matches!(loads.turn("b", &all).await, Err(ControlError::Busy { .. })));
        drop(waiting);
        assert!(loads.turn("b", &all).await.is_ok());
    }
}
