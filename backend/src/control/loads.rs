//! Which models are being loaded: one load of a model at a time, which another call can stop. A name enters, its turn leaves.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

/// The loads that are on, by model, each with what stops it.
#[derive(Default)]
pub(super) struct Loads {
    on: Mutex<BTreeMap<String, CancellationToken>>,
    ended: Condvar,
}

/// A model's turn; it ends when this is dropped.
pub(super) struct Turn<'a> {
    loads: &'a Loads,
    model: &'a str,
    pub(super) stop: CancellationToken,
}

impl Loads {
    /// Waits until no other has the model's turn. `stop` stops this one.
    pub(super) fn turn<'a>(&'a self, model: &'a str, stop: CancellationToken) -> Turn<'a> {
        let mut on = self.on();
        while on.contains_key(model) {
            on = self.ended.wait(on).unwrap_or_else(PoisonError::into_inner);
        }
        on.insert(model.to_owned(), stop.clone());
        Turn { loads: self, model, stop }
    }

    /// Stops the load of that model that is on, if there is one.
    pub(super) fn stop(&self, model: &str) {
        if let Some(stop) = self.on().get(model) {
            stop.cancel();
        }
    }

    /// The models whose turn it is.
    pub(super) fn models(&self) -> Vec<String> {
        self.on().keys().cloned().collect()
    }

    fn on(&self) -> MutexGuard<'_, BTreeMap<String, CancellationToken>> {
        self.on.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.loads.on().remove(self.model);
        self.loads.ended.notify_all();
    }
}
