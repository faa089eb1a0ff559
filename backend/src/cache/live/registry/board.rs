//! What is said and told, and the steps that change it, for a tier that has no scripts: what `redis` does in Lua. The laws play it
//! against everything that can go wrong between the tier and those who use it; that the scripts do the same is a test, with Redis.
//! `codec` has it as bytes.

mod codec;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::steps::{KEPT_EPOCHS, Known, Read, Reader, Said, Stands, Word, digest};
use crate::cache::live::heard::{ALIVE, Heard, Record};
use crate::cache::live::millis;
use crate::cache::live::proxies::LEASE;
use crate::cache::live::purges::{Full, Name, Purges};
pub(super) use codec::BoardError;

/// How old what a gate said may be before it says it again. A gate trusts its table for less time than it is remembered without this.
const SAID_AGAIN: Duration = Duration::from_secs(1);

/// What everybody said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::cache::live) struct Board {
    beats: BTreeMap<String, Beat>,
    /// Of those that are on the board. As bytes it has their digests alone.
    records: BTreeMap<String, String>,
    epoch: u64,
    /// Of what the table was made of at that epoch.
    signature: Option<String>,
    order: u64,
    /// When who polls may have been forgotten.
    lost_ms: u64,
    /// Up to this epoch whoever knows one says nothing new.
    floor: u64,
    run: Option<u64>,
    /// Every epoch that was given out, the last of them.
    pub(in crate::cache::live) epochs: BTreeSet<u64>,
    /// Name -> time and epoch.
    pub(in crate::cache::live) proxies: BTreeMap<String, (u64, u64)>,
    pub(in crate::cache::live) gates: BTreeMap<String, (u64, u64)>,
    /// Name -> time and the highest purge number that it knows.
    pub(in crate::cache::live) servers: BTreeMap<String, (u64, u64)>,
    pub(in crate::cache::live) purges: Purges,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Beat {
    order: u64,
    changed: u64,
    ms: u64,
    left: bool,
    digest: String,
}

/// When something is asked of it, and of which run.
#[derive(Debug, Clone, Copy)]
pub(in crate::cache::live) struct At {
    pub(in crate::cache::live) us: u64,
    pub(in crate::cache::live) run: u64,
}

impl At {
    pub(in crate::cache::live) fn ms(self) -> u64 {
        self.us / 1000
    }

    /// By how much its epochs grow where its clock is behind.
    fn step(self) -> u64 {
        let run = self.run.to_string();
        1 + u64::from_str_radix(run.get(..4).unwrap_or(&run), 16).unwrap_or(0)
    }
}

impl Board {
    /// A board where there is none: there may have been one, and who was told by it.
    pub(in crate::cache::live) fn begin(at: At) -> Self {
        Self { lost_ms: at.ms(), run: Some(at.run), ..Self::default() }
    }

    /// Which board it is, of those that were begun.
    pub(in crate::cache::live) fn run(&self) -> Option<u64> {
        self.run
    }

    /// Forgets what was said, where the record of that digest is lost: what others said before can't be told without it, for it may
    /// have buried that. Who is alive says it again.
    pub(in crate::cache::live) fn lose(&mut self, lost: &str, at: At) {
        if self.beats.values().any(|beat| beat.digest == lost) {
            let (highest, _) = self.trace(&[], at);
            self.forget_said(at);
            self.count((highest, true), at);
        }
    }

    fn forget_said(&mut self, at: At) {
        self.beats.clear();
        self.records.clear();
        self.lost_ms = at.ms();
    }

    /// The same without the texts of records, as bytes have it.
    #[cfg(test)]
    pub(in crate::cache::live) fn without_texts(&self) -> Self {
        let records = self.beats.keys().map(|instance| (instance.clone(), String::new())).collect();
        Self { records, ..self.clone() }
    }

    /// The digests of what was said.
    pub(in crate::cache::live) fn digests(&self) -> BTreeSet<&str> {
        self.beats.values().map(|beat| beat.digest.as_str()).collect()
    }

    fn notice(&mut self, at: At) {
        let before = self.run.replace(at.run);
        if before.is_some_and(|before| before != at.run) {
            self.lost_ms = at.ms();
        }
    }

    fn trace(&mut self, known: &[u64], at: At) -> (u64, bool) {
        self.notice(at);
        let mut highest = self.epoch.max(self.epochs.last().copied().unwrap_or(0));
        let full = self.epochs.len() >= KEPT_EPOCHS;
        let oldest = self.epochs.first().copied().filter(|_| full).unwrap_or(0);
        let floor = self.floor.max(oldest);
        let mut lost = false;
        for known in known {
            highest = highest.max(*known);
            lost |= *known > floor && self.epochs.insert(*known);
        }
        if lost {
            self.forget_said(at);
        }
        (highest, lost)
    }

    fn count(&mut self, (highest, lost): (u64, bool), at: At) -> (u64, String) {
        let line = |(instance, beat): (&String, &Beat)| {
            let alive = !beat.left && beat.ms.abs_diff(at.ms()) <= millis(ALIVE);
            let order = if alive { "alive".to_owned() } else { beat.order.to_string() };
            format!("{instance} {} {} {order}\n", beat.digest, beat.changed)
        };
        let said: String = self.beats.iter().map(line).collect();
        let signature = digest(&format!("{said}{}", self.purges.mark()));
        if lost || self.signature.as_ref() != Some(&signature) {
            self.epoch = at.us.max(highest + at.step());
            self.signature = Some(signature.clone());
            if lost {
                self.floor = self.epoch;
            }
            self.epochs.insert(self.epoch);
            while self.epochs.len() > KEPT_EPOCHS {
                self.epochs.pop_first();
            }
        }
        (self.epoch, signature)
    }

    /// An instance says what it serves.
    pub(in crate::cache::live) fn say(&mut self, word: &Word<'_>, at: At) -> Said {
        let Word { instance, left, digest, record, known, unanswered, purged } = *word;
        let traced = self.trace(&[known], at);
        if unanswered && !self.beats.contains_key(instance) {
            self.lost_ms = at.ms();
        }
        if left {
            self.servers.remove(instance);
        } else {
            self.servers.insert(instance.to_owned(), (at.ms(), purged));
        }
        let purges = self.purges_for(purged);
        let before = self.beats.get(instance).filter(|beat| beat.digest == digest);
        let mut changed = before.map(|beat| beat.changed);
        if before.is_none() || !self.records.contains_key(instance) {
            if record.is_empty() {
                return Said { epoch: self.count(traced, at).0, record: Stands::Lacking, purges };
            }
            self.records.insert(instance.to_owned(), record.to_owned());
            changed = None;
        }
        self.order += 1;
        let (order, ms) = (self.order, at.ms());
        let beat = Beat { order, changed: changed.unwrap_or(order), ms, left, digest: digest.to_owned() };
        self.beats.insert(instance.to_owned(), beat);
        let record = if changed.is_some() { Stands::Known } else { Stands::Written };
        Said { epoch: self.count(traced, at).0, record, purges }
    }

    fn purges_for(&self, known: u64) -> Option<Purges> {
        (known != self.purges.mark()).then(|| self.purges.clone())
    }

    /// Names get higher numbers.
    pub(in crate::cache::live) fn raise(
        &mut self,
        names: &[(Name, Option<u64>)],
        known: u64,
        at: At,
    ) -> Result<Known, Full> {
        let traced = self.trace(&[known], at);
        let raised = names.iter().try_for_each(|(name, known)| self.purges.raise(name, *known, at.us));
        let (epoch, _) = self.count(traced, at);
        raised.map(|()| Known { epoch, purged: self.purges.mark() })
    }

    /// A gate tells which epochs it and its proxies have, and hears what was said.
    pub(in crate::cache::live) fn read(&mut self, reader: &Reader<'_>, at: At) -> Read {
        let known = [reader.known, &[reader.epoch]].concat();
        let traced = self.trace(&known, at);
        let (epoch, signature) = self.count(traced, at);
        let heard_ms = at.ms();
        self.forget(at);
        for (name, has) in reader.proxies {
            let before = self.proxies.get(name).map_or(0, |(_, epoch)| *epoch);
            self.proxies.insert(name.clone(), (heard_ms, before.max(*has)));
        }
        self.gates.insert(reader.gate.to_owned(), (heard_ms, reader.epoch));
        let heard = (signature != reader.signature).then(|| self.heard());
        Read { epoch, signature, now_ms: heard_ms, heard, purges: self.purges_for(reader.purged) }
    }

    /// The same, but what a gate says again of itself alone within [`SAID_AGAIN`] changes nothing: its time on the board is older by
    /// that at most, and nothing has to be written.
    pub(in crate::cache::live) fn read_seldom(&mut self, reader: &Reader<'_>, at: At) -> Read {
        let said = self.gates.get(reader.gate).copied();
        let read = self.read(reader, at);
        if let Some((ms, epoch)) = said
            && epoch == reader.epoch
            && at.ms().abs_diff(ms) < millis(SAID_AGAIN)
        {
            self.gates.insert(reader.gate.to_owned(), (ms, epoch));
        }
        read
    }

    /// What was heard, by the records that are on the board.
    pub(in crate::cache::live) fn heard(&self) -> Vec<Heard> {
        self.heard_by(|instance, _| Record::read(self.records.get(instance)?).ok())
    }

    /// What was heard, by the records of instances and their digests. What there is none of is left out.
    pub(super) fn heard_by(&self, record: impl Fn(&str, &str) -> Option<Record>) -> Vec<Heard> {
        let one = |(instance, beat): (&String, &Beat)| {
            let Beat { order, changed, ms: beat_ms, left, .. } = *beat;
            let record = record(instance, &beat.digest)?;
            Some(Heard { instance: instance.clone(), order, changed, beat_ms, left, record })
        };
        self.beats.iter().filter_map(one).collect()
    }

    /// Forgets who was not heard of for long. Who was so in a time to come may be there still: that is as a loss.
    fn forget(&mut self, at: At) {
        let far = |ms: u64| ms.abs_diff(at.ms()) > millis(LEASE);
        for heard in [&mut self.gates, &mut self.proxies, &mut self.servers] {
            if heard.values().any(|(ms, _)| far(*ms) && *ms > at.ms()) {
                self.lost_ms = at.ms();
            }
            heard.retain(|_, (ms, _)| !far(*ms));
        }
    }

    /// How many gates and proxies don't have that epoch, and servers that purge number, and one of them.
    pub(in crate::cache::live) fn behind(&mut self, known: Known, at: At) -> (u64, String) {
        let Known { epoch, purged } = known;
        self.notice(at);
        self.forget(at);
        let gates = self.gates.iter().map(|of| ("gate", of, epoch));
        let proxies = self.proxies.iter().map(|of| ("proxy", of, epoch));
        let servers = self.servers.iter().map(|of| ("server", of, purged));
        let heard = gates.chain(proxies).chain(servers);
        let mut behind = heard.filter(|(_, (_, (_, has)), must)| has < must);
        let one = behind.next().map(|(kind, (name, _), _)| format!("{kind} {name}"));
        let count = u64::from(one.is_some()) + behind.count() as u64;
        let lost = epoch != 0 && !self.epochs.contains(&epoch);
        let forgot = self.lost_ms.abs_diff(at.ms()) <= millis(LEASE);
        let all = || {
            let all = if lost { "the pool" } else { "whoever was told before the pool lost writes" };
            (lost || forgot).then(|| all.to_owned())
        };
        (count + u64::from(lost) + u64::from(forgot), one.or_else(all).unwrap_or_default())
    }

    /// Forgets instances that were not heard of since.
    pub(in crate::cache::live) fn sweep(&mut self, gone: &[&Heard]) {
        for of in gone {
            let same = |beat: &Beat| beat.order == of.order && beat.ms == of.beat_ms;
            if self.beats.get(&of.instance).is_some_and(same) {
                self.beats.remove(&of.instance);
                self.records.remove(&of.instance);
            }
        }
    }
}
