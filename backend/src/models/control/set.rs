//! What an attempt to load, an unload, or a look at the repository changes in the set of models.

use std::path::Path;
use std::sync::Arc;

use super::retries;
use crate::models::load::LoadError;
use crate::models::repository::{self, Fingerprint};
use crate::models::served::{Failed, Model, ModelSet, Unloaded};

/// What became of a load.
pub(super) struct Attempt {
    /// Of the folder before.
    pub(super) fingerprint: Fingerprint,
    pub(super) loaded: Result<Model, LoadError>,
    /// That is left of what was replayed.
    pub(super) surge: Option<f64>,
}

/// What becomes of a load that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    /// It is listed, and tried again if that may help.
    Retried,
    /// It is listed.
    Listed,
    /// Only the caller hears of it.
    Forgotten,
}

/// Takes out what is told of models that are in no repository and have no request any more: names that come by call are no end.
pub(super) fn forget(set: &mut ModelSet, names: &[String]) {
    set.unloaded.retain(|name, versions| names.contains(name) || versions.iter().any(Unloaded::is_busy));
    let ModelSet { models, failed, .. } = set;
    failed.retain(|name, _| names.contains(name) || models.contains_key(name));
}

/// Takes out the models whose folders are gone.
pub(super) fn keep_only(set: &mut ModelSet, names: &[String]) {
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
pub(super) fn enter(set: &mut ModelSet, name: &str, attempt: Attempt, then: Then) -> Result<(), LoadError> {
    let Attempt { fingerprint, loaded, surge: _ } = attempt;
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
            if error.is_of_no_model(name) {
                tracing::warn!(model = name, "not loaded: {error}");
            } else {
                tracing::error!(model = name, "not loaded: {error}");
            }
            if then != Then::Forgotten {
                let before = set.failed.get(name).filter(|failed| failed.fingerprint == fingerprint);
                let retry = (then == Then::Retried && error.is_transient())
                    .then(|| retries::after(before.and_then(|failed| failed.retry)));
                let (reason, is_empty) = (error.to_string(), error.is_of_no_model(name));
                let failed = Failed { fingerprint, reason, is_empty, retry };
                set.failed.insert(name.to_owned(), failed);
            }
            Err(error)
        }
    }
}

pub(super) fn has_changed(root: &Path, before: &ModelSet, name: &str) -> bool {
    let Ok(now) = repository::fingerprint(root, name) else { return true };
    match before.failed.get(name) {
        Some(failed) => failed.fingerprint != now,
        None => before.models.get(name).is_none_or(|model| model.fingerprint != now),
    }
}
