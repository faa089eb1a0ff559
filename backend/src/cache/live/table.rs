//! The table of live generations as this process has it, for lookups and polls, which don't wait for the pool. Epochs only grow,
//! and what could not be refreshed for a while says nothing any more.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use forebay_protocol::digest::{Digest, Generation, Scope};
use forebay_protocol::entry::Secret;
use forebay_protocol::gate::FORMAT;
use forebay_protocol::generations::{Dropped, LiveModel};
use tokio::sync::{Notify, watch};

use super::registry::random_name;
use crate::cache::PoolSecret;
use crate::time::clock::now_ms;

/// A table that could not be refreshed for so long says nothing any more.
pub(crate) const TRUSTED: Duration = Duration::from_secs(3);
/// Epochs of others that are remembered as those of this pool.
const TRACED: usize = 4096;
/// By how many microseconds a clock may have been ahead of what it is: a year.
const FARTHEST: u64 = 366 * 24 * 3600 * 1_000_000;
/// Between two epochs that are passed on the word of one who can't prove it: each has all proxies take the table again.
const PASSED_AGAIN: Duration = Duration::from_secs(1);

/// Service, model, version, and the tenant that has a row of its own.
type Place = (String, String, String, Option<String>);
type Index = HashMap<Place, Vec<Generation>>;

/// The table as it stands.
pub(crate) struct LiveTable {
    current: ArcSwap<Current>,
    /// Instances that are alive, by service: told to people, and nothing goes by it.
    replicas: ArcSwap<BTreeMap<String, usize>>,
    /// Requests whose results were purged one by one; set before the epoch by which they are.
    dropped: ArcSwap<Vec<Dropped>>,
    /// Held by who changes it, for a moment.
    changing: Mutex<()>,
    /// Told when the epoch is another.
    epochs: watch::Sender<u64>,
    traces: Mutex<Traces>,
    /// Rung when an epoch must be asked after.
    untraced: Notify,
    /// Proves epochs.
    secret: Arc<PoolSecret>,
    /// Set where the table can't grow old: it is this process that it tells of. When it last passed an epoch that wasn't proven.
    own: Option<Mutex<Option<Instant>>>,
}

#[derive(Clone)]
struct Current {
    epoch: u64,
    models: Arc<Vec<LiveModel>>,
    /// The models as JSON.
    json: Arc<str>,
    index: Arc<Index>,
    /// When what is known now was asked for.
    refreshed: Option<Instant>,
}

/// Epochs that others know.
#[derive(Default)]
struct Traces {
    /// Those that the pool has given out before the table's.
    traced: BTreeSet<u64>,
    /// Those that it must be asked after.
    untraced: BTreeSet<u64>,
}

/// What a poll gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// The table, which is newer.
    Newer,
    /// Nothing yet: it has this table.
    Same,
    /// Nothing yet: it may know more than this table does. The pool is asked.
    Untraced,
    /// Nothing: there is no table to be trusted.
    Unknown,
}

impl LiveTable {
    /// An empty table of this process alone. It never grows old.
    pub(crate) fn own() -> Self {
        let secret = Secret::from_bytes(random_name().as_bytes()).expect("its name is long enough");
        Self::new(Arc::new(PoolSecret::new(secret)), Some(Mutex::default()))
    }

    /// An empty table of a pool that gates share.
    pub(crate) fn of_pool(secret: Arc<PoolSecret>) -> Self {
        Self::new(secret, None)
    }

    fn new(secret: Arc<PoolSecret>, own: Option<Mutex<Option<Instant>>>) -> Self {
        let current = Current {
            epoch: 0,
            models: Arc::default(),
            json: "[]".into(),
            index: Arc::default(),
            refreshed: None,
        };
        Self {
            current: ArcSwap::from_pointee(current),
            replicas: ArcSwap::default(),
            dropped: ArcSwap::default(),
            changing: Mutex::default(),
            epochs: watch::Sender::new(0),
            traces: Mutex::default(),
            untraced: Notify::new(),
            secret,
            own,
        }
    }

    /// Replaces the table by what the pool said since `asked`. `confirmed` are epochs of others that it was asked after.
    pub(crate) fn set(&self, epoch: u64, models: Option<Vec<LiveModel>>, asked: Instant, confirmed: &[u64]) {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        {
            let mut traces = self.traces.lock().unwrap_or_else(PoisonError::into_inner);
            for epoch in confirmed {
                traces.untraced.remove(epoch);
            }
            traces.traced.extend(confirmed);
            traces.traced.insert(epoch);
            while traces.traced.len() > TRACED {
                traces.traced.pop_first();
            }
        }
        self.change(epoch, models, asked);
    }

    /// Called by who may change it now.
    fn change(&self, epoch: u64, models: Option<Vec<LiveModel>>, asked: Instant) {
        let mut next = Current::clone(&self.current.load());
        // One task alone hears the pool, so this is for the reader of this line.
        if epoch < next.epoch {
            return;
        }
        next.epoch = epoch;
        next.refreshed = Some(asked);
        if let Some(models) = models {
            let place = |live: &LiveModel| {
                (live.service.clone(), live.model.clone(), live.version.clone(), live.tenant.clone())
            };
            let row = |live: &LiveModel| (place(live), live.generations.clone());
            next.index = Arc::new(models.iter().map(row).collect());
            next.json = serde_json::to_string(&models).unwrap_or_default().into();
            next.models = Arc::new(models);
        }
        self.current.store(Arc::new(next));
        self.epochs.send_if_modified(|before| std::mem::replace(before, epoch) != epoch);
    }

    /// These requests were purged one by one: to be said before the epoch by which they are.
    pub(crate) fn set_dropped(&self, dropped: Vec<Dropped>) {
        self.dropped.store(Arc::new(dropped));
    }

    /// The digest by which a request's result is looked up.
    pub(crate) fn digest(&self, digest: &Digest) -> Digest {
        let dropped = self.dropped.load();
        let number =
            dropped.iter().find(|dropped| dropped.digest == *digest).map_or(0, |dropped| dropped.number);
        digest.purged(number)
    }

    /// So many instances of each service are alive.
    pub(crate) fn set_replicas(&self, replicas: BTreeMap<String, usize>) {
        let before = self.away();
        self.replicas.store(Arc::new(replicas));
        if self.away() != before {
            // Who polls is told at once.
            self.epochs.send_modify(|_| ());
        }
    }

    /// How many instances of each service are alive, as they said it last.
    pub(crate) fn replicas(&self) -> Arc<BTreeMap<String, usize>> {
        self.replicas.load_full()
    }

    /// Services whose results are live though none of their instances is alive.
    pub(crate) fn away(&self) -> Vec<String> {
        if self.own.is_some() {
            return Vec::new();
        }
        let replicas = self.replicas.load();
        let models = self.current.load().models.clone();
        let services: BTreeSet<&String> = models.iter().map(|live| &live.service).collect();
        let is_away = |service: &&&String| replicas.get(**service).is_none_or(|count| *count == 0);
        services.iter().filter(is_away).map(|service| (*service).clone()).collect()
    }

    /// Replaces the models and what was purged by itself, and counts the epoch up if they changed: for a table of one process. Returns
    /// the epoch.
    pub(crate) fn set_models(&self, models: Vec<LiveModel>, dropped: Vec<Dropped>) -> u64 {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.current.load_full();
        if *before.models != models || **self.dropped.load() != dropped || before.epoch == 0 {
            self.set_dropped(dropped);
            self.change(next_epoch(before.epoch), Some(models), Instant::now());
        }
        self.epoch()
    }

    /// The epoch that a poller proves to know; 0 when it proves none.
    pub(crate) fn proven(&self, epoch: u64, proof: &str, now: Instant) -> u64 {
        if epoch == 0 || self.secret.holds(epoch, proof) {
            return epoch;
        }
        if let Some(passed) = &self.own {
            self.pass(epoch, passed, now);
        }
        0
    }

    /// Goes past an epoch that this process may have given out when it ran before, by a clock that was ahead.
    fn pass(&self, epoch: u64, passed: &Mutex<Option<Instant>>, now: Instant) {
        let mut passed = passed.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = passed.is_none_or(|passed| now.duration_since(passed) >= PASSED_AGAIN);
        let is_possible = epoch <= now_ms().saturating_mul(1000).saturating_add(FARTHEST);
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        // There must be something to tell before there is something to tell again.
        if is_due && is_possible && (1..=epoch).contains(&self.epoch()) {
            *passed = Some(now);
            self.change(next_epoch(epoch), None, now);
        }
    }

    /// Where one who knows the table of that epoch stands, and 0 is none. What is known was [proven](Self::proven).
    pub(crate) fn standing(&self, known: u64, now: Instant) -> Standing {
        let current = self.current.load();
        if !self.is_trusted(&current, now) {
            return Standing::Unknown;
        }
        if known == current.epoch {
            return Standing::Same;
        }
        let mut traces = self.traces.lock().unwrap_or_else(PoisonError::into_inner);
        let is_traced = known == 0 || (known < current.epoch && traces.traced.contains(&known));
        if self.own.is_some() || is_traced {
            return Standing::Newer;
        }
        if traces.untraced.len() < TRACED && traces.untraced.insert(known) {
            self.untraced.notify_one();
        }
        Standing::Untraced
    }

    /// Epochs that the pool must be asked after.
    pub(crate) fn untraced(&self) -> Vec<u64> {
        let traces = self.traces.lock().unwrap_or_else(PoisonError::into_inner);
        traces.untraced.iter().copied().collect()
    }

    /// Waits for an epoch that the pool must be asked after.
    pub(crate) async fn until_untraced(&self) {
        self.untraced.notified().await;
    }

    /// Told when the epoch is another.
    pub(crate) fn epochs(&self) -> watch::Receiver<u64> {
        self.epochs.subscribe()
    }

    /// The epoch, trusted or not.
    pub(crate) fn epoch(&self) -> u64 {
        self.current.load().epoch
    }

    /// When the table stops being trusted if it isn't refreshed; `None` for one's own.
    pub(crate) fn trusted_until(&self) -> Option<Instant> {
        if self.own.is_some() {
            None
        } else {
            self.current.load().refreshed.map(|refreshed| refreshed + TRUSTED)
        }
    }

    /// The table as JSON, if it can be trusted, with its epoch.
    pub(crate) fn json(&self, now: Instant) -> Option<(u64, String)> {
        let current = self.current.load();
        let Current { epoch, json, .. } = &**current;
        self.is_trusted(&current, now).then(|| {
            let now_ms = now_ms();
            let proof = self.secret.prove(*epoch);
            let head = format!(r#""format":{FORMAT},"epoch":{epoch},"proof":"{proof}","now_ms":{now_ms}"#);
            let dropped = self.dropped.load();
            let dropped = if dropped.is_empty() {
                String::new()
            } else {
                format!(r#","dropped":{}"#, serde_json::to_string(&**dropped).unwrap_or_default())
            };
            (*epoch, format!(r#"{{{head},"models":{json}{dropped}}}"#))
        })
    }

    /// The live generations of one place, for whose they are, none where nothing is known of it; `None` when the table can't be
    /// trusted.
    pub(crate) fn generations(
        &self,
        scope: &Scope<'_>,
        model: &str,
        version: &str,
    ) -> Option<Vec<Generation>> {
        let current = self.current.load();
        if !self.is_trusted(&current, Instant::now()) {
            return None;
        }
        let place = |tenant| (scope.service.to_owned(), model.to_owned(), version.to_owned(), tenant);
        let tenants = scope.tenant.and_then(|tenant| current.index.get(&place(Some(tenant.to_string()))));
        let row = tenants.or_else(|| current.index.get(&place(None)));
        Some(row.cloned().unwrap_or_default())
    }

    /// All that is live, if it can be trusted, with its epoch.
    pub(crate) fn models(&self) -> Option<(u64, Arc<Vec<LiveModel>>)> {
        let current = self.current.load();
        self.is_trusted(&current, Instant::now()).then(|| (current.epoch, current.models.clone()))
    }

    /// Whether any version of that model is live; `None` when the table can't be trusted.
    pub(crate) fn lists(&self, service: &str, model: &str) -> Option<bool> {
        let current = self.current.load();
        let is_it = |(of, name, ..): &Place| of == service && name == model;
        self.is_trusted(&current, Instant::now()).then(|| current.index.keys().any(is_it))
    }

    /// Whether the table can be trusted now.
    pub(crate) fn is_known(&self) -> bool {
        self.is_trusted(&self.current.load(), Instant::now())
    }

    fn is_trusted(&self, current: &Current, now: Instant) -> bool {
        current
            .refreshed
            .is_some_and(|refreshed| self.own.is_some() || now.duration_since(refreshed) <= TRUSTED)
    }
}

/// Epochs are microseconds of the clock where that has moved on: one that two pools gave out is next to impossible then.
fn next_epoch(before: u64) -> u64 {
    now_ms().saturating_mul(1000).max(before + 1)
}

#[cfg(test)]
mod tests;
