//! What `serve` serves -> what it says of that to the registry, and back the word that everybody goes by it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::heard::{Record, Served};
use super::registry::{Registry, Untold};

/// Who tells of changes.
pub(crate) struct Herald {
    /// Nobody is told where nothing is cached.
    registry: Option<Arc<dyn Registry>>,
    /// How long a change may take to be known to all.
    patience: Duration,
    record: Mutex<Record>,
    changes: AtomicU64,
}

impl Herald {
    /// Nobody has to be told.
    pub(crate) fn none() -> Self {
        Self::of(None, "", Duration::ZERO)
    }

    /// That registry is told.
    pub(crate) fn new(registry: Arc<dyn Registry>, service: &str, patience: Duration) -> Self {
        Self::of(Some(registry), service, patience)
    }

    fn of(registry: Option<Arc<dyn Registry>>, service: &str, patience: Duration) -> Self {
        let record = Mutex::new(Record::empty(service));
        Self { registry, patience, record, changes: AtomicU64::new(0) }
    }

    /// These are served now. Must be called in the order of the changes.
    pub(crate) fn say(&self, models: Vec<Served>) {
        let mut record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        let next = record.then(models);
        if *record == next {
            return;
        }
        *record = next;
        self.changes.fetch_add(1, Ordering::Relaxed);
        if let Some(registry) = &self.registry {
            registry.say(record.clone());
        }
    }

    /// How many changes were said.
    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Relaxed)
    }

    /// Waits until what was said last is known to every gate, and to every proxy that polls one, or the time for that is over: who
    /// doesn't have it by then gives no hits any more.
    ///
    /// # Errors
    /// When it could not even be said.
    pub(crate) async fn settled(&self) -> Result<(), Untold> {
        match &self.registry {
            Some(registry) => registry.settled(self.patience).await,
            None => Ok(()),
        }
    }
}
