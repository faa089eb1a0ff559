//! Answers in Envoy's shared data: fixed slots in size classes, found through a small index.
//!
//! Shared data has no deletion and no bound of its own, so both come from fixed names: `forebay.slot.CLASS.N` holds whatever
//! answer hashed there last, and `forebay.index.N` says in which class to look, so that a miss copies 9 bytes instead of a
//! slot of each class. An answer that was used once is in no slot: the index only knows it, and so who computes it the next time,
//! whichever worker that is, sees that it is used again. Hashes are keyed with a secret of the proxy, so a client can't aim at another's slot.

mod format;

use super::{Answer, AnswerKey};
use crate::host::Host;
use format::{decode, encode};

/// Slot sizes in bytes, header and body; each class gets an equal share of the budget. Above 64 KiB a copy through the one
/// mutex costs more than it saves the other workers (measured: 96-107 us for 1 MB).
const CLASS_BYTES: [usize; 4] = [1 << 10, 4 << 10, 16 << 10, 64 << 10];
/// Index entries per slot: collisions in the index lose an answer, and an entry is only 9 bytes.
const INDEX_PER_SLOT: u64 = 2;
/// In the index in place of a class: known, and in no slot.
const KNOWN: u8 = u8::MAX;
/// Shared data: the secret of this proxy's slots.
const SECRET_KEY: &str = "forebay.slot.secret";
/// Key context of the secret's derivation.
const SECRET_CONTEXT: &str = "forebay 2026-11 slot index secret v1";

/// The shared tier, as one worker sees it.
pub struct Slots {
    secret: Option<[u8; 32]>,
    /// Slots in each class; all 0 when the tier is off.
    counts: [u64; CLASS_BYTES.len()],
}

/// What the slots have under a key.
#[derive(Debug, PartialEq, Eq)]
pub enum Slot {
    /// An answer.
    Holds(Box<Answer>),
    /// None, but some worker has had one.
    Known,
    /// Nothing.
    Unknown,
}

/// Where a key's index entry is, and its slot in each class.
struct Place {
    index: u64,
    slot: u64,
    tag: [u8; 8],
}

impl Slots {
    /// Slots for `budget` bytes in all.
    pub fn new(budget: u64) -> Self {
        let share = budget / CLASS_BYTES.len() as u64;
        Self { secret: None, counts: CLASS_BYTES.map(|bytes| share / bytes as u64) }
    }

    /// Takes over the proxy's secret, or makes one when there is none. Two workers that make one at the same moment agree at
    /// the next tick: until then they miss each other's answers.
    pub fn refresh(&mut self, host: &dyn Host) {
        if self.is_off() {
            return;
        }
        let kept = host.shared_get(SECRET_KEY).and_then(|(value, _)| value.try_into().ok());
        self.secret = Some(kept.unwrap_or_else(|| self.new_secret(host)));
    }

    /// No worker finds again what is in them: they get another secret. Workers that do so one after the other agree as above.
    pub fn forget(&mut self, host: &dyn Host) {
        if !self.is_off() {
            self.secret = Some(self.new_secret(host));
        }
    }

    fn is_off(&self) -> bool {
        self.counts.iter().all(|count| *count == 0)
    }

    fn new_secret(&self, host: &dyn Host) -> [u8; 32] {
        // The VM has no source of randomness: the time in ms, addresses and the secret before must do. It guards placement only.
        let here = std::ptr::from_ref(self) as usize;
        let before = self.secret.unwrap_or_default();
        let seed = [&host.now_ms().to_le_bytes()[..], &(here as u64).to_le_bytes(), &before].concat();
        let secret = blake3::derive_key(SECRET_CONTEXT, &seed);
        host.shared_set(SECRET_KEY, &secret, None);
        secret
    }

    fn place(&self, key: &AnswerKey) -> Option<Place> {
        let hash = blake3::keyed_hash(self.secret.as_ref()?, key);
        let (index, rest) = hash.as_bytes().split_first_chunk::<8>()?;
        let (slot, rest) = rest.split_first_chunk::<8>()?;
        let (tag, _) = rest.split_first_chunk::<8>()?;
        let entries = self.counts.iter().sum::<u64>().saturating_mul(INDEX_PER_SLOT);
        Some(Place {
            index: u64::from_le_bytes(*index).checked_rem(entries)?,
            slot: u64::from_le_bytes(*slot),
            tag: *tag,
        })
    }

    fn slot_name(&self, class: usize, place: &Place) -> Option<String> {
        let count = *self.counts.get(class)?;
        Some(format!("forebay.slot.{class}.{}", place.slot.checked_rem(count)?))
    }

    /// What is kept under `key`.
    pub fn get(&self, host: &dyn Host, key: &AnswerKey) -> Slot {
        let Some(place) = self.place(key) else { return Slot::Unknown };
        let entry = host.shared_get(&index_name(place.index)).map(|(entry, _)| entry);
        match entry.as_deref().and_then(<[u8]>::split_first) {
            Some((class, tag)) if tag == place.tag => {
                let name = self.slot_name(usize::from(*class), &place);
                let slot = name.and_then(|name| host.shared_get(&name));
                let answer = slot.and_then(|(slot, _)| decode(&slot, key));
                answer.map_or(Slot::Known, |answer| Slot::Holds(Box::new(answer)))
            }
            _ => Slot::Unknown,
        }
    }

    /// Puts `answer` under `key`, in the smallest class that takes it; one that no class takes is not kept.
    pub fn put(&self, host: &dyn Host, key: &AnswerKey, answer: &Answer) {
        let Some(place) = self.place(key) else { return };
        let most = CLASS_BYTES.last().copied().unwrap_or(0);
        let Some(slot) = (answer.body.len() <= most).then(|| encode(key, answer)).flatten() else { return };
        let Some(class) = CLASS_BYTES.iter().position(|class| slot.len() <= *class) else { return };
        let Some(name) = self.slot_name(class, &place) else { return };
        if host.shared_set(&name, &slot, None) {
            index(host, &place, u8::try_from(class).unwrap_or(KNOWN));
        }
    }

    /// Notes that there was an answer under `key`, in no slot.
    pub fn make_known(&self, host: &dyn Host, key: &AnswerKey) {
        if let Some(place) = self.place(key) {
            index(host, &place, KNOWN);
        }
    }
}

fn index(host: &dyn Host, place: &Place, class: u8) {
    let mut entry = [class; 9];
    if let Some(tag) = entry.last_chunk_mut() {
        *tag = place.tag;
    }
    host.shared_set(&index_name(place.index), &entry, None);
}

fn index_name(index: u64) -> String {
    format!("forebay.index.{index}")
}

#[cfg(test)]
mod tests {
    use super::format::HEADER_BYTES;
    use super::*;
    use crate::host::double::Double;
    use forebay_protocol::cache_control::Freshness;
    use forebay_protocol::digest::Generation;

    pub(super) const KEY: AnswerKey = [7; 32];
    const BUDGET: u64 = 1 << 20;

    pub(super) fn answer(bytes: usize) -> Answer {
        Answer {
            generation: Some(Generation([9; 32])),
            is_said_so: false,
            created_ms: 1,
            freshness: Freshness { max_age_s: 3, stale_while_revalidate_s: 4, stale_if_error_s: 5 },
            cost_us: 6,
            with_authorization: true,
            fields: vec![],
            header_length: Some(4),
            verbatim: true,
            body: vec![5; bytes],
        }
    }

    fn slots(host: &Double) -> Slots {
        let mut slots = Slots::new(BUDGET);
        slots.refresh(host);
        slots
    }

    #[test]
    fn another_worker_finds_what_one_put_in_every_class() {
        let host = Double::default();
        let (one, other) = (slots(&host), slots(&host));
        for bytes in [0, 100, 1024 - HEADER_BYTES, 1025, 5000, 20_000, 65_536 - HEADER_BYTES] {
            one.put(&host, &KEY, &answer(bytes));
            assert_eq!(other.get(&host, &KEY), Slot::Holds(Box::new(answer(bytes))), "{bytes} bytes");
        }
    }

    #[test]
    fn what_is_only_known_is_known_to_all_and_takes_no_slot() {
        let host = Double::default();
        let (one, other) = (slots(&host), slots(&host));
        assert_eq!(other.get(&host, &KEY), Slot::Unknown);
        one.make_known(&host, &KEY);
        assert_eq!(other.get(&host, &KEY), Slot::Known);
        assert!(!host.shared.borrow().keys().any(|key| key.contains(".slot.0")));
        other.put(&host, &KEY, &answer(10));
        assert_eq!(one.get(&host, &KEY), Slot::Holds(Box::new(answer(10))));
    }

    #[test]
    fn what_no_class_takes_is_not_kept() {
        let host = Double::default();
        let slots = slots(&host);
        slots.put(&host, &KEY, &answer(65_537 - HEADER_BYTES));
        assert_eq!(slots.get(&host, &KEY), Slot::Unknown);
    }

    #[test]
    fn never_holds_more_than_its_budget_and_finds_what_was_put_last() {
        let host = Double::default();
        let slots = slots(&host);
        for n in 0..3000_u32 {
            let key = *blake3::hash(&n.to_le_bytes()).as_bytes();
            slots.put(&host, &key, &answer(500 + (n as usize % 5000)));
            assert!(matches!(slots.get(&host, &key), Slot::Holds(_)), "entry {n}");
        }
        let held: usize = host
            .shared
            .borrow()
            .iter()
            .filter(|(key, _)| key.contains(".slot."))
            .map(|(_, (v, _))| v.len())
            .sum();
        assert!(held as u64 <= BUDGET, "{held} bytes");
    }

    #[test]
    fn off_without_a_budget() {
        let host = Double::default();
        let mut slots = Slots::new(0);
        slots.refresh(&host);
        slots.put(&host, &KEY, &answer(1));
        assert!(host.shared.borrow().is_empty());
    }
}
