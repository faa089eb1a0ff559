//! Replicas of a Redis: names of entries enter, and what one of the replicas has under them leaves, or nothing where the master is to be
//! asked: no replica may be, one failed, or it has nothing and that isn't enough. One may be asked that has what its master had a moment
//! ago. `watch` looks after them: `shards` says who they are, `standing` what each says of itself.

mod shards;
mod standing;
mod watch;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use metrics::{Counter, counter};
use tokio_util::task::AbortOnDropHandle;

use super::endpoint::Endpoint;
use super::link::Link;
use super::listed;
use super::{Redis, Shelf as _};
use crate::cache::pool::breaker::Breaker;
use crate::cache::pool::lease::Slot;
use crate::cache::pool::{Otherwise, PoolError};
use crate::settings::{READ_FROM, Reach, ReadFrom, SettingsError, wrong};
use shards::Shards;
use watch::Watch;

/// Where a server listens.
type Address = (String, u16);
/// What lies under some names, in their order.
type Found = Vec<Option<Bytes>>;

/// Those of one master, or of each master of a cluster.
pub(super) struct Replicas {
    known: Arc<ArcSwap<Shards>>,
    /// They take turns.
    turns: AtomicUsize,
    lookups: Lookups,
    _watch: AbortOnDropHandle<()>,
}

/// A replica, or a cluster's master.
struct Node {
    endpoint: Arc<Endpoint>,
    link: Link,
    breaker: Breaker,
    /// It is a replica that has what its master had a moment ago.
    is_fit: AtomicBool,
}

/// Lookups, by what became of them.
struct Lookups {
    answered: Counter,
    /// It has nothing, and so the master was asked.
    asked_again: Counter,
    failed: Counter,
    /// There is none that may be asked.
    none: Counter,
}

impl Replicas {
    /// Looks for them and after them, if the settings want that. Must be called inside a runtime.
    ///
    /// # Errors
    /// What can never work.
    pub(super) fn start(
        reach: &Reach,
        endpoint: &Arc<Endpoint>,
        lookups: &Link,
    ) -> Result<Option<Self>, SettingsError> {
        let named = match &reach.read_from {
            ReadFrom::Master => return Ok(None),
            ReadFrom::Replicas => None,
            ReadFrom::Named(_) if endpoint.is_cluster() => {
                return Err(wrong(READ_FROM, "a cluster says itself where its replicas are: say `replicas`"));
            }
            ReadFrom::Named(list) => Some(listed::replicas(list)?),
        };
        if endpoint.place().is_none() {
            return Err(wrong(
                READ_FROM,
                "replicas are reached by a network: name the master by host and port",
            ));
        }
        let known = Arc::<ArcSwap<Shards>>::default();
        let watch = Watch::new(endpoint.clone(), lookups.clone(), named, known.clone());
        let watch = AbortOnDropHandle::new(tokio::spawn(watch.keep()));
        Ok(Some(Self { known, turns: AtomicUsize::new(0), lookups: Lookups::new(), _watch: watch }))
    }

    /// What one of them has under names that lie at one server.
    pub(super) async fn get(
        &self,
        names: &[Vec<u8>],
        patience: Duration,
        otherwise: Otherwise,
    ) -> Option<Found> {
        let Some(replica) = self.next(names.first()?) else {
            self.lookups.none.increment(1);
            return None;
        };
        let Ok(found) = replica.get(names, patience).await else {
            self.lookups.failed.increment(1);
            return None;
        };
        if otherwise == Otherwise::Asked || found.iter().flatten().any(is_entry) {
            self.lookups.answered.increment(1);
            return Some(found);
        }
        self.lookups.asked_again.increment(1);
        None
    }

    /// Whose turn it is, of those that have what lies under that name.
    fn next(&self, name: &[u8]) -> Option<Arc<Node>> {
        let shards = self.known.load();
        let (some, turn) = (shards.of(name), self.turns.fetch_add(1, Ordering::Relaxed));
        let (before, after) = some.split_at(turn % some.len().max(1));
        after.iter().chain(before).find(|replica| replica.may_be_asked()).cloned()
    }
}

impl Node {
    fn may_be_asked(&self) -> bool {
        self.is_fit.load(Ordering::Relaxed) && self.link.trouble().is_none() && !self.breaker.rests()
    }

    async fn get(&self, names: &[Vec<u8>], patience: Duration) -> Result<Found, PoolError> {
        let found = self.link.ask::<Vec<Option<Vec<u8>>>>(::redis::cmd("MGET").arg(names), patience).await;
        self.breaker.record(found.is_ok());
        Ok(found?.into_iter().map(|found| found.map(Bytes::from)).collect())
    }
}

impl Lookups {
    fn new() -> Self {
        let counted = |outcome: &'static str| {
            let labels = [("tier", Redis::TIER), ("outcome", outcome)];
            counter!("forebay_pool_replica_lookups", &labels)
        };
        Self {
            answered: counted("answered"),
            asked_again: counted("asked_again"),
            failed: counted("failed"),
            none: counted("none"),
        }
    }
}

/// Not a mark.
fn is_entry(found: &Bytes) -> bool {
    matches!(Slot::of(found.clone()), Slot::Bytes(_))
}
