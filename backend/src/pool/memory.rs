//! The pool inside the process: bounded in bytes, evicts what is asked for least.

use std::sync::Arc;

use forebay_protocol::digest::Key;
use forebay_protocol::entry::Entry;
use prost::Message as _;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

/// What an entry costs besides its encoded bytes: key, reference counts, names, the cache's own slot. Measured
/// generously rather than exactly.
const OVERHEAD_BYTES: u64 = 512;
/// For sizing the cache's tables only.
const TYPICAL_ENTRY_BYTES: usize = 4096;

/// Entries by key.
pub(crate) struct MemoryPool {
    entries: Cache<[u8; 32], Arc<Entry>, Weight>,
}

#[derive(Clone)]
struct Weight;

impl Weighter<[u8; 32], Arc<Entry>> for Weight {
    fn weight(&self, _: &[u8; 32], entry: &Arc<Entry>) -> u64 {
        entry.encoded_len() as u64 + OVERHEAD_BYTES
    }
}

impl MemoryPool {
    /// Keeps at most `bytes`.
    pub(crate) fn new(bytes: usize) -> Self {
        Self { entries: Cache::with_weighter((bytes / TYPICAL_ENTRY_BYTES).max(16), bytes as u64, Weight) }
    }

    /// The entries under `keys` that are there.
    pub(crate) fn get(&self, keys: &[Key]) -> Vec<Arc<Entry>> {
        keys.iter().filter_map(|key| self.entries.get(&key.0)).collect()
    }

    /// Keeps an entry; an entry larger than a shard of the pool is not kept.
    pub(crate) fn put(&self, key: &Key, entry: Arc<Entry>) {
        self.entries.insert(key.0, entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(bytes: usize) -> Arc<Entry> {
        Arc::new(Entry { generation: vec![1; bytes].into(), ..Entry::default() })
    }

    #[test]
    fn what_was_put_is_found() {
        let pool = MemoryPool::new(1 << 20);
        pool.put(&Key([1; 32]), entry(10));
        assert_eq!(pool.get(&[Key([2; 32]), Key([1; 32])]).len(), 1);
    }

    #[test]
    fn never_more_than_its_bytes() {
        let pool = MemoryPool::new(1 << 20);
        for number in 0..2000_u32 {
            let mut key = [0; 32];
            key[..4].copy_from_slice(&number.to_le_bytes());
            pool.put(&Key(key), entry(10_000));
        }
        assert!(pool.entries.weight() <= 1 << 20);
        assert!(pool.entries.len() > 10);
    }
}
