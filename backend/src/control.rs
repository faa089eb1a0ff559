//! Which models are served: at start, by call (`--model-control-mode explicit`), or as the repository changes (`poll`).
//! One load of a model at a time, and loads of others don't wait for it; what is new is loaded and warm before what is old goes,
//! and requests that hold the old finish on it. Next: `live` is told what is served now.

mod loads;
mod overrides;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

use crate::live::Tier;
use crate::load::{LoadError, Loader};
use crate::model_config::{ConfigError, ModelConfig};
use crate::models::{Model, ModelSet, Models, UnknownModel, Unloaded};
use crate::proto::repository_index_response::ModelIndex;
use crate::proto::{ModelRepositoryParameter, RepositoryIndexResponse};
use crate::repository::{self, Fingerprint, RepositoryError};
use crate::settings::ModelControlMode;
use loads::{Loads, Turn};
use overrides::Overrides;

/// Parameters of a load, by their names in Triton's extension.
pub(crate) type Parameters = BTreeMap<String, ModelRepositoryParameter>;

/// Parameters of this prefix are the files of the model's folder, by their path in it.
pub(crate) const FILE: &str = "file:";

/// A call that changes nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ControlError {
    #[error("explicit model load / unload is not allowed if polling is enabled (--model-control-mode poll)")]
    Polling,
    #[error("explicit model load / unload is not allowed; start with --model-control-mode explicit")]
    NotExplicit,
    #[error("failed to load '{model}', there is no such folder in the repository")]
    NoFolder { model: String },
    #[error("failed to load '{model}', {source}")]
    Load { model: String, source: Box<LoadError> },
    #[error("failed to load '{model}', parameter '{parameter}' {reason}")]
    Parameter { model: String, parameter: String, reason: String },
    #[error("failed to load '{model}', {source}")]
    Config { model: String, source: Box<ConfigError> },
    #[error("failed to load '{model}', its files can't be written for a while: {source}")]
    Files { model: String, source: std::io::Error },
    #[error(transparent)]
    Unknown(#[from] UnknownModel),
    #[error(transparent)]
    Repository(#[from] RepositoryError),
}

/// The one owner of changes.
pub(crate) struct Control {
    pub(crate) loader: Loader,
    pub(crate) models: Arc<Models>,
    /// Told after each swap of the models.
    pub(crate) tier: Arc<Tier>,
    mode: ModelControlMode,
    /// Cancelled once the server ends: no load goes on then.
    stop: CancellationToken,
    /// Held by who changes the set, for a moment.
    changing: Mutex<()>,
    loads: Loads,
}

/// What became of a load.
struct Attempt {
    /// Of the folder before.
    fingerprint: Fingerprint,
    loaded: Result<Model, LoadError>,
}

impl Control {
    pub(crate) fn new(
        loader: Loader,
        models: Arc<Models>,
        tier: Arc<Tier>,
        mode: ModelControlMode,
        stop: CancellationToken,
    ) -> Self {
        let (changing, loads) = (Mutex::new(()), Loads::default());
        Self { loader, models, tier, mode, stop, changing, loads }
    }

    /// Loads `names`, or every model of the repository, and publishes what could be loaded.
    ///
    /// # Errors
    /// When the repository can't be read. Models that can't be loaded are logged and listed in the set.
    pub(crate) fn load_at_start(&self, names: Option<&[String]>) -> Result<(), RepositoryError> {
        let names = match names {
            Some(names) => names.to_vec(),
            None => repository::model_names(&self.loader.root)?,
        };
        let mut set = ModelSet::default();
        for name in names {
            let turn = self.turn(&name);
            let attempt = self.attempt(&turn, &self.loader.root, &name, None);
            // The set says what failed.
            let _ = enter(&mut set, &name, attempt);
        }
        self.change(|served| *served = set);
        Ok(())
    }

    /// Loads a model again, or for the first time. It serves as before if that fails.
    ///
    /// # Errors
    /// When the mode isn't explicit, parameters are wrong, or the model can't be loaded.
    pub(crate) fn load(&self, model: &str, parameters: &Parameters) -> Result<(), ControlError> {
        self.check_mode()?;
        let overrides = Overrides::of(model, parameters)?;
        let root = match &overrides.files {
            Some(folder) => folder.path(),
            None if repository::model_names(&self.loader.root)?.iter().any(|name| name == model) => {
                &self.loader.root
            }
            None => return Err(ControlError::NoFolder { model: model.to_owned() }),
        };
        let loaded = self.load_from(root, model, overrides.config);
        loaded.map_err(|error| ControlError::Load { model: model.to_owned(), source: error.into() })
    }

    /// Serves a model no more. Requests that it has already are answered; a load of it that is on is stopped.
    ///
    /// # Errors
    /// When the mode isn't explicit, or there is no such model.
    pub(crate) fn unload(&self, model: &str) -> Result<(), ControlError> {
        self.check_mode()?;
        self.loads.stop(model);
        let _turn = self.turn(model);
        let (failed, gone) = self.change(|set| {
            let gone = set.models.remove(model);
            if let Some(gone) = &gone {
                let versions = gone.versions.values().map(Unloaded::of).collect();
                set.unloaded.insert(model.to_owned(), versions);
            }
            (set.failed.remove(model), gone)
        });
        if gone.is_some() {
            tracing::info!(model, "unloaded");
        } else if failed.is_none()
            && !repository::model_names(&self.loader.root)?.iter().any(|name| name == model)
        {
            return Err(UnknownModel::Model { model: model.to_owned() }.into());
        }
        Ok(())
    }

    /// Every model of the repository and what it does, as Triton tells it: nothing of one that was never asked for.
    ///
    /// # Errors
    /// When the repository can't be read.
    pub(crate) fn index(&self, ready_only: bool) -> Result<RepositoryIndexResponse, ControlError> {
        // Before the set: a load that ends meanwhile is told as going on, not as never asked for.
        let loading = self.loads.models();
        let set = self.models.current();
        let mut names = repository::model_names(&self.loader.root)?;
        names.extend(set.models.keys().chain(set.unloaded.keys()).cloned());
        names.sort_unstable();
        names.dedup();
        let mut models: Vec<ModelIndex> =
            names.iter().flat_map(|name| index_of(&set, name, loading.contains(name))).collect();
        models.retain(|model| !ready_only || model.state == "READY");
        Ok(RepositoryIndexResponse { models })
    }

    fn check_mode(&self) -> Result<(), ControlError> {
        match self.mode {
            ModelControlMode::Explicit => Ok(()),
            ModelControlMode::Poll => Err(ControlError::Polling),
            ModelControlMode::None => Err(ControlError::NotExplicit),
        }
    }

    /// One look at the repository: loads what changed and `stands_still`, unloads what is gone.
    ///
    /// # Errors
    /// When the repository can't be read.
    pub(crate) fn follow(&self, stands_still: impl Fn(&Path, &str) -> bool) -> Result<(), RepositoryError> {
        let root = &self.loader.root;
        let names = repository::model_names(root)?;
        let set = self.models.current();
        if set.models.keys().chain(set.failed.keys()).any(|name| !names.contains(name)) {
            self.change(|set| keep_only(set, &names));
        }
        for name in names.iter().filter(|name| has_changed(root, &set, name)) {
            if stands_still(root, name) {
                // The set says what failed.
                let _ = self.load_from(root, name, None);
            }
        }
        Ok(())
    }

    /// Loads a model and serves it.
    fn load_from(&self, root: &Path, name: &str, config: Option<ModelConfig>) -> Result<(), LoadError> {
        let turn = self.turn(name);
        let attempt = self.attempt(&turn, root, name, config);
        self.change(|set| enter(set, name, attempt))
    }

    fn turn<'a>(&'a self, model: &'a str) -> Turn<'a> {
        self.loads.turn(model, self.stop.child_token())
    }

    /// Loads a model whose turn it is.
    fn attempt(&self, turn: &Turn<'_>, root: &Path, name: &str, config: Option<ModelConfig>) -> Attempt {
        let before: Option<Arc<Model>> = self.models.current().models.get(name).cloned();
        let fingerprint = repository::fingerprint(root, name).unwrap_or_default();
        let loaded = self.loader.load(root, name, config, before.as_deref(), &turn.stop);
        Attempt { fingerprint, loaded }
    }

    /// Changes the set as it is now, and tells of it.
    fn change<T>(&self, change: impl FnOnce(&mut ModelSet) -> T) -> T {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut set = ModelSet::clone(&self.models.current());
        let changed = change(&mut set);
        self.models.publish(set);
        self.tier.say(self.models.current().live());
        changed
    }
}

/// Takes out the models whose folders are gone.
fn keep_only(set: &mut ModelSet, names: &[String]) {
    set.models.retain(|name, _| {
        let stays = names.contains(name);
        if !stays {
            tracing::info!(model = name, "unloaded: its folder is gone");
        }
        stays
    });
    set.failed.retain(|name, _| names.contains(name));
}

/// Puts a model that was loaded into the set. One that failed stays as it was before, if it was there.
fn enter(set: &mut ModelSet, name: &str, attempt: Attempt) -> Result<(), LoadError> {
    let Attempt { fingerprint, loaded } = attempt;
    match loaded {
        Ok(model) => {
            for version in model.versions.values() {
                let generation = version.generation.to_string();
                tracing::info!(model = name, version = version.number, generation, "loaded");
            }
            set.failed.remove(name);
            set.unloaded.remove(name);
            set.models.insert(name.to_owned(), Arc::new(model));
            Ok(())
        }
        Err(error) => {
            let error = error.naming_holders(set);
            // The next look takes files that were changing for changed.
            let fingerprint =
                if matches!(error, LoadError::Changing) { Fingerprint::default() } else { fingerprint };
            tracing::error!(model = name, "not loaded: {error}");
            set.failed.insert(name.to_owned(), (fingerprint, error.to_string()));
            Err(error)
        }
    }
}

fn has_changed(root: &Path, before: &ModelSet, name: &str) -> bool {
    let Ok(now) = repository::fingerprint(root, name) else { return true };
    match before.failed.get(name) {
        Some((fingerprint, _)) => *fingerprint != now,
        None => before.models.get(name).is_none_or(|model| model.fingerprint != now),
    }
}

fn index_of(set: &ModelSet, name: &str, is_loading: bool) -> Vec<ModelIndex> {
    let entry = |version: &str, state: &str, reason: &str| ModelIndex {
        name: name.to_owned(),
        version: version.to_owned(),
        state: state.to_owned(),
        reason: reason.to_owned(),
    };
    let mut found = Vec::new();
    if let Some(model) = set.models.get(name) {
        found.extend(model.versions.values().map(|version| match version.schedule.why_away() {
            None => entry(&version.number, "READY", ""),
            Some(reason) => entry(&version.number, "UNAVAILABLE", &reason),
        }));
    }
    if is_loading {
        found.push(entry("", "LOADING", ""));
    } else if let Some((_, reason)) = set.failed.get(name) {
        found.push(entry("", "UNAVAILABLE", reason));
    } else if let Some(versions) = set.unloaded.get(name) {
        found.extend(versions.iter().map(|version| {
            let (state, reason) =
                if version.is_busy() { ("UNLOADING", "") } else { ("UNAVAILABLE", "unloaded") };
            entry(&version.number, state, reason)
        }));
    }
    if found.is_empty() {
        found.push(entry("", "", ""));
    }
    found
}
