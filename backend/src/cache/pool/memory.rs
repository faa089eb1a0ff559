//! The pool inside the process: bounded in bytes, evicts what is asked for least.

use std::sync::Arc;
use std::time::Duration;

use forebay_protocol::digest::Key;
use forebay_protocol::entry::Entry;
use forebay_protocol::residency::{self, weight};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use prost::Message as _;
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, Options, OptionsBuilder, Weighter};

use super::{Claim, Found, Otherwise, Pool, PoolError, dropped};

/// For sizing the cache's tables only.
const TYPICAL_ENTRY_BYTES: usize = 4096;

/// As a metric's label.
const TIER: &str = "memory";

/// Entries by key.
pub(crate) struct MemoryPool {
    entries: Cache<[u8; 32], Arc<Entry>, Weight>,
    /// The heaviest entry that a shard takes.
    heaviest: u64,
}

#[derive(Clone)]
struct Weight;

impl Weighter<[u8; 32], Arc<Entry>> for Weight {
    fn weight(&self, _: &[u8; 32], entry: &Arc<Entry>) -> u64 {
        weight(entry.encoded_len() as u64)
    }
}

impl MemoryPool {
    /// Keeps at most `bytes`, in as many shards as leave each room for entries of `max_entry_bytes`.
    pub(crate) fn new(bytes: usize, max_entry_bytes: usize) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let options = options(bytes as u64, max_entry_bytes as u64, cores);
        let hashes = DefaultHashBuilder::default();
        let entries = Cache::with_options(options, Weight, hashes, DefaultLifecycle::default());
        let heaviest = residency::heaviest(entries.shard_capacity());
        Self { entries, heaviest }
    }
}

impl Pool for MemoryPool {
    fn tier(&self) -> &'static str {
        TIER
    }

    fn get<'a>(&'a self, keys: &'a [Key], _: Otherwise) -> BoxFuture<'a, Found> {
        std::future::ready(Ok(keys.iter().map(|key| self.at_hand(key)).collect())).boxed()
    }

    fn at_hand(&self, key: &Key) -> Option<Arc<Entry>> {
        self.entries.get(&key.0)
    }

    /// Nobody else has this pool, and equal requests of this process join before they come here.
    fn claim(&self, key: Key) -> BoxFuture<'_, Result<Claim, PoolError>> {
        let entry = self.entries.get(&key.0);
        std::future::ready(Ok(entry.map_or(Claim::Free, Claim::Found))).boxed()
    }

    /// What the pool is too small for is not kept, and what stood under the key is gone then, too.
    fn put(&self, key: Key, entry: Arc<Entry>, bytes: usize) -> bool {
        if weight(bytes as u64) > self.heaviest {
            self.entries.remove(&key.0);
            dropped(TIER, "too_large", 1);
            return false;
        }
        self.entries.insert(key.0, entry);
        true
    }

    fn drain(&self, _: Duration) -> BoxFuture<'_, ()> {
        std::future::ready(()).boxed()
    }

    fn trouble(&self) -> Option<String> {
        None
    }
}

fn options(bytes: u64, max_entry_bytes: u64, cores: usize) -> Options {
    let shards = residency::shards(bytes, max_entry_bytes, cores);
    let items = usize::try_from(bytes).unwrap_or(usize::MAX) / TYPICAL_ENTRY_BYTES;
    let mut options = OptionsBuilder::new();
    options.shards(shards).estimated_items_capacity(items.max(16)).weight_capacity(bytes);
    options.hot_allocation(f64::from(residency::HOT_PERCENT) / 100.0);
    options.build().unwrap_or_else(|_| unreachable!("both capacities are set"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(bytes: usize) -> Arc<Entry> {
        Arc::new(Entry { generation: vec![1; bytes].into(), ..Entry::default() })
    }

    fn put(pool: &MemoryPool, key: Key, entry: Arc<Entry>) -> bool {
        let bytes = entry.encoded_len();
        pool.put(key, entry, bytes)
    }

    fn get(pool: &MemoryPool, keys: &[Key]) -> Vec<Option<Arc<Entry>>> {
        pool.get(keys, Otherwise::Computed).now_or_never().unwrap().unwrap()
    }

    fn key(number: u32) -> Key {
        let mut key = [0; 32];
        key[..4].copy_from_slice(&number.to_le_bytes());
        Key(key)
    }

    #[test]
    fn what_was_put_is_found() {
        let pool = MemoryPool::new(1 << 20, 1 << 16);
        assert!(put(&pool, key(1), entry(10)));
        assert_eq!(get(&pool, &[key(2), key(1)]), [None, Some(entry(10))]);
    }

    #[test]
    fn never_more_than_its_bytes() {
        let pool = MemoryPool::new(1 << 20, 1 << 16);
        for number in 0..2000 {
            put(&pool, key(number), entry(10_000));
        }
        assert!(pool.entries.weight() <= 1 << 20);
        assert!(pool.entries.len() > 10);
    }

    #[test]
    fn an_entry_of_the_limit_fits_a_shard_on_any_machine() {
        const MIB: u64 = 1 << 20;
        for cores in [1, 2, 64, 1024] {
            let cache: Cache<[u8; 32], Arc<Entry>, Weight> = Cache::with_options(
                options(256 * MIB, 8 * MIB, cores),
                Weight,
                DefaultHashBuilder::default(),
                DefaultLifecycle::default(),
            );
            assert!(cache.shard_capacity() / 2 >= weight(8 * MIB), "{cores} processors");
        }
    }

    #[test]
    fn put_says_what_is_kept() {
        let (bytes, largest) = (1 << 20, 1 << 18);
        let pool = MemoryPool::new(bytes, largest);
        for number in 0..100 {
            for size in [largest - 100, largest / 2, bytes, 2 * bytes] {
                let kept = put(&pool, key(number), entry(size));
                assert_eq!(kept, get(&pool, &[key(number)])[0].is_some(), "{size} bytes");
                assert_eq!(kept, size < largest, "{size} bytes");
            }
        }
    }
}
