//! What was recorded of a model -> the requests that its new versions would have to compute again, the most valuable first: how often it
//! was asked, times its bytes. What one costs is not known before it is computed; of one model's, what is larger is taken to cost more.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use bytes::Bytes;
use forebay_protocol::digest::{self, Digest, Scope};
use forebay_protocol::messages::ModelInferRequest;

use crate::models::Version;
use crate::models::served::Model;
use crate::record::Recorded;

/// A request that was asked so often.
pub(super) struct Candidate<'a> {
    /// What answers it from now on.
    pub(super) version: &'a Arc<Version>,
    pub(super) request: ModelInferRequest,
    /// How long its answer is fresh.
    pub(super) max_age_s: u32,
    times: u32,
}

impl Candidate<'_> {
    /// Of its tensors; never nothing.
    pub(super) fn bytes(&self) -> f64 {
        self.request.raw_input_contents.iter().map(Bytes::len).sum::<usize>().max(1) as f64
    }

    pub(super) fn value(&self) -> f64 {
        f64::from(self.times) * self.bytes()
    }
}

/// Those of one model.
pub(super) struct Candidates<'a> {
    model: &'a Model,
    before: Option<&'a Model>,
    found: HashMap<Digest, Candidate<'a>>,
    /// That more requests may take.
    room: usize,
}

impl<'a> Candidates<'a> {
    /// Of a model that has new versions whose answers are kept; `None` of others. They hold no more than so many bytes.
    pub(super) fn of(model: &'a Model, before: Option<&'a Model>, bytes: usize) -> Option<Self> {
        let candidates = Self { model, before, found: HashMap::new(), room: bytes };
        candidates.longest().map(|_| candidates)
    }

    /// How long ago a request may have been asked whose answer would still be given, in milliseconds.
    pub(super) fn longest_ms(&self) -> u64 {
        u64::from(self.longest().unwrap_or(0)) * 1000
    }

    fn longest(&self) -> Option<u32> {
        self.model.versions.values().filter_map(|version| self.max_age_s(version)).max()
    }

    /// How long a new version's answers are fresh; `None` of one that was served before, and where they aren't kept.
    fn max_age_s(&self, version: &Arc<Version>) -> Option<u32> {
        let mut former = self.before.into_iter().flat_map(|model| model.versions.values());
        let is_new = former.all(|former| !Arc::ptr_eq(former, version));
        version.policy.filter(|_| is_new).map(|policy| policy.freshness.max_age_s)
    }

    /// Counts a request that was recorded before `now_ms`. Once there is no room, only those are counted that are held.
    pub(super) fn add(&mut self, recorded: Recorded, service: &str, now_ms: u64) {
        let Recorded { time_ms, request, is_whole: true } = recorded else { return };
        let Some(version) = self.model.version(&request.model_version) else { return };
        let Some(max_age_s) = self.max_age_s(version) else { return };
        if now_ms.saturating_sub(time_ms) > u64::from(max_age_s) * 1000 {
            return;
        }
        let Ok(digest) = digest::digest(&Scope { service, tenant: None }, &request) else { return };
        match self.found.entry(digest) {
            Entry::Occupied(found) => found.into_mut().times += 1,
            Entry::Vacant(place) => {
                if let Some(room) = self.room.checked_sub(held(&request)) {
                    self.room = room;
                    place.insert(Candidate { version, request, max_age_s, times: 1 });
                }
            }
        }
    }

    /// The most valuable first.
    pub(super) fn ranked(self) -> Vec<Candidate<'a>> {
        let mut ranked: Vec<_> = self.found.into_values().collect();
        ranked.sort_by(|a, b| b.value().total_cmp(&a.value()));
        ranked
    }
}

/// Bytes that holding a request takes.
fn held(request: &ModelInferRequest) -> usize {
    /// The digest, the names, and what holds them, as a record counts for them in its queue.
    const BESIDE: usize = 512;
    request.raw_input_contents.iter().map(Bytes::len).sum::<usize>() + BESIDE
}
