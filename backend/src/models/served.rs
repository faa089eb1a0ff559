//! The models that are served. Name and asked version -> the loaded version that answers. The whole set is swapped at
//! once, so a request sees either the old or the new. Next: `signature` checks the request against the version.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use forebay_protocol::digest::Generation;
use http::HeaderValue;
use metrics::gauge;

use super::chosen::{Out, Told};
use super::policy::Policy;
use super::remote::Remote;
use super::repository::{self, Fingerprint};
use super::variant::Known;
use crate::cache::live::Served;
use crate::class::Class;
use crate::config::{Device, ModelConfig};
use crate::engine::ModelFiles;
use crate::engine::signature::Signature;
use crate::engine::signature::view::View;
use crate::observe::statistics::Statistics;
use crate::schedule::Schedule;
use crate::schedule::answers::Answers;
use crate::schedule::flight::Flights;
use crate::shadow::Shadow;

/// A request for what is not served.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum UnknownModel {
    #[error("Request for unknown model: '{model}' is not found")]
    Model { model: String },
    #[error("Request for unknown model: '{model}' version {version} is not found")]
    Version { model: String, version: String },
    #[error("Request for unknown model: '{model}' version {version} is not found: {reason}")]
    Out { model: String, version: String, reason: String },
    #[error("this server starts: its models are being loaded; try again")]
    Starting,
}

impl UnknownModel {
    pub(crate) fn class(&self) -> Class {
        match self {
            Self::Model { .. } | Self::Version { .. } | Self::Out { .. } => Class::Unknown,
            Self::Starting => Class::Rejected,
        }
    }
}

/// One version of a model, loaded.
pub(crate) struct Version {
    pub(crate) number: String,
    pub(crate) signature: Signature,
    pub(crate) generation: Generation,
    /// The generation as every answer's header says it.
    pub(crate) generation_header: HeaderValue,
    /// `None`: its answers are not kept.
    pub(crate) policy: Option<Policy>,
    /// The settings it runs with, completed from the model.
    pub(crate) config: ModelConfig,
    /// Of outputs that have a label file: what each index of a class is called.
    pub(crate) labels: BTreeMap<String, Vec<String>>,
    pub(crate) platform: &'static str,
    pub(crate) computes: Computes,
    /// Of requests that want the same answer.
    pub(crate) flights: Arc<Flights<Answers>>,
    pub(crate) statistics: Arc<Statistics>,
    /// Of one that was made of another version.
    pub(crate) variant: Option<Lighter>,
    /// Of one with sessions on GPUs, which may have to be opened again.
    pub(crate) origin: Option<Origin>,
}

/// What computes a version's answers.
pub(crate) enum Computes {
    /// Sessions of this process, behind a queue.
    Sessions(Schedule),
    /// Another server.
    Upstream(Remote),
}

impl Version {
    /// Why nothing is there that computes; `None` while something is.
    pub(crate) fn why_away(&self) -> Option<String> {
        self.sessions().and_then(Schedule::why_away)
    }

    /// Its sessions, where it has some.
    pub(crate) fn sessions(&self) -> Option<&Schedule> {
        match &self.computes {
            Computes::Sessions(schedule) => Some(schedule),
            Computes::Upstream(_) => None,
        }
    }

    /// Whether it is known what computes its answers, so that they may be given again.
    fn is_live(&self) -> bool {
        match &self.computes {
            Computes::Sessions(_) => true,
            Computes::Upstream(remote) => remote.has_generation(),
        }
    }

    /// What runs its original beside it.
    pub(crate) fn shadow(&self) -> Option<&Shadow> {
        self.variant.as_ref()?.shadow.as_ref()
    }
}

/// What is known of a version that was made of another one.
pub(crate) struct Lighter {
    pub(crate) known: Known,
    /// `forebay_variants`.
    pub(super) _told: Told,
    /// Where its original runs beside it.
    pub(crate) shadow: Option<Shadow>,
}

/// What sessions are opened from, as it was read.
pub(crate) struct Origin {
    pub(crate) files: ModelFiles,
    /// Completed.
    pub(crate) config: ModelConfig,
    pub(crate) devices: Vec<Device>,
    /// What clients see of the model.
    pub(crate) view: Arc<View>,
}

/// A model and its served versions.
pub(crate) struct Model {
    pub(crate) versions: BTreeMap<u64, Arc<Version>>,
    /// Variants whose originals answer.
    pub(crate) out: BTreeMap<u64, Out>,
    pub(crate) fingerprint: Fingerprint,
    /// It came by call with a configuration or files of its own.
    pub(crate) is_brought: bool,
}

impl Model {
    /// The version that answers; `asked` "" is the highest.
    pub(crate) fn version(&self, asked: &str) -> Option<&Arc<Version>> {
        match asked {
            "" => self.versions.values().next_back(),
            asked => repository::version_number(asked).and_then(|number| self.versions.get(&number)),
        }
    }

    /// Whether one of its versions was made of another one.
    pub(crate) fn has_variants(&self) -> bool {
        self.versions.values().any(|version| version.variant.is_some())
    }
}

/// All models by name, and why others could not be loaded.
#[derive(Default, Clone)]
pub(crate) struct ModelSet {
    pub(crate) models: HashMap<String, Arc<Model>>,
    pub(crate) failed: BTreeMap<String, Failed>,
    /// Versions that were served until they were unloaded.
    pub(crate) unloaded: BTreeMap<String, Vec<Unloaded>>,
}

/// A model that could not be loaded.
#[derive(Clone)]
pub(crate) struct Failed {
    /// Of its folder.
    pub(crate) fingerprint: Fingerprint,
    pub(crate) reason: String,
    /// It has no version, and so is no model: it keeps nothing from being ready.
    pub(crate) is_empty: bool,
    /// When it is tried again though nothing changed.
    pub(crate) retry: Option<Retry>,
}

/// A further attempt.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Retry {
    pub(crate) at: Instant,
    /// The pause before it.
    pub(crate) pause: Duration,
}

/// A version that takes no more requests.
#[derive(Clone)]
pub(crate) struct Unloaded {
    pub(crate) number: String,
    version: Weak<Version>,
}

impl Unloaded {
    pub(crate) fn of(version: &Arc<Version>) -> Self {
        Self { number: version.number.clone(), version: Arc::downgrade(version) }
    }

    /// Whether there are requests that it has still to answer.
    pub(crate) fn is_busy(&self) -> bool {
        self.version.strong_count() > 0
    }
}

/// The set that requests read.
#[derive(Default)]
pub(crate) struct Models {
    current: ArcSwap<ModelSet>,
    /// What is loaded at start is served: what isn't there now is unknown.
    is_open: AtomicBool,
}

impl Models {
    /// The version that answers; `version` "" is the highest.
    ///
    /// # Errors
    /// When there is no such model or version.
    pub(crate) fn find(&self, model: &str, version: &str) -> Result<Arc<Version>, UnknownModel> {
        let current = self.current.load();
        let found = current.models.get(model).ok_or_else(|| self.unknown(model))?;
        found.version(version).cloned().ok_or_else(|| {
            let (model, version) = (model.to_owned(), version.to_owned());
            let out = repository::version_number(&version).and_then(|number| found.out.get(&number));
            match out {
                Some(out) => UnknownModel::Out { model, version, reason: out.reason() },
                None => UnknownModel::Version { model, version },
            }
        })
    }

    /// The served versions of a model, ascending.
    ///
    /// # Errors
    /// When there is no such model.
    pub(crate) fn versions(&self, model: &str) -> Result<Vec<String>, UnknownModel> {
        let current = self.current.load();
        let found = current.models.get(model).ok_or_else(|| self.unknown(model))?;
        Ok(found.versions.keys().map(u64::to_string).collect())
    }

    fn unknown(&self, model: &str) -> UnknownModel {
        if self.is_open() { UnknownModel::Model { model: model.to_owned() } } else { UnknownModel::Starting }
    }

    /// What is loaded at start is served from here on.
    pub(crate) fn open(&self) {
        self.is_open.store(true, Ordering::Release);
    }

    /// Whether it is.
    pub(crate) fn is_open(&self) -> bool {
        self.is_open.load(Ordering::Acquire)
    }

    /// Tells `/metrics` what each version holds of GPUs.
    pub(crate) fn publish_gpu_bytes(&self) {
        let current = self.current.load();
        for version in current.models.values().flat_map(|model| model.versions.values()) {
            version.statistics.publish_gpu_bytes();
        }
    }

    /// Tells `/metrics` how many versions answer, and how many versions and models don't that should.
    pub(crate) fn publish_states(&self) {
        let current = self.current.load();
        let versions = || current.models.values().flat_map(|model| model.versions.values());
        let away = versions().filter(|version| version.why_away().is_some()).count();
        let failed = current.failed.values().filter(|failed| !failed.is_empty).count();
        gauge!("forebay_models", "state" => "ready").set((versions().count() - away) as f64);
        gauge!("forebay_models", "state" => "unavailable").set((away + failed) as f64);
    }

    /// The set as it is.
    pub(crate) fn current(&self) -> Arc<ModelSet> {
        self.current.load_full()
    }

    /// Swaps the set. Requests that hold a version of the old one finish on it.
    pub(crate) fn publish(&self, served: ModelSet) {
        self.current.store(Arc::new(served));
    }

    /// Whether every model that should be served is; none is before [`open`](Self::open). One that could not be loaded again is, as it
    /// was before.
    ///
    /// One whose GPU is being brought back is, too, as long as another can compute: the rest would be lost with it otherwise, and
    /// so would cached results be; who asks for it is told to try again.
    pub(crate) fn all_loaded(&self) -> bool {
        let current = self.current.load();
        let mut versions = current.models.values().flat_map(|model| model.versions.values());
        self.is_open()
            && current
                .failed
                .iter()
                .all(|(name, failed)| failed.is_empty || current.models.contains_key(name))
            && (current.models.is_empty() || versions.any(|version| version.why_away().is_none()))
    }
}

impl ModelSet {
    /// Which models hold memory of that GPU, the most first, in a sentence.
    pub(crate) fn holders(&self, gpu: i32) -> String {
        let mut holders: Vec<(usize, String)> = Vec::new();
        for (name, model) in &self.models {
            for version in model.versions.values() {
                let held = version.statistics.gpu_bytes();
                let bytes = held.iter().filter(|(of, bytes)| *of == gpu && *bytes > 0);
                holders
                    .extend(bytes.map(|(_, bytes)| (*bytes, format!("{name} version {}", version.number))));
            }
        }
        holders.sort_unstable_by(|a, b| b.cmp(a));
        let holders: Vec<String> = holders.iter().map(|(bytes, who)| format!("{who} {bytes}")).collect();
        if holders.is_empty() {
            return "no model of this server holds any".to_owned();
        }
        format!("models hold {} bytes", holders.join(", "))
    }

    /// Model, version as asked, generation: for each version, and without a version for the highest.
    pub(crate) fn live(&self) -> Vec<Served> {
        let mut live = Vec::new();
        for (name, model) in &self.models {
            let highest = model.versions.values().next_back().map(|version| (String::new(), version));
            let each = model.versions.values().map(|version| (version.number.clone(), version));
            let all = highest.into_iter().chain(each);
            for (asked, version) in all.filter(|(_, version)| version.is_live()) {
                live.push(Served { model: name.clone(), version: asked, generation: version.generation });
            }
        }
        live.sort_unstable_by(|a, b| (&a.model, &a.version).cmp(&(&b.model, &b.version)));
        // One that has no number is what is asked for without one.
        live.dedup();
        live
    }
}
