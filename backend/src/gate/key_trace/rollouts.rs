//! The table of live generations, looked at again and again -> models that are answered by a generation that was not live before, each
//! once. One that is gone for a while, as at zero replicas, and comes back is none; nor is what the first look sees.

use std::collections::HashMap;
use std::sync::Arc;

use forebay_protocol::digest::Generation;
use forebay_protocol::generations::LiveModel;

use super::held::MOST_MODELS;
use crate::cache::live::LiveTable;

/// What was live of a model when it was last.
type Known = HashMap<(String, String), Vec<Generation>>;

/// Sees rollouts.
pub(super) struct Rollouts {
    live: Arc<LiveTable>,
    /// `None` before the first look at a table that can be trusted.
    known: Option<(u64, Known)>,
}

impl Rollouts {
    pub(super) fn new(live: Arc<LiveTable>) -> Self {
        Self { live, known: None }
    }

    /// Services and models that answer otherwise since the last look.
    pub(super) fn since(&mut self) -> Vec<(String, String)> {
        let Some((epoch, models)) = self.live.models() else { return Vec::new() };
        if self.known.as_ref().is_some_and(|(before, _)| *before == epoch) {
            return Vec::new();
        }
        let (known_at, known) = self.known.get_or_insert_default();
        *known_at = epoch;
        let mut rolled_out = Vec::new();
        // What is asked for by no version is what all but a few ask for.
        let is_for_all = |live: &&LiveModel| live.version.is_empty() && live.tenant.is_none();
        for live in models.iter().filter(is_for_all).filter(|live| !live.generations.is_empty()) {
            let name = (live.service.clone(), live.model.clone());
            let is_new = |before: &Vec<Generation>| live.generations.iter().any(|one| !before.contains(one));
            if known.get(&name).is_some_and(is_new) {
                rolled_out.push(name.clone());
            }
            if known.len() < MOST_MODELS || known.contains_key(&name) {
                known.insert(name, live.generations.clone());
            }
        }
        rolled_out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live(model: &str, version: &str, generations: &[u8]) -> LiveModel {
        let generations = generations.iter().map(|byte| Generation([*byte; 32])).collect();
        LiveModel {
            service: "s".to_owned(),
            model: model.to_owned(),
            version: version.to_owned(),
            tenant: None,
            generations,
        }
    }

    #[test]
    fn a_generation_that_was_not_live_before_is_a_rollout() {
        let table = Arc::new(LiveTable::own());
        let mut rollouts = Rollouts::new(table.clone());
        let mut seen = |models: &[LiveModel]| -> Vec<String> {
            table.set_models(models.to_vec(), Vec::new());
            rollouts.since().into_iter().map(|(_, model)| model).collect()
        };
        let none: [&str; 0] = [];
        assert_eq!(seen(&[live("a", "", &[1]), live("b", "", &[1])]), none, "what is there at first");
        assert_eq!(
            seen(&[live("a", "", &[1, 2]), live("b", "", &[1])]),
            ["a"],
            "it begins beside the old one"
        );
        assert_eq!(seen(&[live("a", "", &[2]), live("b", "", &[1])]), none, "the old one is gone");
        assert_eq!(seen(&[live("b", "", &[1]), live("b", "2", &[3])]), none, "a goes to zero");
        assert_eq!(
            seen(&[live("a", "", &[2]), live("b", "", &[1]), live("c", "", &[1])]),
            none,
            "and is back"
        );
        assert_eq!(seen(&[live("a", "", &[1]), live("b", "", &[4])]), ["a", "b"], "back to the old one");
    }
}
