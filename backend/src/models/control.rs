//! Which models are served: at start, by call (`--model-control-mode explicit`), or as the repository changes (`poll`).
//! One load of a model at a time, and loads of others don't wait for it; what is new is loaded and warm before what is old goes,
//! and requests that hold the old finish on it. A model that there was no room for is tried again (`retries`). Next: `live` is told
//! what is served now.

mod at_start;
mod index;
mod loads;
mod overrides;
mod retries;
mod set;
mod side_by_side;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;

use super::load::{LoadError, Loader};
use super::repository::{self, RepositoryError};
use super::served::{Model, ModelSet, Models, UnknownModel, Unloaded};
use crate::cache::live::Herald;
use crate::class::Class;
use crate::config::{ConfigError, Written};
use crate::proto::{ModelRepositoryParameter, RepositoryIndexResponse};
use crate::schedule::Schedule;
use crate::settings::ModelControlMode;
use loads::{Loads, Turn};
pub(crate) use overrides::Brought;
use overrides::Overrides;
pub(crate) use retries::follow as retry;
use set::{Attempt, Then, enter, forget};

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
    /// An unload came, or the server ends: whatever the load says of it.
    #[error("failed to load '{model}', {source}")]
    Stopped { model: String, source: Box<LoadError> },
    #[error("failed to load '{model}', parameter '{parameter}' {reason}")]
    Parameter { model: String, parameter: String, reason: String },
    #[error("failed to load '{model}', {source}")]
    Config { model: String, source: Box<ConfigError> },
    #[error("failed to load '{model}', its files can't be written for a while: {source}")]
    Files { model: String, source: std::io::Error },
    #[error("{calls} loads and unloads wait already; try again later")]
    Busy { calls: usize },
    #[error("'{model}' was loaded by call, with a configuration or files of its own: load it again")]
    Brought { model: String },
    #[error("{reason}")]
    Engine { reason: String },
    #[error("the call ended early: {reason}")]
    Ended { reason: String },
    #[error(transparent)]
    Unknown(#[from] UnknownModel),
    #[error(transparent)]
    Repository(#[from] RepositoryError),
}

impl ControlError {
    pub(crate) fn class(&self) -> Class {
        match self {
            // As Triton says it, though what was not allowed at start will not be later.
            Self::Polling | Self::NotExplicit | Self::Busy { .. } => Class::Rejected,
            Self::Unknown(unknown) => unknown.class(),
            Self::NoFolder { .. } => Class::Unknown,
            Self::Files { .. } | Self::Repository(_) | Self::Engine { .. } | Self::Ended { .. } => {
                Class::Failed
            }
            Self::Stopped { .. } | Self::Brought { .. } => Class::Conflict,
            Self::Load { .. } | Self::Parameter { .. } | Self::Config { .. } => Class::Wrong,
        }
    }
}

/// The one owner of changes.
pub(crate) struct Control {
    pub(crate) loader: Loader,
    pub(crate) models: Arc<Models>,
    /// Told after each swap of the models.
    pub(crate) herald: Arc<Herald>,
    mode: ModelControlMode,
    /// Cancelled once the server ends: no load goes on then.
    stop: CancellationToken,
    /// Held by who changes the set, for a moment.
    changing: Mutex<()>,
    loads: Arc<Loads>,
    /// The models that are loaded at start, until they are served: calls change nothing before.
    at_start: Mutex<Vec<String>>,
    /// A model failed that is to be tried again.
    to_retry: Notify,
    /// `None` without `--replay-within`.
    replays: Option<Box<dyn Replays>>,
}

/// What was asked is asked again, of models that were just loaded.
pub(crate) trait Replays: Send + Sync {
    /// Has a model's new versions answer it before they are served: the surge that is left, in seconds of computing a second; `None` if
    /// nothing was to be replayed, or it isn't known. Blocks its thread, which is one of the runtime's for that.
    fn replay(
        &self,
        name: &str,
        model: &Model,
        before: Option<&Model>,
        stop: &CancellationToken,
    ) -> Option<f64>;
}

impl Control {
    pub(crate) fn new(
        loader: Loader,
        models: Arc<Models>,
        herald: Arc<Herald>,
        mode: ModelControlMode,
        stop: CancellationToken,
    ) -> Self {
        let (changing, loads, to_retry) = (Mutex::new(()), Arc::default(), Notify::new());
        let (at_start, replays) = (Mutex::default(), None);
        Self { loader, models, herald, mode, stop, changing, loads, at_start, to_retry, replays }
    }

    /// The same, whose models are replayed what was recorded of them before they are served.
    pub(crate) fn with_replays(self, replays: Option<Box<dyn Replays>>) -> Self {
        Self { replays, ..self }
    }

    /// The models that are being loaded, and those that compute.
    pub(crate) fn busy(&self) -> Vec<String> {
        let set = self.models.current();
        let computes = |model: &Model| {
            model.versions.values().any(|version| version.sessions().is_some_and(Schedule::computes))
        };
        let computing = set.models.iter().filter(|(_, model)| computes(model)).map(|(name, _)| name.clone());
        let mut busy: Vec<String> = self.loads.models().into_iter().chain(computing).collect();
        busy.sort_unstable();
        busy.dedup();
        busy
    }

    /// Loads a model again, or for the first time. It serves as before if that fails. Goes on if the caller leaves. The surge that is
    /// left of what was replayed, where it is known.
    ///
    /// # Errors
    /// When the mode isn't explicit, parameters are wrong, or the model can't be loaded.
    pub(crate) async fn load(
        self: &Arc<Self>,
        model: String,
        brought: Brought,
    ) -> Result<Option<f64>, ControlError> {
        self.check_mode()?;
        let control = self.clone();
        let loading = tokio::spawn(async move {
            let turn = control.loads.turn(&model, &control.stop).await?;
            let Some(_room) = control.loads.room(&turn).await else {
                return Err(ControlError::Stopped { model, source: LoadError::Stopped.into() });
            };
            blocking(move || control.load_in(&turn, &model, brought)).await
        });
        loading.await.map_err(ended)?
    }

    fn load_in(&self, turn: &Turn, model: &str, brought: Brought) -> Result<Option<f64>, ControlError> {
        let overrides = Overrides::of(model, brought)?;
        let names = self.loader.names()?;
        let is_there = names.iter().any(|name| name == model);
        let root = match &overrides.files {
            Some(folder) => folder.path(),
            None if is_there => &self.loader.root,
            None => return Err(ControlError::NoFolder { model: model.to_owned() }),
        };
        let is_brought = overrides.config.is_some() || overrides.files.is_some();
        let mut attempt = self.attempt(turn, root, model, overrides.config);
        if let Ok(loaded) = &mut attempt.loaded {
            loaded.is_brought = is_brought;
        }
        let surge = attempt.surge;
        // Whoever called is told, and calls again; what is in no repository is nowhere to be missed.
        let then = if is_there { Then::Listed } else { Then::Forgotten };
        let loaded = self.change(|set| {
            forget(set, &names);
            enter(set, model, attempt, then)
        });
        loaded.map(|()| surge).map_err(|error| {
            let (model, source) = (model.to_owned(), error.into());
            if turn.stop.is_cancelled() {
                ControlError::Stopped { model, source }
            } else {
                ControlError::Load { model, source }
            }
        })
    }

    /// Serves a model no more. Requests that it has already are answered; loads of it that are on, or that wait, are stopped.
    ///
    /// # Errors
    /// When the mode isn't explicit, or there is no such model.
    pub(crate) async fn unload(self: &Arc<Self>, model: String) -> Result<(), ControlError> {
        self.check_mode()?;
        let control = self.clone();
        let unloading = tokio::spawn(async move {
            control.loads.stop(&model, &control.stop);
            let turn = control.loads.turn(&model, &control.stop).await?;
            blocking(move || control.unload_in(&turn, &model)).await
        });
        unloading.await.map_err(ended)?
    }

    fn unload_in(&self, _turn: &Turn, model: &str) -> Result<(), ControlError> {
        let names = self.loader.names()?;
        let (failed, gone) = self.change(|set| {
            let gone = set.models.remove(model);
            if let Some(gone) = &gone {
                let versions = gone.versions.values().map(Unloaded::of).collect();
                set.unloaded.insert(model.to_owned(), versions);
            }
            let failed = set.failed.remove(model);
            forget(set, &names);
            (failed, gone)
        });
        if gone.is_some() {
            tracing::info!(model, "unloaded");
        } else if failed.is_none() && !names.iter().any(|name| name == model) {
            return Err(UnknownModel::Model { model: model.to_owned() }.into());
        }
        Ok(())
    }

    /// Every model of the repository and what it does, as Triton tells it: nothing of one that was never asked for.
    ///
    /// # Errors
    /// When the repository can't be read.
    pub(crate) async fn index(
        self: &Arc<Self>,
        ready_only: bool,
    ) -> Result<RepositoryIndexResponse, ControlError> {
        let control = self.clone();
        blocking(move || control.index_now(ready_only)).await
    }

    fn index_now(&self, ready_only: bool) -> Result<RepositoryIndexResponse, ControlError> {
        // Before the set: a load that ends meanwhile is told as going on, not as never asked for.
        let mut loading = self.loads.models();
        loading.extend_from_slice(&self.at_start());
        let set = self.models.current();
        let names = self.loader.names()?;
        let mut models = index::of(&set, names, &loading);
        models.retain(|model| !ready_only || model.state == "READY");
        Ok(RepositoryIndexResponse { models })
    }

    fn check_mode(&self) -> Result<(), ControlError> {
        match self.mode {
            // What is loaded at start would take the place of what a call changed meanwhile.
            ModelControlMode::Explicit if !self.models.is_open() => Err(UnknownModel::Starting.into()),
            ModelControlMode::Explicit => Ok(()),
            ModelControlMode::Poll => Err(ControlError::Polling),
            ModelControlMode::None => Err(ControlError::NotExplicit),
        }
    }

    /// Loads a model again, for another choice of its versions: which variants are out has changed. It serves as before if that fails.
    ///
    /// # Errors
    /// `Brought` and `Busy`.
    pub(crate) fn choose_again(&self, name: &str) -> Result<(), ControlError> {
        if self.models.current().models.get(name).is_some_and(|model| model.is_brought) {
            return Err(ControlError::Brought { model: name.to_owned() });
        }
        self.load_from(&self.loader.root, name, |set| set.models.contains_key(name))
    }

    /// Loads a model that nobody called for, and serves it. The set says what failed. While it waited for its turn another may have
    /// loaded or unloaded it: nothing is done then.
    ///
    /// # Errors
    /// `Busy`.
    fn load_from(
        &self,
        root: &Path,
        name: &str,
        is_due: impl FnOnce(&ModelSet) -> bool,
    ) -> Result<(), ControlError> {
        let turn = self.turn_here(name)?;
        if is_due(&self.models.current()) {
            let attempt = self.attempt(&turn, root, name, None);
            let _ = self.change(|set| enter(set, name, attempt, Then::Retried));
            self.to_retry.notify_one();
        }
        Ok(())
    }

    /// Blocks its thread, which is one of the runtime's for that.
    fn turn_here(&self, model: &str) -> Result<Turn, ControlError> {
        Handle::current().block_on(self.loads.turn(model, &self.stop))
    }

    /// Loads a model whose turn it is.
    fn attempt(&self, turn: &Turn, root: &Path, name: &str, config: Option<Written>) -> Attempt {
        let before: Option<Arc<Model>> = self.models.current().models.get(name).cloned();
        let fingerprint = repository::fingerprint(root, name).unwrap_or_default();
        let loaded = self.loader.load(root, name, config, before.as_deref(), &turn.stop);
        let replays = self.replays.as_ref().zip(loaded.as_ref().ok());
        let surge =
            replays.and_then(|(replays, model)| replays.replay(name, model, before.as_deref(), &turn.stop));
        Attempt { fingerprint, loaded, surge }
    }

    /// Changes the set as it is now, and tells of it.
    fn change<T>(&self, change: impl FnOnce(&mut ModelSet) -> T) -> T {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut set = ModelSet::clone(&self.models.current());
        let changed = change(&mut set);
        self.models.publish(set);
        self.herald.say(self.models.current().live());
        changed
    }
}

/// On a thread for what takes long.
async fn blocking<T: Send + 'static>(
    change: impl FnOnce() -> Result<T, ControlError> + Send + 'static,
) -> Result<T, ControlError> {
    tokio::task::spawn_blocking(change).await.map_err(ended)?
}

#[allow(clippy::needless_pass_by_value)] // as it is mapped
fn ended(error: JoinError) -> ControlError {
    ControlError::Ended { reason: error.to_string() }
}
