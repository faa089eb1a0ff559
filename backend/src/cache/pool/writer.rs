//! Results -> a remote pool, through a queue bounded in bytes. What doesn't fit is dropped and counted; what a pool refuses, too,
//! and then only one result now and then is tried until one was taken.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use forebay_protocol::digest::Key;
use forebay_protocol::entry::Entry;
use tokio::sync::{mpsc, oneshot};

use super::remote::{Kept, Shelf};
use super::{PoolError, dropped};

/// What is written in one round trip: so many entries, or so many bytes. Large ones would keep lookups of others waiting in Redis,
/// which does one thing at a time.
const BATCH: (usize, usize) = (64, 1 << 20);
/// Batches of more bytes are sealed on a thread of its own.
const SEALED_HERE: usize = 256 << 10;
/// After a write that failed, one is tried every so often.
const TRIAL: Duration = Duration::from_millis(500);

/// The way into the queue.
pub(super) struct Writer {
    tier: &'static str,
    queue: mpsc::UnboundedSender<Message>,
    waiting_bytes: Arc<AtomicUsize>,
    limit_bytes: usize,
    works: Arc<Works>,
}

enum Message {
    Write { key: Key, entry: Arc<Entry>, bytes: usize },
    Flushed(oneshot::Sender<()>),
}

/// Whether the last write was taken.
struct Works {
    start: Instant,
    /// Milliseconds after `start` at which the next result is tried; 0 while all are.
    next_trial: AtomicU64,
}

/// What to do with a result.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    /// It is written.
    Write,
    /// It is written to see whether that works again.
    Try,
    /// It is dropped.
    Drop,
}

impl Writer {
    /// Starts writing. Must be called inside a runtime.
    pub(super) fn start<S: Shelf>(kept: Arc<Kept<S>>, limit_bytes: usize) -> Self {
        let (queue, messages) = mpsc::unbounded_channel();
        let waiting_bytes = Arc::new(AtomicUsize::new(0));
        let works = Arc::new(Works { start: Instant::now(), next_trial: AtomicU64::new(0) });
        tokio::spawn(write(kept, messages, waiting_bytes.clone(), works.clone()));
        Self { tier: S::TIER, queue, waiting_bytes, limit_bytes, works }
    }

    /// Queues an entry. True if it is, for a pool that works.
    pub(super) fn write(&self, is_connected: bool, key: Key, entry: Arc<Entry>, bytes: usize) -> bool {
        let fate = if is_connected { self.works.fate(self.works.now_ms()) } else { Fate::Drop };
        if fate == Fate::Drop {
            dropped(self.tier, "pool", 1);
            return false;
        }
        let within = |now: usize| now.checked_add(bytes).filter(|sum| *sum <= self.limit_bytes);
        if self.waiting_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, within).is_err() {
            dropped(self.tier, "queue_full", 1);
            return false;
        }
        let queued = self.queue.send(Message::Write { key, entry, bytes }).is_ok();
        if !queued {
            dropped(self.tier, "ended", 1);
        }
        queued && fate == Fate::Write
    }

    /// Waits until all that is queued is written, for at most `patience`.
    pub(super) async fn drain(&self, patience: Duration) {
        let (flushed, written) = oneshot::channel();
        if self.queue.send(Message::Flushed(flushed)).is_err() {
            return;
        }
        if tokio::time::timeout(patience, written).await.is_err() {
            let bytes = self.waiting_bytes.load(Ordering::Relaxed);
            tracing::warn!(bytes, "results were not written to the pool before the end");
        }
    }
}

impl Works {
    fn now_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn fate(&self, now_ms: u64) -> Fate {
        let at = self.next_trial.load(Ordering::Relaxed);
        if at == 0 {
            return Fate::Write;
        }
        // Whoever moves the next trial is this one.
        let moved = || {
            let next = now_ms + millis(TRIAL);
            self.next_trial.compare_exchange(at, next, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        };
        if now_ms >= at && moved() { Fate::Try } else { Fate::Drop }
    }

    fn written(&self, taken: bool, now_ms: u64) {
        self.next_trial.store(if taken { 0 } else { now_ms + millis(TRIAL) }, Ordering::Relaxed);
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

async fn write<S: Shelf>(
    kept: Arc<Kept<S>>,
    mut messages: mpsc::UnboundedReceiver<Message>,
    waiting_bytes: Arc<AtomicUsize>,
    works: Arc<Works>,
) {
    let (mut batch, mut batch_bytes) = (Vec::new(), 0);
    loop {
        let message = match messages.try_recv() {
            Ok(message) => Some(message),
            // Nothing waits: what there is goes out.
            Err(_) if !batch.is_empty() => None,
            Err(_) => match messages.recv().await {
                Some(message) => Some(message),
                None => return,
            },
        };
        let flushed = match message {
            Some(Message::Write { key, entry, bytes }) => {
                batch.push((key, entry));
                batch_bytes += bytes;
                if batch.len() < BATCH.0 && batch_bytes < BATCH.1 {
                    continue;
                }
                None
            }
            Some(Message::Flushed(done)) => Some(done),
            None => None,
        };
        let entries = std::mem::take(&mut batch);
        let bytes = std::mem::take(&mut batch_bytes);
        if !entries.is_empty() {
            let count = entries.len() as u64;
            let written = put(&kept, entries, bytes).await;
            waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
            works.written(written.is_ok(), works.now_ms());
            if written.is_err() {
                dropped(S::TIER, "pool", count);
            }
        }
        if let Some(done) = flushed {
            // Whoever waited may have lost patience.
            let _ = done.send(());
        }
    }
}

async fn put<S: Shelf>(
    kept: &Arc<Kept<S>>,
    entries: Vec<(Key, Arc<Entry>)>,
    bytes: usize,
) -> Result<(), PoolError> {
    let sealed = {
        let kept = kept.clone();
        move || entries.iter().map(|(key, entry)| kept.seal(*key, entry)).collect::<Vec<_>>()
    };
    let sealed = if bytes <= SEALED_HERE {
        sealed()
    } else {
        // Sealing can't fail; a runtime that ends takes the task along.
        tokio::task::spawn_blocking(sealed).await.unwrap_or_default()
    };
    kept.put(&sealed).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::pool::{Pool as _, RemotePool};

    #[test]
    fn after_a_refusal_one_result_is_tried_now_and_then_until_one_is_taken() {
        let works = Works { start: Instant::now(), next_trial: AtomicU64::new(0) };
        assert_eq!(works.fate(1), Fate::Write);
        works.written(false, 10);
        assert_eq!([works.fate(11), works.fate(509)], [Fate::Drop, Fate::Drop]);
        assert_eq!([works.fate(510), works.fate(510)], [Fate::Try, Fate::Drop]);
        works.written(true, 520);
        assert_eq!(works.fate(521), Fate::Write);
    }

    #[tokio::test]
    async fn nothing_waits_for_a_pool_that_is_not_there() {
        let redis = crate::cache::pool::Redis::open(&crate::settings::Reach::by_url("redis://127.0.0.1:1/"))
            .await
            .unwrap();
        let secret = crate::cache::PoolSecret::of(&[1; 32]);
        let pool = RemotePool::start(redis, secret, Duration::from_millis(5), 100);
        let entry = Arc::new(Entry::default());
        assert!((0..100).all(|number| !pool.put(Key([number; 32]), entry.clone(), 10)));
        assert_eq!(pool.writer.waiting_bytes.load(Ordering::Relaxed), 0);
        pool.drain(Duration::from_secs(20)).await;
    }
}
