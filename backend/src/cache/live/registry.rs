//! The registry: what every server says that it serves -> the tables of the gates, and back who has which. A file for each kind:
//! `own` is of this process alone; `shared` is of many, who meet in a tier by single `steps`: `redis` has those as scripts; `memcached`
//! takes them on a `board`, which is written back if nobody else did meanwhile.

pub(super) mod board;
mod memcached;
mod own;
pub(super) mod redis;
mod shared;
pub(super) mod steps;

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use super::heard::Record;
use super::proxies::Proxies;
use super::purges::{MOST, Name, Purged};
use super::reports::Fate;
use super::table::LiveTable;
use crate::cache::pool::PoolError;

pub(crate) use memcached::MemcachedSteps;
pub(crate) use own::Own;
pub(crate) use shared::{Leaving, Shared};
pub(crate) use steps::{Known, Raised, Steps};

/// How often it is asked who has not heard yet.
const ASKED_AGAIN: Duration = Duration::from_millis(25);

/// Where it is said what is live, and heard.
pub(crate) trait Registry: Send + Sync {
    /// That is served here now. Must be called in the order of the changes.
    fn say(&self, record: Record);

    /// Waits until what was said last is known to every gate, and to every proxy that polls one, or until `patience` is over. An
    /// error tells that it could not even be said.
    fn settled(&self, patience: Duration) -> BoxFuture<'_, Result<(), Untold>>;

    /// Keeps a gate's table as the registry has it, and says what its proxies have, until `stop`.
    fn follow(
        &self,
        table: Arc<LiveTable>,
        proxies: Arc<Proxies>,
        stop: CancellationToken,
    ) -> BoxFuture<'static, ()>;

    /// Remembers a report; it must be counted by whom it is told that it is new, and by nobody else. An error tells that it is not
    /// counted, and can be sent again; if only the answer was lost, it is known then.
    fn report(&self, who: String, seq: u64) -> BoxFuture<'_, Result<Fate, PoolError>>;

    /// What was purged, as it is known here.
    fn purged(&self) -> Arc<Purged>;

    /// Purges what has that name, or all of its service where there are too many names: gives it a number above all. The epoch is that
    /// of a table that is trusted here: by it is seen whether the registry has forgotten who is to be told.
    fn purge(&self, name: Name, known: u64) -> BoxFuture<'_, Result<Raised, PurgeError>>;

    /// Who doesn't know that yet, for one: a gate, a proxy, a server.
    fn lags(&self, known: Known) -> BoxFuture<'_, Option<String>>;
}

/// Why nothing was purged, or it isn't known whether it was.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PurgeError {
    #[error("{MOST} services have been purged, and the pool remembers no more")]
    Full,
    #[error("the pool did not answer, so nothing may be purged: {0}")]
    Pool(#[from] PoolError),
}

/// A change that the registry has not heard of.
#[derive(Debug, thiserror::Error)]
#[error(
    "done here, but the pool was not told within {patience:?} ({reason}): proxies and other servers may answer with results of \
     before until they find the pool silent; this server goes on telling it"
)]
pub(crate) struct Untold {
    patience: Duration,
    reason: String,
}

/// Waits until nobody is behind, or the time is over.
async fn until_none<F: Future<Output = Option<String>>>(
    patience: Duration,
    until: Instant,
    behind: impl Fn() -> F,
) {
    while let Some(one) = behind().await {
        if Instant::now() >= until {
            tracing::warn!("after {patience:?} not all have heard what is live now, among them {one}");
            return;
        }
        tokio::time::sleep(ASKED_AGAIN).await;
    }
}

/// A name that no other process has: the standard library's random keys, twice.
pub(crate) fn random_name() -> String {
    format!("{:016x}{:016x}", random(), random())
}

/// A number that nobody can foretell.
pub(super) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}
