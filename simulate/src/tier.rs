//! One tier of the cache: an answer's key, age and size enter; whether it is there and fresh leaves. Freshness is `protocol`'s law,
//! what an entry takes is `protocol`'s weight, and the policy of memory is the one that `serve` and the filter keep by.

use std::hash::{BuildHasherDefault, Hasher};

use forebay_protocol::cache_control::RequestDirectives;
use forebay_protocol::freshness::Stored;
use forebay_protocol::residency::{self, weight};
use quick_cache::unsync::{Cache, DefaultLifecycle};
use quick_cache::{OptionsBuilder, Weighter};
use serde::{Deserialize, Serialize};

use crate::lru::Lru;

/// For sizing tables only.
const TYPICAL_ENTRY_BYTES: u64 = 4096;

/// Which entry goes when there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Eviction {
    /// As in the memory of `serve` and of the filter: what was asked for once goes before what was asked for again.
    Memory,
    /// The least recently used, as Redis and Memcached do nearly.
    Lru,
}

/// Keys are hashes already.
#[derive(Default)]
pub(crate) struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = key.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

/// Two numbers as one, each bit by all of both.
pub(crate) fn mixed(one: u64, other: u64) -> u64 {
    let mut both = one ^ other.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    both = (both ^ (both >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    both = (both ^ (both >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    both ^ (both >> 31)
}

type Hashes = BuildHasherDefault<KeyHasher>;

/// An entry: its times and its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// When it was made, in milliseconds.
    pub created_ms: u64,
    /// Seconds for which it is fresh from then.
    pub max_age_s: u32,
    /// Bytes of it.
    pub bytes: u32,
}

#[derive(Clone)]
struct Weight;

impl Weighter<u64, Kept> for Weight {
    fn weight(&self, _: &u64, kept: &Kept) -> u64 {
        weight(u64::from(kept.bytes))
    }
}

/// Entries by key, bounded in bytes.
pub struct Tier(Entries);

enum Entries {
    Memory(Box<Cache<u64, Kept, Weight, Hashes>>, u64),
    Lru(Lru<Kept>),
}

impl Tier {
    /// A tier of that many bytes.
    pub fn new(bytes: u64, eviction: Eviction) -> Self {
        Self(match eviction {
            Eviction::Lru => Entries::Lru(Lru::new(bytes)),
            Eviction::Memory => {
                let mut options = OptionsBuilder::new();
                let items = usize::try_from(bytes / TYPICAL_ENTRY_BYTES).unwrap_or(usize::MAX).max(16);
                options.estimated_items_capacity(items).weight_capacity(bytes);
                options.hot_allocation(f64::from(residency::HOT_PERCENT) / 100.0);
                let options = options.build().unwrap_or_else(|_| unreachable!("both capacities are set"));
                let entries =
                    Cache::with_options(options, Weight, Hashes::default(), DefaultLifecycle::default());
                Entries::Memory(Box::new(entries), residency::heaviest(bytes))
            }
        })
    }

    /// The answer under a key, if it is there and fresh.
    pub fn get(&mut self, key: u64, now_ms: u64) -> Option<Kept> {
        let kept = match &mut self.0 {
            Entries::Memory(entries, _) => *entries.get(&key)?,
            Entries::Lru(entries) => entries.get(key)?,
        };
        let stored = Stored { created_ms: kept.created_ms, max_age_s: kept.max_age_s };
        stored.usable(&RequestDirectives::default(), now_ms).ok().map(|_| kept)
    }

    /// Keeps an answer that was made then and is fresh for so long.
    pub fn put(&mut self, key: u64, created_ms: u64, max_age_s: u32, bytes: u32) {
        let kept = Kept { created_ms, max_age_s, bytes };
        match &mut self.0 {
            Entries::Memory(entries, heaviest) => {
                if weight(u64::from(bytes)) <= *heaviest {
                    entries.insert(key, kept);
                }
            }
            Entries::Lru(entries) => entries.put(key, kept, weight(u64::from(bytes))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_given_while_it_is_fresh() {
        for eviction in [Eviction::Memory, Eviction::Lru] {
            let mut tier = Tier::new(1 << 20, eviction);
            tier.put(7, 1_000, 60, 100);
            let kept = Kept { created_ms: 1_000, max_age_s: 60, bytes: 100 };
            assert_eq!((tier.get(7, 60_999), tier.get(8, 60_999)), (Some(kept), None));
            assert_eq!(tier.get(7, 61_000), None);
        }
    }

    #[test]
    fn what_is_too_large_for_a_tier_is_not_kept() {
        for eviction in [Eviction::Memory, Eviction::Lru] {
            let mut tier = Tier::new(1 << 20, eviction);
            tier.put(7, 0, 60, 1 << 21);
            assert_eq!(tier.get(7, 0), None);
        }
    }
}
