//! Keys -> fresh entries; results -> the pool. Memory is filled at once; a remote pool is written by `writer`. A store never
//! fails a request.

mod writer;

use std::sync::Arc;
use std::time::Duration;

use forebay_protocol::cache_control::RequestDirectives;
use forebay_protocol::digest::Key;
use forebay_protocol::entry::Entry;
use forebay_protocol::freshness::Stored;
use metrics::counter;
use prost::Message as _;

use super::pool::{MemoryPool, Pool, PoolError, RedisPool};
pub(crate) use crate::time::clock::now_ms;
use writer::Writer;

/// The pool and the way into it.
pub(crate) struct Store {
    pool: Arc<Pool>,
    max_entry_bytes: usize,
    writer: Option<Writer>,
}

impl Store {
    /// A store in memory.
    pub(crate) fn memory(pool: MemoryPool, max_entry_bytes: usize) -> Self {
        Self { pool: Arc::new(Pool::Memory(pool)), max_entry_bytes, writer: None }
    }

    /// A store in Redis; at most `limit_bytes` wait to be written. Must be called inside a runtime.
    pub(crate) fn redis(pool: RedisPool, max_entry_bytes: usize, limit_bytes: usize) -> Self {
        let pool = Arc::new(Pool::Redis(pool));
        let writer = Writer::start(pool.clone(), limit_bytes);
        Self { pool, max_entry_bytes, writer: Some(writer) }
    }

    /// The first fresh entry under `keys`. A pool that fails is a miss.
    pub(crate) async fn lookup(&self, keys: &[Key]) -> Option<Arc<Entry>> {
        match self.pool.get(keys).await {
            Ok(entries) => {
                let now = now_ms();
                entries.into_iter().find(|entry| is_fresh(entry, now))
            }
            Err(error) => {
                counter!("forebay_pool_failed_lookups", "reason" => error.reason()).increment(1);
                if !matches!(error, PoolError::Resting | PoolError::Down(_)) {
                    tracing::debug!("lookup: {error}");
                }
                None
            }
        }
    }

    /// Keeps an entry, or counts why not. Returns whether it is kept: for a remote pool, whether it will be written to one that
    /// works as far as is known.
    pub(crate) fn keep(&self, key: Key, entry: Entry) -> bool {
        let bytes = entry.encoded_len();
        if bytes > self.max_entry_bytes {
            dropped("too_large", 1);
            return false;
        }
        let entry = Arc::new(entry);
        match (&*self.pool, &self.writer) {
            (Pool::Memory(pool), _) => {
                let kept = pool.put(&key, entry);
                if !kept {
                    dropped("too_large", 1);
                }
                kept
            }
            (Pool::Redis(_), writer) => writer.as_ref().is_some_and(|writer| writer.write(key, entry, bytes)),
        }
    }

    /// Waits until everything kept so far is written, for at most `patience`.
    pub(crate) async fn drain(&self, patience: Duration) {
        if let Some(writer) = &self.writer {
            writer.drain(patience).await;
        }
    }
}

fn dropped(reason: &'static str, count: u64) {
    counter!("forebay_pool_dropped_writes", "reason" => reason).increment(count);
}

/// Not older than it may be, and not from the future.
fn is_fresh(entry: &Entry, now_ms: u64) -> bool {
    let stored = Stored { created_ms: entry.created_ms, max_age_s: entry.max_age_s };
    stored.usable(&RequestDirectives::default(), now_ms).is_ok()
}

/// Whole seconds since the entry was made.
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
        Store::memory(MemoryPool::new(1 << 20, 1000), 1000)
    }

    #[tokio::test]
    async fn fresh_entries_are_found_and_stale_ones_are_not() {
        let store = store();
        assert!(store.keep(KEY, entry(Duration::from_secs(5), 60)));
        assert!(store.lookup(&[KEY]).await.is_some());
        store.keep(KEY, entry(Duration::from_secs(61), 60));
        assert!(store.lookup(&[KEY]).await.is_none());
    }

    #[tokio::test]
    async fn an_entry_from_the_future_is_not_fresh() {
        let store = store();
        store.keep(KEY, Entry { created_ms: now_ms() + 3_600_000, ..entry(Duration::ZERO, 60) });
        assert!(store.lookup(&[KEY]).await.is_none());
        store.keep(KEY, Entry { created_ms: now_ms() + 500, ..entry(Duration::ZERO, 60) });
        assert!(store.lookup(&[KEY]).await.is_some(), "clocks may differ a little");
    }

    #[tokio::test]
    async fn too_large_entries_are_not_kept() {
        let store = store();
        assert!(!store.keep(KEY, Entry { generation: vec![0; 2000].into(), ..entry(Duration::ZERO, 60) }));
        assert!(store.lookup(&[KEY]).await.is_none());
    }
}
