//! A pool in another process, whichever tier it is: entries are sealed with a MAC over key and entry, and what fails the check is a
//! miss and counted; lookups rest after repeated failures; writes go through a queue (`writer`). How bytes get there and back is
//! the tier's matter.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use forebay_protocol::digest::Key;
use forebay_protocol::entry::Entry;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use metrics::{Counter, counter};

use super::breaker::Breaker;
use super::lease::{Claim, Slot, claim};
use super::writer::Writer;
use super::{Found, Otherwise, Pool, PoolError, dropped, lifetime};
use crate::cache::PoolSecret;
use crate::observe::logs::seldom;

/// What seals an entry adds to it, at most: magic and MAC, and the lengths of what the tier puts around it.
const SEAL_BYTES: usize = 64;
/// A write may take longer than a lookup, for nobody waits for it: so long, and as long again for each so many bytes.
const WRITE_TIMEOUT: (Duration, usize) = (Duration::from_secs(1), 8 << 20);

/// A tier that keeps bytes.
pub(crate) trait Shelf: Send + Sync + 'static {
    /// As a metric's label.
    const TIER: &'static str;

    /// What is under the keys, in their order, within `patience`.
    fn get(
        &self,
        keys: &[Key],
        patience: Duration,
        otherwise: Otherwise,
    ) -> impl Future<Output = Result<Vec<Option<Bytes>>, PoolError>> + Send;

    /// What is under a key; where nothing is, a mark is put there in the same round trip, which stays for a while.
    fn slot(&self, key: &Key, patience: Duration) -> impl Future<Output = Result<Slot, PoolError>> + Send;

    /// Has the mark under a key stay for longer.
    fn stay(&self, key: &Key, patience: Duration) -> impl Future<Output = Result<(), PoolError>> + Send;

    /// Takes that mark away, if it is there still. With `unkept` it is known for a while that nothing will come.
    fn unmark(
        &self,
        key: &Key,
        mark: u64,
        unkept: bool,
        patience: Duration,
    ) -> impl Future<Output = Result<(), PoolError>> + Send;

    /// Writes entries in one round trip, within `patience`; each goes by itself when its time is over. An error tells that some
    /// were not written, or may not have been.
    fn put(
        &self,
        entries: &[Sealed],
        patience: Duration,
    ) -> impl Future<Output = Result<(), PoolError>> + Send;

    /// The largest entry that it takes under that key.
    fn max_bytes(&self, key: &Key) -> usize;

    /// Whether there is a connection to write an entry by.
    fn takes_writes(&self, key: &Key) -> bool;

    /// Why it can't be used, if so.
    fn trouble(&self) -> Option<String>;
}

/// An entry as it is written.
pub(crate) struct Sealed {
    pub(super) key: Key,
    pub(super) bytes: Bytes,
    pub(super) lifetime: Duration,
}

/// Entries in a remote tier.
pub(crate) struct RemotePool<S> {
    kept: Arc<Kept<S>>,
    pub(super) writer: Writer,
}

/// The tier, and what opens and seals entries.
pub(super) struct Kept<S> {
    pub(super) shelf: S,
    secret: Arc<PoolSecret>,
    timeout: Duration,
    breaker: Breaker,
    bad_entries: Counter,
}

impl<S: Shelf> RemotePool<S> {
    /// `timeout` bounds a lookup; `secret` authenticates entries; at most `queue_bytes` wait to be written. Must be called inside a
    /// runtime.
    pub(crate) fn start(shelf: S, secret: Arc<PoolSecret>, timeout: Duration, queue_bytes: usize) -> Self {
        let bad_entries = counter!("forebay_pool_bad_entries", "tier" => S::TIER);
        let kept = Arc::new(Kept { shelf, secret, timeout, breaker: Breaker::new(), bad_entries });
        Self { writer: Writer::start(kept.clone(), queue_bytes), kept }
    }
}

impl<S: Shelf> Pool for RemotePool<S> {
    fn tier(&self) -> &'static str {
        S::TIER
    }

    fn get<'a>(&'a self, keys: &'a [Key], otherwise: Otherwise) -> BoxFuture<'a, Found> {
        self.kept.get(keys, otherwise).boxed()
    }

    fn claim(&self, key: Key) -> BoxFuture<'_, Result<Claim, PoolError>> {
        claim(self.kept.clone(), key).boxed()
    }

    fn put(&self, key: Key, entry: Arc<Entry>, bytes: usize) -> bool {
        if bytes.saturating_add(SEAL_BYTES) > self.kept.shelf.max_bytes(&key) {
            dropped(S::TIER, "too_large", 1);
            return false;
        }
        self.writer.write(self.kept.shelf.takes_writes(&key), key, entry, bytes)
    }

    fn drain(&self, patience: Duration) -> BoxFuture<'_, ()> {
        self.writer.drain(patience).boxed()
    }

    fn trouble(&self) -> Option<String> {
        self.kept.shelf.trouble()
    }
}

impl<S: Shelf> Kept<S> {
    async fn get(&self, keys: &[Key], otherwise: Otherwise) -> Found {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let at_least = match otherwise {
            Otherwise::Nothing(at_least) => Some(at_least),
            Otherwise::Asked | Otherwise::Computed => None,
        };
        if at_least.is_none() && self.breaker.rests() {
            return Err(PoolError::Resting);
        }
        let patience = at_least.map_or(self.timeout, |least| least.max(self.timeout));
        let found = self.shelf.get(keys, patience, otherwise).await;
        // One that had more time says nothing of the others.
        if at_least.is_none() {
            self.record(&found);
        }
        let open = |(sealed, key): (Option<Bytes>, _)| match Slot::of(sealed?) {
            Slot::Bytes(sealed) => self.open(&sealed, key),
            _ => None,
        };
        Ok(found?.into_iter().zip(keys).map(open).collect())
    }

    /// What is under a key, or a mark of ours from now on.
    pub(super) async fn slot(&self, key: &Key) -> Result<Slot, PoolError> {
        if self.breaker.rests() {
            return Err(PoolError::Resting);
        }
        let slot = self.shelf.slot(key, self.timeout).await;
        self.record(&slot);
        slot
    }

    /// Without a connection the answer comes at once: nothing to rest from.
    fn record<T>(&self, answered: &Result<T, PoolError>) {
        if !matches!(answered, Err(PoolError::Down(_))) {
            self.breaker.record(answered.is_ok());
        }
    }

    /// What one finds in a slot without a mark of its own.
    pub(super) fn found(&self, slot: Slot, key: &Key) -> Claim {
        match slot {
            Slot::Bytes(sealed) => self.open(&sealed, key).map_or(Claim::Free, Claim::Found),
            Slot::Held => Claim::Held,
            Slot::Free | Slot::Marked(_) => Claim::Free,
        }
    }

    fn open(&self, sealed: &Bytes, key: &Key) -> Option<Arc<Entry>> {
        match self.secret.open(sealed, key) {
            Ok(entry) => Some(Arc::new(entry)),
            Err(error) => {
                self.bad_entries.increment(1);
                seldom!(warn, "an entry of the pool is not used: {error}");
                None
            }
        }
    }

    /// What is written of an entry.
    pub(super) fn seal(&self, key: Key, entry: &Entry) -> Sealed {
        Sealed { bytes: self.secret.seal(entry, &key).into(), lifetime: lifetime(entry), key }
    }

    pub(super) async fn put(&self, entries: &[Sealed]) -> Result<(), PoolError> {
        let bytes: usize = entries.iter().map(|entry| entry.bytes.len()).sum();
        let (patience, bytes_more) = WRITE_TIMEOUT;
        let longer = u32::try_from(bytes / bytes_more).unwrap_or(u32::MAX);
        self.shelf.put(entries, patience.saturating_add(patience.saturating_mul(longer))).await
    }
}
