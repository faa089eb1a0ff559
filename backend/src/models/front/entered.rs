//! What was seen of a model -> its versions, each with the generation that is known of it, or none, among those that are served; who goes
//! by what is live is told.

use std::collections::BTreeMap;
use std::sync::Arc;

use forebay_protocol::digest::Generation;
use http::HeaderValue;
use tokio_util::sync::CancellationToken;

use super::described::Described;
use super::{Changes, Front, Ground, State};
use crate::models::generation::{self, Elsewhere};
use crate::models::remote::{MadeOf, Remote};
use crate::models::repository::{self, Fingerprint};
use crate::models::served::{Computes, Model, ModelSet, Version};
use crate::observe::statistics::Statistics;
use crate::schedule::flight::Flights;

/// What the only version of a model is called where the server doesn't name it by a number.
const UNNUMBERED: u64 = 0;

/// A version to be.
struct Making<'a> {
    name: &'a str,
    version: &'a str,
    described: &'a Described,
    made_of: MadeOf,
}

impl Front {
    /// Serves what was described, if nothing changed it meanwhile.
    pub(super) fn enter(
        &self,
        name: &str,
        described: &Described,
        changes: &Changes,
        files: Option<&Fingerprint>,
    ) {
        let state = self.state();
        if state.changes.get(name).cloned().unwrap_or_default() != *changes {
            return;
        }
        let mut versions = BTreeMap::new();
        let current = self.models.current();
        for version in numbered(&described.versions) {
            let (Some((number, version)), Some(policy)) = (version, described.policy) else { continue };
            let generation = self.generation(&state, name, version, described, files);
            let root = self.root_of(name).zip(files.cloned()).filter(|_| generation.is_some());
            let made_of = MadeOf {
                model: name.to_owned(),
                said: (state.server.clone(), described.said.clone()),
                generation,
                policy,
                files: root.map(|(root, files)| (root.to_owned(), files)),
            };
            let before = current.models.get(name).and_then(|model| model.versions.get(&number));
            let same = before.filter(|before| before.number == version && before.is_still(&made_of));
            let version =
                same.cloned().unwrap_or_else(|| self.make(Making { name, version, described, made_of }));
            versions.insert(number, version);
        }
        self.publish(name, versions);
    }

    fn generation(
        &self,
        state: &State,
        name: &str,
        version: &str,
        described: &Described,
        files: Option<&Fingerprint>,
    ) -> Option<Generation> {
        let loaded = match &self.rules.ground {
            Ground::Files { .. } => {
                files?;
                state.models.get(name)?.loaded(version)?.to_vec()
            }
            Ground::Said(word) => {
                let since = state.changes.get(name).and_then(|changes| changes.since_said.as_deref());
                format!("{word}\0{}", since.unwrap_or_default()).into_bytes()
            }
            Ground::Unknown => return None,
        };
        let of = Elsewhere { server: &state.server, version, said: &described.said, loaded: &loaded };
        Some(generation::elsewhere(&of))
    }

    fn make(&self, making: Making<'_>) -> Arc<Version> {
        let Making { name, version, described, made_of } = making;
        let generation = made_of.generation;
        if let Some(generation) = generation {
            tracing::info!(model = name, version, %generation, "its answers are kept");
        } else {
            tracing::info!(
                model = name,
                version,
                "its answers are not kept, equal requests are joined: what was loaded is not known"
            );
        }
        let policy = generation.is_some().then_some(made_of.policy);
        let generation_header = generation.map(|generation| generation::header(&generation));
        let ended = CancellationToken::new();
        let remote = Remote { upstream: self.upstream.clone(), made_of: Arc::new(made_of), ended };
        Arc::new(Version {
            number: version.to_owned(),
            signature: described.signature.clone(),
            // Without one nothing is looked up, kept or said to be live.
            generation: generation.unwrap_or(Generation([0; 32])),
            generation_header: generation_header.unwrap_or_else(|| HeaderValue::from_static("")),
            policy,
            config: described.config.clone(),
            labels: BTreeMap::new(),
            platform: "upstream",
            computes: Computes::Upstream(remote),
            flights: Arc::new(Flights::new(self.limits)),
            statistics: Arc::new(Statistics::new(name, version)),
            variant: None,
            origin: None,
        })
    }

    /// Serves these versions of a model; those before whose place they take are not kept of any more.
    pub(super) fn publish(&self, name: &str, versions: BTreeMap<u64, Arc<Version>>) {
        let before = self.models.current();
        let served = before.models.get(name);
        let stays = |old: &Arc<Version>| versions.values().any(|new| Arc::ptr_eq(old, new));
        let is_same = served.map_or(0, |model| model.versions.len()) == versions.len()
            && served.is_none_or(|model| model.versions.values().all(stays));
        if is_same {
            return;
        }
        if let Some(model) = served {
            model.versions.values().filter(|old| !stays(old)).for_each(|old| old.end());
        }
        let mut set = ModelSet::clone(&before);
        set.models.remove(name);
        if !versions.is_empty() {
            let (out, fingerprint) = (BTreeMap::new(), Fingerprint::default());
            set.models
                .insert(name.to_owned(), Arc::new(Model { versions, out, fingerprint, is_brought: false }));
        }
        self.models.publish(set);
        self.herald.say(self.models.current().live());
    }
}

/// Versions by their numbers; one that has none, or the model that names none, by [`UNNUMBERED`].
fn numbered(versions: &[String]) -> Vec<Option<(u64, &str)>> {
    match versions {
        [one] => vec![Some((repository::version_number(one).unwrap_or(UNNUMBERED), one))],
        all => all.iter().map(|one| Some((repository::version_number(one)?, one.as_str()))).collect(),
    }
}
