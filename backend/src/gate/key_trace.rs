//! Traces of keys, where a folder for them is named: which sampled keys were asked when, what they cost and how large their answers were,
//! and no contents. Rows of polls enter, each report once, and what the table of live generations says of rollouts (`rollouts`); they are
//! held (`held`) until a time is over for all that may tell of it late; then it is a file (`file`), which a thread writes (`writer`).
//! `forebay simulate` reads those.
//!
//! Nothing that goes wrong here is felt by a proxy or a request: what can't be held or written is dropped and counted.

mod dropped;
mod file;
mod held;
mod rollouts;
mod writer;

use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use forebay_protocol::poll::Trace;
use tokio::sync::oneshot;

use crate::cache::live::LiveTable;
use crate::settings::KeyTraceConfig;
use crate::time::clock::now_ms;
use held::Held;
use rollouts::Rollouts;
use writer::Writer;

/// Keeps traces of keys.
pub(crate) struct KeyTraces {
    held: Arc<Mutex<Held>>,
    /// Tells the thread that this is all, when it is dropped.
    to_writer: Mutex<Option<Sender<()>>>,
    /// Told when all is on disk that was held at the end.
    ended: Mutex<Option<oneshot::Receiver<()>>>,
}

impl KeyTraces {
    /// Starts to keep them. A folder that can't be made or written is said, and tried again with each trace.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub(crate) fn start(config: &KeyTraceConfig, live: Arc<LiveTable>) -> std::io::Result<Arc<Self>> {
        let held = Arc::new(Mutex::new(Held::new(config, Rollouts::new(live), now_ms())));
        let (to_writer, ended) = Writer::start(config, held.clone())?;
        Ok(Arc::new(Self { held, to_writer: Mutex::new(Some(to_writer)), ended: Mutex::new(Some(ended)) }))
    }

    /// Takes the rows of a report that nobody has taken before.
    pub(super) fn take(&self, rows: Vec<Trace>, rate: u32) {
        self.held().take(rows, rate, now_ms());
    }

    /// Learns for how long answers of a model are fresh.
    pub(super) fn learn(&self, service: &str, model: &str, max_age_s: u32) {
        self.held().learn(service, model, max_age_s);
    }

    /// Waits until all is on disk that is held, but no longer than that.
    pub(crate) async fn end(&self, patience: Duration) {
        drop(self.to_writer.lock().unwrap_or_else(PoisonError::into_inner).take());
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(ended) = ended
            && tokio::time::timeout(patience, ended).await.is_err()
        {
            tracing::warn!("cut: the last trace of keys was not on disk yet");
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
