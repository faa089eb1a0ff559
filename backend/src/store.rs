//! Keys -> fresh entries; results -> the pool. Memory is filled at once; a remote pool is written through a queue
//! bounded in bytes, that drops and counts when it is full and is drained at the end. A store never fails a request.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use forebay_protocol::digest::Key;
use forebay_protocol::entry::Entry;
use metrics::counter;
use prost::Message as _;
use tokio::sync::{mpsc, oneshot};

use crate::pool::{MemoryPool, Pool, PoolError, RedisPool};

/// Entries written in one round trip.
const BATCH: usize = 64;

/// The pool and the way into it.
pub(crate) struct Store {
    pool: Arc<Pool>,
    max_entry_bytes: usize,
    writer: Option<Writer>,
}

struct Writer {
    queue: mpsc::UnboundedSender<Message>,
    waiting_bytes: Arc<AtomicUsize>,
    limit_bytes: usize,
}

enum Message {
    Write { key: Key, entry: Arc<Entry>, bytes: usize },
    Flushed(oneshot::Sender<()>),
}

impl Store {
    /// A store in memory.
    pub(crate) fn memory(pool: MemoryPool, max_entry_bytes: usize) -> Self {
        Self { pool: Arc::new(Pool::Memory(pool)), max_entry_bytes, writer: None }
    }

    /// A store in Redis; at most `limit_bytes` wait to be written. Must be called inside a runtime.
    pub(crate) fn redis(pool: RedisPool, max_entry_bytes: usize, limit_bytes: usize) -> Self {
        let pool = Arc::new(Pool::Redis(pool));
        let (queue, messages) = mpsc::unbounded_channel();
        let waiting_bytes = Arc::new(AtomicUsize::new(0));
        tokio::spawn(write(pool.clone(), messages, waiting_bytes.clone()));
        Self { pool, max_entry_bytes, writer: Some(Writer { queue, waiting_bytes, limit_bytes }) }
    }

    /// The first fresh entry under `keys`. A pool that fails is a miss.
    pub(crate) async fn lookup(&self, keys: &[Key]) -> Option<Arc<Entry>> {
        match self.pool.get(keys).await {
            Ok(entries) => {
                let now = now_ms();
                entries.into_iter().find(|entry| age_s(entry, now) < u64::from(entry.max_age_s))
            }
            Err(error) => {
                counter!("forebay_pool_failed_lookups", "reason" => error.reason()).increment(1);
                if !matches!(error, PoolError::Resting) {
                    tracing::debug!("lookup: {error}");
                }
                None
            }
        }
    }

    /// Keeps an entry, or counts why not. Returns whether it is kept: for a remote pool, whether it will be written.
    pub(crate) fn keep(&self, key: Key, entry: Entry) -> bool {
        let bytes = entry.encoded_len();
        if bytes > self.max_entry_bytes {
            dropped("too_large", 1);
            return false;
        }
        let entry = Arc::new(entry);
        match (&*self.pool, &self.writer) {
            (Pool::Memory(pool), _) => {
                pool.put(&key, entry);
                true
            }
            (Pool::Redis(_), writer) => writer.as_ref().is_some_and(|writer| writer.queue(key, entry, bytes)),
        }
    }

    /// Waits until everything kept so far is written, for at most `patience`.
    pub(crate) async fn drain(&self, patience: Duration) {
        let Some(writer) = &self.writer else { return };
        let (flushed, written) = oneshot::channel();
        if writer.queue.send(Message::Flushed(flushed)).is_err() {
            return;
        }
        if tokio::time::timeout(patience, written).await.is_err() {
            let bytes = writer.waiting_bytes.load(Ordering::Relaxed);
            tracing::warn!(bytes, "results were not written to the pool before the end");
        }
    }
}

impl Writer {
    fn queue(&self, key: Key, entry: Arc<Entry>, bytes: usize) -> bool {
        let within = |now: usize| now.checked_add(bytes).filter(|sum| *sum <= self.limit_bytes);
        if self.waiting_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, within).is_err() {
            dropped("queue_full", 1);
            return false;
        }
        let queued = self.queue.send(Message::Write { key, entry, bytes }).is_ok();
        if !queued {
            dropped("ended", 1);
        }
        queued
    }
}

fn dropped(reason: &'static str, count: u64) {
    counter!("forebay_pool_dropped_writes", "reason" => reason).increment(count);
}

async fn write(
    pool: Arc<Pool>,
    mut messages: mpsc::UnboundedReceiver<Message>,
    waiting_bytes: Arc<AtomicUsize>,
) {
    let Pool::Redis(pool) = &*pool else { return };
    let mut received = Vec::with_capacity(BATCH);
    while messages.recv_many(&mut received, BATCH).await > 0 {
        let mut batch = Vec::with_capacity(received.len());
        let mut flushed = Vec::new();
        let mut batch_bytes = 0;
        for message in received.drain(..) {
            match message {
                Message::Write { key, entry, bytes } => {
                    batch.push((key, entry));
                    batch_bytes += bytes;
                }
                Message::Flushed(done) => flushed.push(done),
            }
        }
        if !batch.is_empty() {
            if let Err(error) = pool.put(&batch).await {
                dropped("pool", batch.len() as u64);
                tracing::debug!("write: {error}");
            }
            waiting_bytes.fetch_sub(batch_bytes, Ordering::Relaxed);
        }
        for done in flushed {
            // Whoever waited may have lost patience.
            let _ = done.send(());
        }
    }
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Whole seconds since the entry was made; 0 for one from the future.
pub(crate) fn age_s(entry: &Entry, now_ms: u64) -> u64 {
    now_ms.saturating_sub(entry.created_ms) / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Key = Key([7; 32]);

    fn entry(age: Duration, max_age_s: u32) -> Entry {
        let created_ms = now_ms() - u64::try_from(age.as_millis()).unwrap();
        Entry { created_ms, max_age_s, ..Entry::default() }
    }

    fn store() -> Store {
        Store::memory(MemoryPool::new(1 << 20), 1000)
    }

    #[tokio::test]
    async fn fresh_entries_are_found_and_stale_ones_are_not() {
        let store = store();
        store.keep(KEY, entry(Duration::from_secs(5), 60));
        assert!(store.lookup(&[KEY]).await.is_some());
        store.keep(KEY, entry(Duration::from_secs(61), 60));
        assert!(store.lookup(&[KEY]).await.is_none());
    }

    #[tokio::test]
    async fn too_large_entries_are_not_kept() {
        let store = store();
        store.keep(KEY, Entry { generation: vec![0; 2000].into(), ..entry(Duration::ZERO, 60) });
        assert!(store.lookup(&[KEY]).await.is_none());
    }

    #[tokio::test]
    async fn a_pool_that_is_not_there_is_a_miss_and_full_queues_drop() {
        let connection = crate::pool::connect("redis://127.0.0.1:1/").unwrap();
        let secret = forebay_protocol::entry::Secret::from_bytes(&[1; 32]).unwrap();
        let pool = RedisPool::new(connection, secret, Duration::from_millis(5));
        let store = Store::redis(pool, 1000, 100);
        assert!(store.lookup(&[KEY]).await.is_none());
        for _ in 0..100 {
            store.keep(KEY, entry(Duration::ZERO, 60));
        }
        let waiting = store.writer.as_ref().map(|writer| writer.waiting_bytes.load(Ordering::Relaxed));
        assert!(waiting.is_some_and(|bytes| bytes <= 100), "{waiting:?}");
        store.drain(Duration::from_secs(20)).await;
    }
}
