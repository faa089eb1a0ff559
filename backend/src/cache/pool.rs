//! Where entries are kept: keys -> entries, in one round trip; an entry -> kept, or why not. A file for each tier: `memory` is this
//! process; `remote` is what Redis and Memcached have in common, `dial` how their servers are reached, `names` how what is kept is called,
//! `lease` who computes what is not there, `redis` and `memcached` how each is spoken to. Next: `store` decides whether an entry is fresh.

mod breaker;
mod dial;
mod lease;
pub(crate) mod memcached;
mod memory;
mod names;
pub(crate) mod redis;
mod remote;
mod writer;

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use forebay_protocol::digest::Key;
use forebay_protocol::entry::Entry;
use futures_util::future::BoxFuture;
use metrics::counter;

pub(crate) use lease::{Claim, Lease};
pub(crate) use memcached::Memcached;
pub(crate) use memory::MemoryPool;
pub(crate) use names::Names;
pub(crate) use redis::{Link, Redis};
pub(crate) use remote::{RemotePool, Shelf};

/// A tier that keeps entries.
pub(crate) trait Pool: Send + Sync {
    /// As a metric's label.
    fn tier(&self) -> &'static str;

    /// What is under each of the keys and authentic. A tier that is remote may fail to answer in time: a miss for the caller.
    fn get<'a>(&'a self, keys: &'a [Key], otherwise: Otherwise) -> BoxFuture<'a, Found>;

    /// The same where it needs no round trip; nothing of a tier that is remote.
    fn at_hand(&self, _key: &Key) -> Option<Arc<Entry>> {
        None
    }

    /// The entry under a key, or what one does who would compute it, in one round trip as well.
    fn claim(&self, key: Key) -> BoxFuture<'_, Result<Claim, PoolError>>;

    /// Keeps an entry of so many encoded bytes, or counts why not. Returns whether it is kept: by a remote tier, whether it will be
    /// written to one that works as far as is known.
    fn put(&self, key: Key, entry: Arc<Entry>, bytes: usize) -> bool;

    /// Waits until everything kept so far is written, for at most `patience`.
    fn drain(&self, patience: Duration) -> BoxFuture<'_, ()>;

    /// Why it can't be used, if so.
    fn trouble(&self) -> Option<String>;
}

/// What follows where nothing is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Otherwise {
    /// Another one looks, who computes: what a copy has of the tier is enough, though it may lack the newest.
    Asked,
    /// A computation.
    Computed,
    /// Nothing: the tier is waited for so long at least, even if it rests.
    Nothing(Duration),
}

/// What was found under each key.
pub(crate) type Found = Result<Vec<Option<Arc<Entry>>>, PoolError>;

/// What a tier said of itself, in its own words.
pub(crate) type Cause = Arc<dyn Error + Send + Sync>;

/// A lookup or a write that didn't happen.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum PoolError {
    #[error("the pool took longer than {0:?}")]
    Timeout(Duration),
    #[error("the pool can't be used: {0}")]
    Down(Cause),
    #[error("the pool failed: {0}")]
    Failed(Cause),
    #[error("the pool failed repeatedly and rests for a moment")]
    Resting,
}

impl PoolError {
    /// As a metric's label.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Timeout(_) => "timeout",
            Self::Down(_) => "down",
            Self::Failed(_) => "error",
            Self::Resting => "resting",
        }
    }
}

/// Counts entries that are not kept.
pub(crate) fn dropped(tier: &'static str, reason: &'static str, count: u64) {
    counter!("forebay_pool_dropped_writes", "tier" => tier, "reason" => reason).increment(count);
}

/// How long an entry may be of use, stale uses included.
fn lifetime(entry: &Entry) -> Duration {
    let stale = entry.stale_while_revalidate_s.max(entry.stale_if_error_s);
    Duration::from_secs(u64::from(entry.max_age_s) + u64::from(stale))
}
