//! The set of models, and what is being loaded -> Triton's index of the repository.

use crate::models::served::{ModelSet, Unloaded};
use crate::proto::repository_index_response::ModelIndex;

/// Every version of the repository's models and of those that came by call, and what it does.
pub(super) fn of(set: &ModelSet, mut names: Vec<String>, loading: &[String]) -> Vec<ModelIndex> {
    let leaving = set.unloaded.iter().filter(|(_, versions)| versions.iter().any(Unloaded::is_busy));
    names.extend(set.models.keys().chain(leaving.map(|(name, _)| name)).cloned());
    names.sort_unstable();
    names.dedup();
    names.iter().flat_map(|name| index_of(set, name, loading.contains(name))).collect()
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
        found.extend(model.versions.values().map(|version| match version.why_away() {
            None => entry(&version.number, "READY", ""),
            Some(reason) => entry(&version.number, "UNAVAILABLE", &reason),
        }));
        found.extend(
            model.out.iter().map(|(number, out)| entry(&number.to_string(), "UNAVAILABLE", &out.reason())),
        );
    }
    if is_loading {
        found.push(entry("", "LOADING", ""));
    } else if let Some(failed) = set.failed.get(name) {
        found.push(entry("", "UNAVAILABLE", &failed.reason));
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
