//! Keys -> entries, fresh or still of use; results -> the pool, whichever it is. A store never fails a request.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use forebay_protocol::cache_control::RequestDirectives;
use forebay_protocol::digest::Key;
use forebay_protocol::entry::Entry;
use forebay_protocol::freshness::{Stale, Stored};
use metrics::counter;
use prost::Message as _;

use super::live::Purged;
use super::pool::{Claim, Found, MemoryPool, Otherwise, Pool, PoolError, dropped};
use crate::time::clock::now_ms;

/// How long the pool may take for what nothing else may answer (`only-if-cached`), if the settings don't give it more: no session
/// computes meanwhile, so a pool that is late for once is better than none. As the filter's for the gate.
const ONLY_IF_CACHED: Duration = Duration::from_secs(1);

/// Key context of where a mark is put whose own place is taken.
const MARKS_OF_STALE: &str = "forebay 2026-11 mark of a stale entry v1";

/// The pool and the way into it.
pub(crate) struct Store {
    pool: Box<dyn Pool>,
    /// What was purged: it is part of each request's generation.
    purged: Arc<Purged>,
    /// What was kept lately, for while the pool fails: requests that are equal meet here.
    lately: Option<MemoryPool>,
    max_entry_bytes: usize,
    /// What a lookup that came with others has found of late, in bytes; the mean.
    found_bytes: AtomicUsize,
}

/// How many lookups [`Store::found_bytes`] goes by, about.
const LATE: usize = 16;

impl Store {
    /// A store in that pool, of entries up to that size.
    pub(crate) fn new(pool: impl Pool + 'static, purged: Arc<Purged>, max_entry_bytes: usize) -> Self {
        Self { pool: Box::new(pool), purged, lately: None, max_entry_bytes, found_bytes: AtomicUsize::new(0) }
    }

    /// What was purged, by which requests have their generations.
    pub(crate) fn purged(&self) -> &Purged {
        &self.purged
    }

    /// The same, which has so many bytes of what it kept lately at hand while the pool fails.
    pub(crate) fn with_lately(self, bytes: usize) -> Self {
        let lately = (bytes > 0).then(|| MemoryPool::new(bytes, self.max_entry_bytes));
        Self { lately, ..self }
    }

    /// The first fresh entry under `keys`. A pool that fails is a miss.
    pub(crate) async fn lookup(&self, keys: &[Key]) -> Option<Arc<Entry>> {
        self.first_fresh(keys, self.pool.get(keys, Otherwise::Computed).await)
    }

    /// The same for a request that goes on to one who looks again: what was kept a moment ago may be missed. Where nothing is fresh it is
    /// the first entry that is still of use, which the proxy may give where no backend answers.
    pub(crate) async fn lookup_before(&self, keys: &[Key]) -> Option<Arc<Entry>> {
        first_of_use(self.found(keys, self.pool.get(keys, Otherwise::Asked).await))
    }

    /// The same for a request that nothing else may answer.
    pub(crate) async fn lookup_only(&self, keys: &[Key]) -> Option<Arc<Entry>> {
        self.first_fresh(keys, self.pool.get(keys, Otherwise::Nothing(ONLY_IF_CACHED)).await)
    }

    /// The same as [`Self::lookup_before`] for requests that came together, in one round trip as a rule: of the first of them, until what was
    /// found has `enough_bytes`. Where entries were large of late, few are asked for at once.
    pub(crate) async fn lookup_each_before(
        &self,
        asked: &[Vec<Key>],
        enough_bytes: usize,
    ) -> Vec<Option<Arc<Entry>>> {
        let (mut found, mut bytes) = (Vec::with_capacity(asked.len()), 0);
        while found.len() < asked.len() && bytes < enough_bytes {
            let late = self.found_bytes.load(Ordering::Relaxed);
            let (rest, at_once) = (&asked[found.len()..], (enough_bytes - bytes) / late.max(1));
            let some = &rest[..at_once.clamp(1, rest.len())];
            let keys = some.concat();
            let mut entries = self.found(&keys, self.pool.get(&keys, Otherwise::Asked).await).into_iter();
            for keys in some {
                let entry = first_of_use(entries.by_ref().take(keys.len()).collect::<Vec<_>>());
                let size = entry.as_ref().map_or(0, |entry| entry.encoded_len());
                bytes += size;
                let late = self.found_bytes.load(Ordering::Relaxed);
                self.found_bytes.store((late * (LATE - 1) + size) / LATE, Ordering::Relaxed);
                found.push(entry);
            }
        }
        found
    }

    /// The first fresh entry of a pool that needs no round trip; `None` of others.
    pub(crate) fn at_hand(&self, keys: &[Key]) -> Option<Arc<Entry>> {
        first_fresh(keys.iter().map(|key| self.pool.at_hand(key)))
    }

    /// A fresh entry, or what one does who would compute it. Where the pool fails, or has what is not fresh, nobody waits.
    pub(crate) async fn claim(&self, key: Key) -> Claim {
        match self.pool.claim(key).await {
            Ok(Claim::Found(entry)) if !is_fresh(&entry, now_ms()) => self.claim_of_stale(key).await,
            Ok(claim) => claim,
            Err(error) => self.first_fresh(&[key], Err(error)).map_or(Claim::Free, Claim::Found),
        }
    }

    /// Where an entry lies that is not fresh there is no place for a mark: it is put under a key of its own. What came from there is no
    /// entry of this one.
    async fn claim_of_stale(&self, key: Key) -> Claim {
        let marks = Key(blake3::derive_key(MARKS_OF_STALE, &key.0));
        match self.pool.claim(marks).await {
            Ok(claim @ (Claim::Lease(_) | Claim::Held)) => claim,
            _ => Claim::Free,
        }
    }

    fn first_fresh(&self, keys: &[Key], found: Found) -> Option<Arc<Entry>> {
        first_fresh(self.found(keys, found))
    }

    /// What is under each key, or where the pool failed, what was kept there lately.
    fn found(&self, keys: &[Key], found: Found) -> Vec<Option<Arc<Entry>>> {
        found.unwrap_or_else(|error| {
            self.failed(&error);
            keys.iter().map(|key| self.lately.as_ref()?.at_hand(key)).collect()
        })
    }

    fn failed(&self, error: &PoolError) {
        let labels = [("tier", self.pool.tier()), ("reason", error.reason())];
        counter!("forebay_pool_failed_lookups", &labels).increment(1);
        if !matches!(error, PoolError::Resting | PoolError::Down(_)) {
            tracing::debug!("lookup: {error}");
        }
    }

    /// Keeps an entry, or counts why not. Returns whether it is kept, as far as is known.
    pub(crate) fn keep(&self, key: Key, entry: Arc<Entry>) -> bool {
        let bytes = entry.encoded_len();
        if bytes > self.max_entry_bytes {
            dropped(self.pool.tier(), "too_large", 1);
            return false;
        }
        if let Some(lately) = &self.lately {
            lately.put(key, entry.clone(), bytes);
        }
        self.pool.put(key, entry, bytes)
    }

    /// Waits until everything kept so far is written, for at most `patience`.
    pub(crate) async fn drain(&self, patience: Duration) {
        self.pool.drain(patience).await;
    }

    /// Why the pool can't be used, if so.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.pool.trouble()
    }
}

fn first_fresh(found: impl IntoIterator<Item = Option<Arc<Entry>>>) -> Option<Arc<Entry>> {
    let now = now_ms();
    found.into_iter().flatten().find(|entry| is_fresh(entry, now))
}

/// The first fresh one, or else the first that may be given in the place of an error or while a new one is made.
fn first_of_use(found: impl IntoIterator<Item = Option<Arc<Entry>>>) -> Option<Arc<Entry>> {
    let (now, mut stale) = (now_ms(), None);
    for entry in found.into_iter().flatten() {
        if is_fresh(&entry, now) {
            return Some(entry);
        }
        let is_of_use =
            || Stale::of(entry.created_ms, entry.freshness(), &RequestDirectives::default(), now).is_some();
        if stale.is_none() && is_of_use() {
            stale = Some(entry);
        }
    }
    stale
}

/// Not older than it may be, and not from the future.
pub(crate) fn is_fresh(entry: &Entry, now_ms: u64) -> bool {
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
        Store::new(MemoryPool::new(1 << 20, 1000), Arc::new(Purged::own()), 1000)
    }

    fn keep(store: &Store, entry: Entry) -> bool {
        store.keep(KEY, Arc::new(entry))
    }

    #[tokio::test]
    async fn fresh_entries_are_found_and_stale_ones_are_not() {
        let store = store();
        assert!(keep(&store, entry(Duration::from_secs(5), 60)));
        assert!(store.lookup(&[KEY]).await.is_some());
        keep(&store, entry(Duration::from_secs(61), 60));
        assert!(store.lookup(&[KEY]).await.is_none());
    }

    #[tokio::test]
    async fn of_those_that_come_together_each_gets_its_own_first_fresh_one() {
        let (store, key) = (store(), |number| Key([number; 32]));
        for (number, age_s) in [(1, 61), (2, 1), (3, 2), (5, 3)] {
            store.keep(key(number), Arc::new(entry(Duration::from_secs(age_s), 60)));
        }
        let asked = [vec![key(1), key(2), key(3)], vec![], vec![key(4)], vec![key(5)], vec![key(1)]];
        let found = store.lookup_each_before(&asked, usize::MAX).await;
        for (keys, found) in asked.iter().zip(&found) {
            assert_eq!(*found, store.lookup_before(keys).await);
        }
        assert_eq!(found.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false, false, true, false]);
    }

    #[tokio::test]
    async fn of_large_ones_only_as_many_are_read_as_go_in_an_answer() {
        let store = Store::new(MemoryPool::new(1 << 20, 10_000), Arc::new(Purged::own()), 10_000);
        let entry = Entry { generation: vec![0; 1000].into(), ..entry(Duration::ZERO, 60) };
        store.keep(KEY, Arc::new(entry));
        let asked = vec![vec![KEY]; 32];
        assert_eq!(store.lookup_each_before(&asked, 3000).await.len(), 32, "nothing is known of them yet");
        assert_eq!(store.lookup_each_before(&asked, 3000).await.len(), 3);
        let absent = vec![vec![Key([8; 32])]; 32];
        assert_eq!(store.lookup_each_before(&absent, 3000).await.len(), 32);
    }

    #[tokio::test]
    async fn who_asks_before_a_backend_gets_what_is_stale_and_of_use_where_nothing_is_fresh() {
        let (store, key) = (store(), |number| Key([number; 32]));
        let of_use = |age_s| Entry { stale_if_error_s: 30, ..entry(Duration::from_secs(age_s), 60) };
        for (number, entry) in [(1, of_use(91)), (2, of_use(89)), (3, of_use(5))] {
            store.keep(key(number), Arc::new(entry));
        }
        let asked = [vec![key(1)], vec![key(1), key(2)], vec![key(1), key(2), key(3)]];
        let found = store.lookup_each_before(&asked, usize::MAX).await;
        let ages = found.iter().map(|found| found.as_ref().map(|entry| age_s(entry, now_ms())));
        assert_eq!(ages.collect::<Vec<_>>(), [None, Some(89), Some(5)]);
        for (keys, found) in asked.iter().zip(&found) {
            assert_eq!(*found, store.lookup_before(keys).await);
            assert!(store.lookup(keys).await.is_none_or(|entry| is_fresh(&entry, now_ms())));
        }
    }

    #[tokio::test]
    async fn an_entry_from_the_future_is_not_fresh() {
        let store = store();
        keep(&store, Entry { created_ms: now_ms() + 3_600_000, ..entry(Duration::ZERO, 60) });
        assert!(store.lookup(&[KEY]).await.is_none());
        keep(&store, Entry { created_ms: now_ms() + 500, ..entry(Duration::ZERO, 60) });
        assert!(store.lookup(&[KEY]).await.is_some(), "clocks may differ a little");
    }

    #[tokio::test]
    async fn too_large_entries_are_not_kept() {
        let store = store();
        assert!(!keep(&store, Entry { generation: vec![0; 2000].into(), ..entry(Duration::ZERO, 60) }));
        assert!(store.lookup(&[KEY]).await.is_none());
    }
}
