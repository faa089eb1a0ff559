//! L1: ready-encoded answers. A raw key or an answer key enters, the bytes to send leave.
//!
//! In front a map inside the VM (one a worker, lost on a trap), behind it [`slots`] in Envoy's shared data (one a proxy,
//! outliving a trap), which an answer enters when it is used again: most that are asked for once are never asked for again. Both
//! are bounded in bytes. [`repeats`] knows the raw keys of whole requests that come again and again.

pub mod repeats;
pub mod slots;

use crate::cache_status::Tier;
use crate::config;
use crate::host::Host;
use crate::wanted::Wanted;
use forebay_protocol::cache_control::Freshness;
use forebay_protocol::digest::{Digest, Generation};
use forebay_protocol::entry::Field;
use forebay_protocol::fields;
use forebay_protocol::freshness::Stored;
use forebay_protocol::wants::Wants;
use quick_cache::Weighter;
use quick_cache::unsync::{Cache, DefaultLifecycle};
use repeats::Repeats;
use slots::{Slot, Slots};
use std::cell::Cell;
use std::hash::{BuildHasherDefault, Hasher};
use std::rc::Rc;

/// Names an answer: a request's digest together with the encoding it wants, or a raw key.
pub type AnswerKey = [u8; 32];

/// Domain tag of the answer key: a digest and what the client wants its answer to look like.
const ANSWER_KEY_TAG: &[u8] = b"forebay answer v2";

/// What an entry costs beside its body, in bytes: struct, `Rc`, key and the map's own slot, rounded up.
const OVERHEAD_BYTES: u64 = 256;
/// The part of the map's bytes that whole requests may take.
const REPEATS_PART: u64 = 8;

/// The key of a request's answer in the encoding that it wants; what it accepts decides how the upstream encodes its bytes.
pub fn answer_key(digest: &Digest, wants: &Wants, accept_encoding: &[u8]) -> AnswerKey {
    let mut hasher = blake3::Hasher::new();
    hasher.update(ANSWER_KEY_TAG).update(&digest.0);
    hasher.update(&(accept_encoding.len() as u64).to_le_bytes()).update(accept_encoding);
    hasher.update(&wants.fingerprint());
    *hasher.finalize().as_bytes()
}

/// An answer as it goes out, but for the client's id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Who computed it; `None` when the upstream does not say.
    pub generation: Option<Generation>,
    /// That is the operator's word, since the upstream says nothing.
    pub is_said_so: bool,
    /// When it was computed, in milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// How long it is fresh, from `created_ms`, and of use after that.
    pub freshness: Freshness,
    /// Compute time spent on it, in microseconds; 0 when the upstream does not say.
    pub cost_us: u64,
    /// It may be given to requests with `Authorization` too.
    pub with_authorization: bool,
    /// The header fields that are kept with it.
    pub fields: Vec<Field>,
    /// `Inference-Header-Content-Length` of a binary answer; `None`: JSON.
    pub header_length: Option<usize>,
    /// The body is kept as it came, id and all: its key covers the id.
    pub verbatim: bool,
    /// The body, without an id unless `verbatim`.
    pub body: Vec<u8>,
}

impl Answer {
    /// Its times.
    pub fn stored(&self) -> Stored {
        Stored { created_ms: self.created_ms, max_age_s: self.freshness.max_age_s }
    }

    /// Its age in whole seconds.
    pub fn age_s(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.created_ms) / 1000
    }

    /// Bytes of body and fields.
    pub fn bytes(&self) -> usize {
        self.body.len().saturating_add(fields::bytes(&self.fields))
    }
}

#[cfg(test)]
impl Answer {
    /// An answer for tests: fresh for a minute from 0 on.
    pub(crate) fn of_body(body: Vec<u8>) -> Self {
        Self {
            generation: None,
            is_said_so: false,
            created_ms: 0,
            freshness: Freshness { max_age_s: 60, stale_while_revalidate_s: 0, stale_if_error_s: 0 },
            cost_us: 0,
            with_authorization: false,
            fields: Vec::new(),
            header_length: None,
            verbatim: false,
            body,
        }
    }
}

/// An answer in the map.
#[derive(Clone)]
struct Kept {
    answer: Rc<Answer>,
    /// It is in the slots too, or was.
    is_shared: Cell<bool>,
}

#[derive(Clone)]
enum Cached {
    /// An answer, under its answer key.
    Answer(Kept),
    /// An exact request seen before, under its raw key: where its answer is, and what it asks.
    Alias(AnswerKey, Digest),
}

#[derive(Clone)]
struct Bytes;

impl Weighter<AnswerKey, Cached> for Bytes {
    fn weight(&self, _: &AnswerKey, cached: &Cached) -> u64 {
        match cached {
            Cached::Answer(kept) => OVERHEAD_BYTES.saturating_add(kept.answer.bytes() as u64),
            Cached::Alias(..) => OVERHEAD_BYTES,
        }
    }
}

/// Of keys that are hashes: the first bytes.
#[derive(Clone, Default)]
pub(crate) struct FirstBytes(u64);

impl Hasher for FirstBytes {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.first_chunk::<8>().map_or(0, |first| u64::from_le_bytes(*first));
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }

    /// How long a key is says nothing.
    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

/// A map that is bounded in bytes, of keys that are hashes.
pub(crate) type Bounded<K, V, W> = Cache<K, V, W, BuildHasherDefault<FirstBytes>, DefaultLifecycle<K, V>>;

/// An empty one.
pub(crate) fn bounded<K: Eq + std::hash::Hash, V, W: Weighter<K, V>>(
    estimate: usize,
    bytes: u64,
    weighter: W,
) -> Bounded<K, V, W> {
    Cache::with(estimate, bytes, weighter, BuildHasherDefault::default(), DefaultLifecycle::default())
}

/// Why there is no answer to give.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing<E> {
    /// The newest that was found and may not be given, and why.
    pub refused: Option<(Rc<Answer>, E)>,
    /// Some worker of the proxy has had an answer to it before.
    pub is_known: bool,
}

/// The two tiers of L1, as one worker holds them.
pub struct L1 {
    map: Bounded<AnswerKey, Cached, Bytes>,
    slots: Slots,
    max_entry_bytes: usize,
    /// Raw keys of whole requests.
    pub repeats: Repeats,
}

impl L1 {
    /// Empty, with the configured bounds.
    pub fn new(settings: &config::L1) -> Self {
        let repeats = Repeats::new(settings.vm_bytes / REPEATS_PART);
        let vm_bytes = settings.vm_bytes.saturating_sub(repeats.max_bytes());
        // The estimate only sizes the map's first allocation and its ghost list: small answers are the rule.
        let estimate = usize::try_from(vm_bytes / (OVERHEAD_BYTES * 8)).unwrap_or(usize::MAX);
        Self {
            map: bounded(estimate, vm_bytes, Bytes),
            slots: Slots::new(settings.shared_bytes),
            max_entry_bytes: settings.max_entry_bytes,
            repeats,
        }
    }

    /// The answer to an exact repeat that `may` be given, and what it asks where that is known.
    pub fn repeat<T>(
        &self,
        host: &dyn Host,
        raw_key: &AnswerKey,
        may: impl Fn(&Answer, Option<&Digest>) -> Option<T>,
    ) -> Option<(Rc<Answer>, Option<Digest>, T)> {
        let (key, digest, kept) = match self.map.get(raw_key)? {
            Cached::Answer(kept) => (raw_key, None, kept),
            Cached::Alias(key, digest) => match self.map.get(key)? {
                Cached::Answer(kept) => (key, Some(*digest), kept),
                Cached::Alias(..) => return None,
            },
        };
        let usable = may(&kept.answer, digest.as_ref())?;
        self.share(host, key, kept);
        Some((kept.answer.clone(), digest, usable))
    }

    /// The answer under `key` that `may` be given, from the map or else from the slots (and then into the map).
    ///
    /// # Errors
    /// There is none, or the last one found may not.
    pub fn find<T, E>(
        &mut self,
        host: &dyn Host,
        key: &AnswerKey,
        may: impl Fn(&Answer) -> Result<T, E>,
    ) -> Result<(Rc<Answer>, Tier, T), Missing<E>> {
        let mut refused = None;
        if let Some(Cached::Answer(kept)) = self.map.get(key) {
            match may(&kept.answer) {
                Ok(usable) => {
                    self.share(host, key, kept);
                    return Ok((kept.answer.clone(), Tier::Vm, usable));
                }
                Err(why) => refused = Some((kept.answer.clone(), why)),
            }
        }
        // Another worker may have stored a newer one.
        let found = self.slots.get(host, key);
        let Slot::Holds(answer) = found else {
            return Err(Missing { refused, is_known: found == Slot::Known });
        };
        let answer = Rc::new(*answer);
        let usable = match may(&answer) {
            Ok(usable) => usable,
            Err(why) => return Err(Missing { refused: Some((answer, why)), is_known: true }),
        };
        let kept = Kept { answer: answer.clone(), is_shared: Cell::new(true) };
        self.map.insert(*key, Cached::Answer(kept));
        Ok((answer, Tier::Shared, usable))
    }

    /// An answer of the map is used again: now all workers have it.
    fn share(&self, host: &dyn Host, key: &AnswerKey, kept: &Kept) {
        if !kept.is_shared.replace(true) {
            self.slots.put(host, key, &kept.answer);
        }
    }

    /// Remembers that this exact request, if it is to be found so, is answered by its key.
    pub fn alias(&mut self, wanted: &Wanted) {
        if let (Some(raw_key), Some(parsed)) = (wanted.raw_key, &wanted.parsed) {
            self.map.insert(raw_key, Cached::Alias(wanted.key, parsed.digest));
        }
    }

    /// Largest body that is kept.
    pub fn max_entry_bytes(&self) -> usize {
        self.max_entry_bytes
    }

    /// Stores `answer` in the map, wherever it came from, and in the slots where it `is_known`; else it is made known there. One that
    /// is too large is not kept.
    pub fn store(&mut self, host: &dyn Host, key: AnswerKey, answer: &Rc<Answer>, is_known: bool) {
        if answer.body.len() > self.max_entry_bytes {
            return;
        }
        if is_known {
            self.slots.put(host, &key, answer);
        } else {
            self.slots.make_known(host, &key);
        }
        let kept = Kept { answer: answer.clone(), is_shared: Cell::new(is_known) };
        self.map.insert(key, Cached::Answer(kept));
    }

    /// Bytes in the worker's map.
    pub fn vm_bytes(&self) -> u64 {
        self.map.weight().saturating_add(self.repeats.bytes())
    }

    /// Forgets all answers, of both tiers.
    pub fn forget(&mut self, host: &dyn Host) {
        self.map.clear();
        self.slots.forget(host);
    }

    /// On the tick: agree with the other workers on the slots' secret.
    pub fn refresh(&mut self, host: &dyn Host) {
        self.slots.refresh(host);
    }
}
