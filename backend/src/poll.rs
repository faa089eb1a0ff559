//! The repository -> the models that are served, at start and, with `--model-control-mode poll`, ever after. A change
//! is taken up once it stands still; the new version is loaded and warm before the old one goes. Next: `live` is told
//! what is served now.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::models::{LoadError, Loader, ModelSet, Models};
use crate::repository::{self, Fingerprint, RepositoryError};

/// A folder that changed must stay the same for so long before it is read: files may still be on their way.
const SETTLE: Duration = Duration::from_millis(200);

/// Told after each swap of the models.
pub(crate) type OnChange = Box<dyn Fn(&ModelSet) + Send + Sync>;

/// Loads `names`, or every model of the repository, and publishes what could be loaded.
///
/// # Errors
/// When the repository can't be read. Models that can't be loaded are logged and listed in the set.
pub(crate) fn load_at_start(
    loader: &Loader,
    models: &Models,
    names: Option<&[String]>,
    on_change: &OnChange,
) -> Result<(), RepositoryError> {
    let names = match names {
        Some(names) => names.to_vec(),
        None => repository::model_names(&loader.root)?,
    };
    let mut set = ModelSet::default();
    for name in names {
        load_into(loader, &mut set, &name, None);
    }
    publish(models, set, on_change);
    Ok(())
}

/// Follows the repository until `stop`.
pub(crate) async fn follow(
    loader: Arc<Loader>,
    models: Arc<Models>,
    every: Duration,
    on_change: Arc<OnChange>,
    stop: CancellationToken,
) {
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let (loader, models, on_change) = (loader.clone(), models.clone(), on_change.clone());
        let looked = tokio::task::spawn_blocking(move || look(&loader, &models, &on_change)).await;
        match looked {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!("the repository can't be followed: {error}"),
            Err(error) => tracing::error!("a look at the repository ended early: {error}"),
        }
    }
}

/// One look: loads what changed, unloads what is gone.
fn look(loader: &Loader, models: &Models, on_change: &OnChange) -> Result<(), RepositoryError> {
    let before = models.current();
    let names = repository::model_names(&loader.root)?;
    let changed: Vec<&String> = names.iter().filter(|name| has_changed(loader, &before, name)).collect();
    let gone = before.models.keys().chain(before.failed.keys()).any(|name| !names.contains(name));
    if changed.is_empty() && !gone {
        return Ok(());
    }
    let mut set = ModelSet { models: before.models.clone(), failed: before.failed.clone() };
    set.models.retain(|name, _| {
        let stays = names.contains(name);
        if !stays {
            tracing::info!(model = name, "unloaded: its folder is gone");
        }
        stays
    });
    set.failed.retain(|name, _| names.contains(name));
    for name in changed {
        if stands_still(loader, name) {
            load_into(loader, &mut set, name, before.models.get(name).map(AsRef::as_ref));
        }
    }
    publish(models, set, on_change);
    Ok(())
}

fn has_changed(loader: &Loader, before: &ModelSet, name: &str) -> bool {
    let Ok(now) = repository::fingerprint(&loader.root, name) else { return true };
    match before.failed.get(name) {
        Some((fingerprint, _)) => *fingerprint != now,
        None => before.models.get(name).is_none_or(|model| model.fingerprint != now),
    }
}

/// Whether the folder is the same after a while. If not, the next look tries again.
fn stands_still(loader: &Loader, name: &str) -> bool {
    let before = repository::fingerprint(&loader.root, name);
    std::thread::sleep(SETTLE);
    match (before, repository::fingerprint(&loader.root, name)) {
        (Ok(before), Ok(after)) => before == after,
        _ => false,
    }
}

/// Loads one model into the set. One that fails stays as it was before, if it was there.
fn load_into(loader: &Loader, set: &mut ModelSet, name: &str, before: Option<&crate::models::Model>) {
    let fingerprint = repository::fingerprint(&loader.root, name).unwrap_or_default();
    match loader.load(name, before) {
        Ok(model) => {
            for version in model.versions.values() {
                let generation = version.generation.to_string();
                tracing::info!(model = name, version = version.number, generation, "loaded");
            }
            set.failed.remove(name);
            set.models.insert(name.to_owned(), Arc::new(model));
        }
        Err(error) => {
            // The next look takes files that were changing for changed.
            let fingerprint =
                if matches!(error, LoadError::Changing) { Fingerprint::default() } else { fingerprint };
            tracing::error!(model = name, "not loaded: {error}");
            set.failed.insert(name.to_owned(), (fingerprint, error.to_string()));
        }
    }
}

fn publish(models: &Models, set: ModelSet, on_change: &OnChange) {
    models.publish(set);
    on_change(&models.current());
}
