//! Who the replicas are, and which of them has what its master had a moment ago, looked at once a second. While a master can't be asked,
//! what is known of its replicas stays, but of those that don't answer: they have what it had.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::future::join_all;
use metrics::{Gauge, gauge};
use tokio::time::{MissedTickBehavior, interval};

use super::shards::{Listed, Shard, Shards};
use super::standing::{Standing, Unfit};
use super::{Address, Node};
use crate::cache::pool::PoolError;
use crate::cache::pool::breaker::Breaker;
use crate::cache::pool::redis::connection::ConnectError;
use crate::cache::pool::redis::endpoint::Endpoint;
use crate::cache::pool::redis::link::Link;
use crate::cache::pool::redis::{Redis, Shelf as _};

/// So often they are looked at. What a master had then its replicas must have at the next time.
const LOOKS: Duration = Duration::from_secs(1);
/// A server may take so long to say how it stands.
const PATIENCE: Duration = Duration::from_millis(500);

/// The task that looks.
pub(super) struct Watch {
    endpoint: Arc<Endpoint>,
    /// To the master, or the cluster.
    lookups: Link,
    /// Where replicas are, if the settings say it.
    named: Option<Vec<Address>>,
    shards: Vec<Shard>,
    nodes: HashMap<Address, Arc<Node>>,
    /// How often it was looked.
    looks: usize,
    /// How much each history had of writes when it was looked at before.
    before: HashMap<String, u64>,
    known: Arc<ArcSwap<Shards>>,
    fit: Gauge,
    unfit: Gauge,
}

impl Watch {
    pub(super) fn new(
        endpoint: Arc<Endpoint>,
        lookups: Link,
        named: Option<Vec<Address>>,
        known: Arc<ArcSwap<Shards>>,
    ) -> Self {
        let counted = |state: &'static str| {
            let labels = [("tier", Redis::TIER), ("state", state)];
            gauge!("forebay_pool_replicas", &labels)
        };
        let (fit, unfit) = (counted("fit"), counted("unfit"));
        let (shards, nodes, before) = (Vec::new(), HashMap::new(), HashMap::new());
        Self { endpoint, lookups, named, shards, nodes, looks: 0, before, known, fit, unfit }
    }

    pub(super) async fn keep(mut self) {
        let mut looks = interval(LOOKS);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            self.look().await;
            self.looks = self.looks.wrapping_add(1);
        }
    }

    async fn look(&mut self) {
        let masters = if self.endpoint.is_cluster() {
            match self.listed().await {
                Ok(listed) => self.meet(listed.0),
                Err(error) => self.unasked(&error),
            }
            join_all(self.shards.iter().map(|shard| self.master(shard))).await
        } else {
            let mut shard = self.shards.first().cloned().unwrap_or_default();
            let master = self.master(&shard).await;
            let replicas = self.named.as_ref().or(master.as_ref().map(|master| &master.replicas));
            if let Some(replicas) = replicas {
                shard.replicas.clone_from(replicas);
            }
            self.meet(vec![shard]);
            vec![master]
        };
        let judged =
            self.shards.iter().zip(&masters).map(|(shard, master)| self.judge(shard, master.as_ref()));
        let (fit, unfit): (Vec<_>, Vec<_>) =
            join_all(judged).await.into_iter().flatten().partition(|fit| *fit);
        self.fit.set(fit.len() as f64);
        self.unfit.set(unfit.len() as f64);
        let known = masters.into_iter().flatten().map(|master| (master.history, master.offset));
        self.before = known.collect();
    }

    /// The shards of a cluster, as one of its masters knows them: they take turns.
    async fn listed(&self) -> Result<Listed, PoolError> {
        let mut masters = self.shards.iter().filter_map(|shard| self.nodes.get(shard.master.as_ref()?));
        let turn = self.looks.checked_rem(self.shards.len()).unwrap_or(0);
        let link = masters.nth(turn).map_or(&self.lookups, |master| &master.link);
        link.ask(::redis::cmd("CLUSTER").arg("SLOTS"), PATIENCE).await
    }

    /// How the master of a shard stands, if it says so and is one.
    async fn master(&self, shard: &Shard) -> Option<Standing> {
        let link = match &shard.master {
            Some(at) => &self.nodes.get(at)?.link,
            None => &self.lookups,
        };
        let standing = standing(link).await.inspect_err(|error| self.unasked(error)).ok()?;
        standing.filter(|master| master.is_master)
    }

    fn unasked(&self, error: &PoolError) {
        // That there is no connection is said by who makes it.
        if matches!(error, PoolError::Failed(_)) {
            self.endpoint.complain(&format!("a master doesn't say how its replication stands: {error}"));
        }
    }

    /// Has a connection to each node of them, and to no other.
    fn meet(&mut self, shards: Vec<Shard>) {
        if shards == self.shards {
            return;
        }
        let mut met = HashMap::new();
        for at in shards.iter().flat_map(|shard| shard.master.iter().chain(&shard.replicas)) {
            let known = self.nodes.remove(at).or_else(|| met.remove(at));
            match known.map_or_else(|| Node::meet(&self.endpoint, at), Ok) {
                Ok(node) => drop(met.insert(at.clone(), node)),
                Err(error) => {
                    self.endpoint.complain(&format!("lookups don't go to {}:{}: {error}", at.0, at.1));
                }
            }
        }
        (self.nodes, self.shards) = (met, shards);
        self.known.store(Shards::of_all(&self.shards, &self.nodes).into());
    }

    /// Which replicas of a shard may be asked, for each whether it may.
    async fn judge(&self, shard: &Shard, master: Option<&Standing>) -> Vec<bool> {
        let replicas = shard.replicas.iter().filter_map(|at| self.nodes.get(at));
        join_all(replicas.map(|replica| async {
            match (replica.standing().await, master) {
                (Err(unfit), _) => replica.judged(Err(unfit)),
                (Ok(_), None) => {}
                (Ok(standing), Some(Standing { history, offset, .. })) => {
                    replica.judged(standing.has(history, *self.before.get(history).unwrap_or(offset)));
                }
            }
            replica.is_fit.load(Ordering::Relaxed)
        }))
        .await
    }
}

impl Node {
    fn meet(endpoint: &Endpoint, at: &Address) -> Result<Arc<Self>, ConnectError> {
        let endpoint = Arc::new(endpoint.node(at.clone())?);
        let link = Link::start(endpoint.clone(), "replicas");
        Ok(Arc::new(Self { endpoint, link, breaker: Breaker::new(), is_fit: false.into() }))
    }

    async fn standing(&self) -> Result<Standing, Unfit> {
        standing(&self.link).await?.ok_or(Unfit::NoReplica)
    }

    fn judged(&self, outcome: Result<(), Unfit>) {
        let was_fit = self.is_fit.swap(outcome.is_ok(), Ordering::Relaxed);
        match outcome {
            Ok(()) if !was_fit => self.endpoint.say_up(),
            // That there is no connection is said by who makes it.
            Ok(()) | Err(Unfit::Silent(PoolError::Down(_))) => {}
            Err(unfit) => self.endpoint.say_down(&unfit),
        }
    }
}

/// How a server says that it stands; nothing of what can't be read.
async fn standing(link: &Link) -> Result<Option<Standing>, PoolError> {
    let said: String = link.ask(::redis::cmd("INFO").arg("replication"), PATIENCE).await?;
    Ok(Standing::read(&said))
}
