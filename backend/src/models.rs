//! The models that are served. Name and asked version -> the loaded version that answers; `Loader` turns a folder
//! into a model. The whole set is swapped at once, so a request sees either the old or the new. Next: `signature`
//! checks the request against the version.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use forebay_protocol::cache_control::Freshness;
use forebay_protocol::digest::Generation;

use crate::engine::{Engine, EngineError, InputTensor, Session, SessionOptions};
use crate::live::Served;
use crate::model_config::ModelConfig;
use crate::policy::{self, PolicyError};
use crate::repository::{self, Fingerprint, RepositoryError};
use crate::schedule::batching::{Batching, BatchingError};
use crate::schedule::{QueueLimits, Schedule};
use crate::signature::{DeclarationError, Signature};
use crate::statistics::Statistics;
use crate::{generation, model_config};

/// A request for what is not served.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum UnknownModel {
    #[error("Request for unknown model: '{model}' is not found")]
    Model { model: String },
    #[error("Request for unknown model: '{model}' version {version} is not found")]
    Version { model: String, version: String },
}

/// A model that can't be served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    #[error("version {version}: {source}")]
    Engine { version: u64, source: EngineError },
    #[error("{path}: {source}")]
    Declaration { path: PathBuf, source: DeclarationError },
    #[error("{path}: {source}")]
    Policy { path: PathBuf, source: PolicyError },
    #[error("{path}: {source}")]
    Batching { path: PathBuf, source: BatchingError },
    #[error("the files changed while they were read")]
    Changing,
    #[error("no thread for a session: {0}")]
    Thread(std::io::Error),
}

/// One version of a model, loaded.
pub(crate) struct Version {
    pub(crate) number: String,
    pub(crate) signature: Signature,
    pub(crate) generation: Generation,
    pub(crate) freshness: Option<Freshness>,
    /// The settings it runs with.
    pub(crate) config: ModelConfig,
    pub(crate) platform: &'static str,
    pub(crate) schedule: Schedule,
    pub(crate) statistics: Arc<Statistics>,
}

/// A model and its served versions.
pub(crate) struct Model {
    pub(crate) versions: BTreeMap<u64, Arc<Version>>,
    pub(crate) fingerprint: Fingerprint,
}

/// All models by name, and why others could not be loaded.
#[derive(Default)]
pub(crate) struct ModelSet {
    pub(crate) models: HashMap<String, Arc<Model>>,
    pub(crate) failed: BTreeMap<String, (Fingerprint, String)>,
}

/// The set that requests read.
#[derive(Default)]
pub(crate) struct Models {
    current: ArcSwap<ModelSet>,
}

impl Models {
    /// The version that answers; `version` "" is the highest.
    ///
    /// # Errors
    /// When there is no such model or version.
    pub(crate) fn find(&self, model: &str, version: &str) -> Result<Arc<Version>, UnknownModel> {
        let current = self.current.load();
        let found =
            current.models.get(model).ok_or_else(|| UnknownModel::Model { model: model.to_owned() })?;
        let version_found = if version.is_empty() {
            found.versions.values().next_back()
        } else {
            repository::version_number(version).and_then(|number| found.versions.get(&number))
        };
        version_found
            .cloned()
            .ok_or_else(|| UnknownModel::Version { model: model.to_owned(), version: version.to_owned() })
    }

    /// The served versions of a model, ascending.
    ///
    /// # Errors
    /// When there is no such model.
    pub(crate) fn versions(&self, model: &str) -> Result<Vec<String>, UnknownModel> {
        let current = self.current.load();
        let found =
            current.models.get(model).ok_or_else(|| UnknownModel::Model { model: model.to_owned() })?;
        Ok(found.versions.keys().map(u64::to_string).collect())
    }

    /// The set as it is.
    pub(crate) fn current(&self) -> Arc<ModelSet> {
        self.current.load_full()
    }

    /// Swaps the set. Requests that hold a version of the old one finish on it.
    pub(crate) fn publish(&self, served: ModelSet) {
        self.current.store(Arc::new(served));
    }

    /// Whether every model that should be served is.
    pub(crate) fn all_loaded(&self) -> bool {
        self.current.load().failed.is_empty()
    }
}

impl ModelSet {
    /// Model, version as asked, generation: for each version, and without a version for the highest.
    pub(crate) fn live(&self) -> Vec<Served> {
        let mut live = Vec::new();
        for (name, model) in &self.models {
            let highest = model.versions.values().next_back().map(|version| (String::new(), version));
            let each = model.versions.values().map(|version| (version.number.clone(), version));
            for (asked, version) in highest.into_iter().chain(each) {
                live.push(Served { model: name.clone(), version: asked, generation: version.generation });
            }
        }
        live.sort_unstable_by(|a, b| (&a.model, &a.version).cmp(&(&b.model, &b.version)));
        live
    }
}

/// Turns folders into models.
pub(crate) struct Loader {
    pub(crate) root: PathBuf,
    pub(crate) engine: Box<dyn Engine>,
    pub(crate) options: SessionOptions,
    /// Sessions of a model whose `config.pbtxt` doesn't say.
    pub(crate) instances: usize,
    pub(crate) limits: QueueLimits,
}

impl Loader {
    /// Loads a model. Versions that `before` has in the same generation are taken from it.
    ///
    /// # Errors
    /// What is wrong, with the file it is in.
    pub(crate) fn load(&self, name: &str, before: Option<&Model>) -> Result<Model, LoadError> {
        let fingerprint = repository::fingerprint(&self.root, name)?;
        let config = repository::read_config(&self.root, name)?;
        let path = self.root.join(name).join(model_config::FILE_NAME);
        let freshness =
            policy::of(&config).map_err(|source| LoadError::Policy { path: path.clone(), source })?;
        let mut versions = BTreeMap::new();
        for number in repository::versions(&self.root, name, &config)? {
            let version = self.load_version(name, number, &config, freshness, before)?;
            version
                .signature
                .check_declaration(&config)
                .map_err(|source| LoadError::Declaration { path: path.clone(), source })?;
            versions.insert(number, version);
        }
        if repository::fingerprint(&self.root, name)? != fingerprint {
            return Err(LoadError::Changing);
        }
        Ok(Model { versions, fingerprint })
    }

    fn load_version(
        &self,
        name: &str,
        number: u64,
        config: &ModelConfig,
        freshness: Option<Freshness>,
        before: Option<&Model>,
    ) -> Result<Arc<Version>, LoadError> {
        let files = repository::read_files(&self.root, name, number, config)?;
        let generation = generation::of(number, &files, config, self.options, self.engine.identity());
        let same = before.and_then(|model| model.versions.get(&number));
        if let Some(same) = same.filter(|version| version.generation == generation) {
            return Ok(same.clone());
        }
        let batching = Batching::of(config).map_err(|source| LoadError::Batching {
            path: self.root.join(name).join(model_config::FILE_NAME),
            source,
        })?;
        let wanted = config.instances().unwrap_or(self.instances);
        let open = || self.engine.open(&files, self.options);
        let mut sessions = (0..wanted)
            .map(|_| open())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|source| LoadError::Engine { version: number, source })?;
        for session in &mut sessions {
            warm(name, session.as_mut());
        }
        let signature = sessions.first().map(|session| session.signature().clone());
        let Some(signature) = signature else {
            let source = EngineError::Failed("no session was asked for".to_owned());
            return Err(LoadError::Engine { version: number, source });
        };
        let statistics = Arc::new(Statistics::new(name, &number.to_string()));
        let schedule = Schedule::start(name, sessions, batching, self.limits, statistics.clone());
        let schedule = schedule.map_err(LoadError::Thread)?;
        Ok(Arc::new(Version {
            number: number.to_string(),
            signature,
            generation,
            freshness,
            config: config.clone(),
            platform: self.engine.platform(),
            schedule,
            statistics,
        }))
    }
}

/// One run on zeros, each free dimension 1, so that no client's request is the first. A model that can't compute
/// zeros is not wrong.
fn warm(name: &str, session: &mut dyn Session) {
    let signature = session.signature().clone();
    let shapes: Vec<Vec<i64>> = signature
        .inputs
        .iter()
        .map(|spec| spec.shape.iter().map(|size| if *size < 0 { 1 } else { *size }).collect())
        .collect();
    let data: Vec<Vec<u8>> = signature
        .inputs
        .iter()
        .zip(&shapes)
        .map(|(spec, shape)| {
            let elements = shape.iter().try_fold(1_i64, |all, size| all.checked_mul(*size)).unwrap_or(0);
            // An empty string is its length alone.
            let size = spec.datatype.size().unwrap_or(4);
            vec![0; usize::try_from(elements).unwrap_or(0) * size]
        })
        .collect();
    let inputs: Vec<InputTensor<'_>> = signature
        .inputs
        .iter()
        .zip(shapes.iter().zip(&data))
        .map(|(spec, (shape, data))| InputTensor { name: &spec.name, datatype: spec.datatype, shape, data })
        .collect();
    let outputs: Vec<usize> = (0..signature.outputs.len()).collect();
    if let Err(error) = session.run(&inputs, &outputs) {
        tracing::debug!(model = name, "not warmed: {error}");
    }
}
