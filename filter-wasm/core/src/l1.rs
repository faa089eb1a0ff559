//! L1: ready-encoded answers. A raw key or an answer key enters, the bytes to send leave.
//!
//! In front a map inside the VM (one a worker, lost on a trap), behind it [`slots`] in Envoy's shared data (one a proxy,
//! outliving a trap). Both are bounded in bytes.

pub mod slots;

use crate::cache_status::Tier;
use crate::config;
use crate::host::Host;
use forebay_protocol::digest::{Digest, Generation};
use forebay_protocol::wants::Wants;
use quick_cache::Weighter;
use quick_cache::unsync::Cache;
use slots::Slots;
use std::rc::Rc;

/// Names an answer: a request's digest together with the encoding it wants, or a raw key.
pub type AnswerKey = [u8; 32];

/// Domain tag of the answer key: a digest and what the client wants its answer to look like.
const ANSWER_KEY_TAG: &[u8] = b"forebay answer v1";

/// What an entry costs beside its body, in bytes: struct, `Rc`, key and the map's own slot, rounded up.
const OVERHEAD_BYTES: u64 = 256;

/// The key of a request's answer in the encoding that it wants.
pub fn answer_key(digest: &Digest, wants: &Wants) -> AnswerKey {
    let mut hasher = blake3::Hasher::new();
    hasher.update(ANSWER_KEY_TAG).update(&digest.0).update(&wants.fingerprint());
    *hasher.finalize().as_bytes()
}

/// An answer as it goes out, but for the client's id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Who computed it; `None` when the upstream does not say.
    pub generation: Option<Generation>,
    /// When it was computed, in milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// When it came into this proxy.
    pub stored_ms: u64,
    /// How long it is fresh, from `created_ms`.
    pub max_age_s: u32,
    /// `Inference-Header-Content-Length` of a binary answer; `None`: JSON.
    pub header_length: Option<usize>,
    /// The body is kept as it came, id and all: its key covers the id.
    pub verbatim: bool,
    /// The body, without an id unless `verbatim`.
    pub body: Vec<u8>,
}

impl Answer {
    /// Its age in whole seconds.
    pub fn age_s(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.created_ms) / 1000
    }

    /// How long it stays fresh, in seconds; `None` when it is stale.
    pub fn ttl_s(&self, now_ms: u64) -> Option<u64> {
        u64::from(self.max_age_s).checked_sub(self.age_s(now_ms)).filter(|ttl| *ttl > 0)
    }
}

#[derive(Clone)]
enum Cached {
    /// An answer, under its answer key.
    Answer(Rc<Answer>),
    /// An exact request seen before, under its raw key: where its answer is.
    Alias(AnswerKey),
}

#[derive(Clone)]
struct Bytes;

impl Weighter<AnswerKey, Cached> for Bytes {
    fn weight(&self, _: &AnswerKey, cached: &Cached) -> u64 {
        match cached {
            Cached::Answer(answer) => OVERHEAD_BYTES.saturating_add(answer.body.len() as u64),
            Cached::Alias(_) => OVERHEAD_BYTES,
        }
    }
}

/// The two tiers of L1, as one worker holds them.
pub struct L1 {
    map: Cache<AnswerKey, Cached, Bytes>,
    slots: Slots,
    max_entry_bytes: usize,
}

impl L1 {
    /// Empty, with the configured bounds.
    pub fn new(settings: &config::L1) -> Self {
        // The estimate only sizes the map's first allocation and its ghost list: small answers are the rule.
        let estimate = usize::try_from(settings.vm_bytes / (OVERHEAD_BYTES * 8)).unwrap_or(usize::MAX);
        Self {
            map: Cache::with_weighter(estimate, settings.vm_bytes, Bytes),
            slots: Slots::new(settings.shared_bytes),
            max_entry_bytes: settings.max_entry_bytes,
        }
    }

    /// The answer to an exact repeat.
    pub fn repeat(&self, raw_key: &AnswerKey) -> Option<Rc<Answer>> {
        match self.map.get(raw_key)? {
            Cached::Answer(answer) => Some(answer.clone()),
            Cached::Alias(key) => match self.map.get(key)? {
                Cached::Answer(answer) => Some(answer.clone()),
                Cached::Alias(_) => None,
            },
        }
    }

    /// The answer under `key`, from the map or else from the slots (and then into the map).
    pub fn find(&mut self, host: &dyn Host, key: &AnswerKey) -> Option<(Rc<Answer>, Tier)> {
        if let Some(Cached::Answer(answer)) = self.map.get(key) {
            return Some((answer.clone(), Tier::Vm));
        }
        let answer = Rc::new(self.slots.get(host, key)?);
        self.map.insert(*key, Cached::Answer(answer.clone()));
        Some((answer, Tier::Shared))
    }

    /// Remembers that the request with `raw_key` is answered by `key`.
    pub fn alias(&mut self, raw_key: AnswerKey, key: AnswerKey) {
        self.map.insert(raw_key, Cached::Alias(key));
    }

    /// Largest body that is kept.
    pub fn max_entry_bytes(&self) -> usize {
        self.max_entry_bytes
    }

    /// Stores `answer` in both tiers.
    pub fn store(&mut self, host: &dyn Host, key: AnswerKey, answer: &Rc<Answer>) {
        self.slots.put(host, &key, answer);
        self.map.insert(key, Cached::Answer(answer.clone()));
    }

    /// Bytes in the worker's map.
    pub fn vm_bytes(&self) -> u64 {
        self.map.weight()
    }

    /// On the tick: agree with the other workers on the slots' secret.
    pub fn refresh(&mut self, host: &dyn Host) {
        self.slots.refresh(host);
    }
}
