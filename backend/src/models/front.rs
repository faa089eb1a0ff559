//! The models of another server, in front of which this one stands: looks at what it says of them (`described`) and at their files
//! (`known`) -> versions whose answers are kept or joined, and which of them are live (`entered`). What is not known for sure is neither
//! given from the pool nor kept. Loads and unloads that come here end the generation before they go on (`change`). Next: `infer` finds
//! the version, `live` is told.

mod change;
mod described;
mod entered;
mod known;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::repository::{self, Fingerprint};
use super::served::Models;
use crate::cache::live::Herald;
use crate::observe::logs::Seldom;
use crate::schedule::QueueLimits;
use crate::upstream::{Upstream, UpstreamError};
pub(crate) use change::Change;
use described::Described;
use known::{Known, Look};

/// What the operator says.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rules {
    /// Models that are kept, and for how many seconds, beside those whose configuration says so.
    pub(crate) listed: BTreeMap<String, Option<u32>>,
    pub(crate) ground: Ground,
}

/// How it is known what the server has loaded.
#[derive(Debug, Clone, Default)]
pub(crate) enum Ground {
    /// By the files of its repository.
    Files {
        root: PathBuf,
        /// They never change once they may be loaded.
        are_loaded: bool,
    },
    /// By the operator's word.
    Said(String),
    /// It isn't.
    #[default]
    Unknown,
}

/// The models in front of the server.
pub(crate) struct Front {
    pub(crate) upstream: Arc<Upstream>,
    pub(crate) models: Arc<Models>,
    pub(crate) herald: Arc<Herald>,
    rules: Rules,
    /// Of requests that want the same answer of a version.
    limits: QueueLimits,
    state: Mutex<State>,
    is_ready: AtomicBool,
    lines: Seldom,
}

#[derive(Default)]
struct State {
    /// What the server says of itself.
    server: String,
    models: HashMap<String, Known>,
    /// Of models that were loaded through here: how often, and how many changes are on their way.
    changes: HashMap<String, Changes>,
}

#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Changes {
    begun: u64,
    on: usize,
    /// The operator's word was for what was loaded before.
    since_said: Option<String>,
}

impl Front {
    pub(crate) fn new(
        upstream: Arc<Upstream>,
        models: Arc<Models>,
        herald: Arc<Herald>,
        rules: Rules,
        limits: QueueLimits,
    ) -> Arc<Self> {
        let (state, is_ready, lines) = (Mutex::default(), AtomicBool::new(false), Seldom::new());
        Arc::new(Self { upstream, models, herald, rules, limits, state, is_ready, lines })
    }

    /// Whether the server was ready at the last look.
    pub(crate) fn is_ready(&self) -> bool {
        self.is_ready.load(Ordering::Acquire)
    }

    /// Looks until the server is ready.
    pub(crate) async fn until_ready(&self, every: Duration) {
        loop {
            self.look().await;
            if self.is_ready() {
                return;
            }
            tokio::time::sleep(every).await;
        }
    }

    /// Looks for ever.
    pub(crate) async fn follow(self: Arc<Self>, every: Duration, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => self.look().await,
            }
        }
    }

    /// One look at the server and at all of its models.
    pub(crate) async fn look(&self) {
        let looked = self.look_at_all().await;
        match &looked {
            Ok(()) => {}
            Err(error) => {
                self.is_away(error.is_ended());
                let words = error.to_string();
                if let Some(left_out) = self.lines.due(&words) {
                    tracing::warn!(left_out, "not ready: {words}");
                }
            }
        }
        if self.is_ready.swap(looked.is_ok(), Ordering::AcqRel) != looked.is_ok() {
            tracing::info!(ready = looked.is_ok(), "the upstream");
        }
    }

    async fn look_at_all(&self) -> Result<(), UpstreamError> {
        if !self.upstream.is_ready().await? {
            return Err(UpstreamError::Unusable { reason: "it says that it is not ready".to_owned() });
        }
        let server = self.upstream.server().await?;
        let of = |name: &str| server.get(name).cloned().unwrap_or_default();
        self.state().server = serde_json::json!([of("name"), of("version")]).to_string();
        let mut names: BTreeSet<String> = self.upstream.index().await?.into_iter().collect();
        // One that the index doesn't list may be served all the same, while another load of it is on.
        names.extend(self.known_names());
        for name in &names {
            self.look_at(name).await?;
        }
        Ok(())
    }

    /// Looks at one model. While it is being changed through here, that says what becomes of it.
    async fn look_at(&self, name: &str) -> Result<(), UpstreamError> {
        let changes = self.state().changes.get(name).cloned().unwrap_or_default();
        if changes.on > 0 {
            return Ok(());
        }
        match Described::of(&self.upstream, &self.rules, name).await {
            Ok(None) => self.is_gone(name),
            Err(error @ UpstreamError::Unusable { .. }) => {
                self.say_not_kept(name, &error);
                let _state = self.state();
                self.publish(name, BTreeMap::new());
            }
            Err(error) => return Err(error),
            Ok(Some(described)) => {
                let fingerprint = self.see_files(name, &described, &changes).await;
                self.enter(name, &described, &changes, fingerprint.as_ref());
            }
        }
        Ok(())
    }

    /// What the files say of what was loaded; how they are now.
    async fn see_files(&self, name: &str, described: &Described, changes: &Changes) -> Option<Fingerprint> {
        let Ground::Files { are_loaded, .. } = self.rules.ground else { return None };
        described.policy?;
        let (root, model) = (self.root_of(name)?.to_owned(), name.to_owned());
        let versions = described.versions.clone();
        // A copy, for as long as hashing takes: after a change it is of no use.
        let mut known = self.state().models.get(name).cloned().unwrap_or_default();
        let seen = tokio::task::spawn_blocking(move || {
            let look = |known: &mut Known| {
                let fingerprint = repository::fingerprint(&root, &model)?;
                let look = Look { fingerprint: fingerprint.clone(), versions: &versions, are_loaded };
                known.look(look, |version| repository::digest(&root, &model, version))?;
                repository::fingerprint(&root, &model).map(|after| (after == fingerprint).then_some(after))
            };
            let seen = look(&mut known).inspect_err(|_| known.is_strange());
            (known, seen)
        });
        let (known, seen) = seen.await.ok()?;
        let mut state = self.state();
        if state.changes.get(name).cloned().unwrap_or_default() == *changes {
            state.models.insert(name.to_owned(), known);
        }
        match seen {
            Ok(fingerprint) => fingerprint,
            Err(error) => {
                self.say_not_kept(name, &error);
                None
            }
        }
    }

    fn say_not_kept(&self, model: &str, why: &dyn std::fmt::Display) {
        let words = format!("{model}: its answers are not kept: {why}");
        if let Some(left_out) = self.lines.due(&words) {
            tracing::warn!(left_out, "{words}");
        }
    }

    /// The server doesn't serve it.
    fn is_gone(&self, name: &str) {
        let fingerprint = self.root_of(name).and_then(|root| repository::fingerprint(root, name).ok());
        let mut state = self.state();
        if state.changes.get(name).is_none_or(|changes| changes.on == 0) {
            state.models.entry(name.to_owned()).or_default().is_absent(fingerprint);
            self.publish(name, BTreeMap::new());
        }
    }

    /// The server can't be asked. What is kept of it is given on, for as long as it may come back as it was; nothing is added.
    fn is_away(&self, is_ended: bool) {
        for model in self.models.current().models.values() {
            model.versions.values().for_each(|version| version.end());
        }
        if is_ended {
            for name in self.known_names() {
                let root = self.root_of(&name);
                let fingerprint = root.and_then(|root| repository::fingerprint(root, &name).ok());
                self.state().models.entry(name).or_default().is_absent(fingerprint);
            }
        }
    }

    /// Models that something is known of, or that have a folder.
    fn known_names(&self) -> BTreeSet<String> {
        let folders = self.root().and_then(|root| repository::model_names(root).ok()).unwrap_or_default();
        let mut names: BTreeSet<String> =
            folders.into_iter().chain(self.rules.listed.keys().cloned()).collect();
        names.extend(self.state().models.keys().cloned());
        names.extend(self.models.current().models.keys().cloned());
        names
    }

    /// The repository, of a model that may have a folder there.
    fn root_of(&self, model: &str) -> Option<&Path> {
        self.root().filter(|_| repository::is_name(model))
    }

    fn root(&self) -> Option<&Path> {
        match &self.rules.ground {
            Ground::Files { root, .. } => Some(root),
            Ground::Said(_) | Ground::Unknown => None,
        }
    }

    /// Held by who changes the set, for a moment.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
