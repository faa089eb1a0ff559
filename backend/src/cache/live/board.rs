//! What the scripts do, in Rust: a pool in memory for the laws, which play it against everything that can go wrong between the pool
//! and those who use it. That it does what the scripts do is a test of its own, with Redis.

use std::collections::{BTreeMap, BTreeSet};

use super::heard::{ALIVE, Heard, Record};
use super::millis;
use super::proxies::LEASE;
use super::registry::steps::{KEPT_EPOCHS, Read, Reader, Said, Stands, Word};
use super::reports::{Fate, REMEMBERED};

/// A pool.
#[derive(Clone, Default)]
pub(super) struct Board {
    beats: BTreeMap<String, Beat>,
    records: BTreeMap<String, String>,
    epoch: u64,
    signature: Option<String>,
    order: u64,
    lost_ms: u64,
    floor: u64,
    run: Option<u64>,
    pub(super) epochs: BTreeSet<u64>,
    /// Name -> time and epoch.
    pub(super) proxies: BTreeMap<String, (u64, u64)>,
    pub(super) gates: BTreeMap<String, (u64, u64)>,
    /// Who reports -> time and number.
    reports: BTreeMap<String, (u64, u64)>,
}

#[derive(Clone)]
struct Beat {
    order: u64,
    changed: u64,
    ms: u64,
    left: bool,
    digest: String,
}

/// When something is asked of it, and of which run.
#[derive(Debug, Clone, Copy)]
pub(super) struct At {
    pub(super) us: u64,
    pub(super) run: u64,
}

impl At {
    pub(super) fn ms(self) -> u64 {
        self.us / 1000
    }

    /// By how much its epochs grow where its clock is behind.
    fn step(self) -> u64 {
        let run = self.run.to_string();
        1 + u64::from_str_radix(run.get(..4).unwrap_or(&run), 16).unwrap_or(0)
    }
}

impl Board {
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
            self.beats.clear();
            self.records.clear();
            self.lost_ms = at.ms();
        }
        (highest, lost)
    }

    fn count(&mut self, (highest, lost): (u64, bool), at: At) -> (u64, String) {
        let line = |(instance, beat): (&String, &Beat)| {
            let alive = !beat.left && beat.ms.abs_diff(at.ms()) <= millis(ALIVE);
            let order = if alive { "alive".to_owned() } else { beat.order.to_string() };
            format!("{instance} {} {} {order}\n", beat.digest, beat.changed)
        };
        let signature: String = self.beats.iter().map(line).collect();
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

    pub(super) fn say(&mut self, word: &Word<'_>, at: At) -> Said {
        let Word { instance, left, digest, record, known, unanswered } = *word;
        let traced = self.trace(&[known], at);
        if unanswered && !self.beats.contains_key(instance) {
            self.lost_ms = at.ms();
        }
        let before = self.beats.get(instance).filter(|beat| beat.digest == digest);
        let mut changed = before.map(|beat| beat.changed);
        if before.is_none() || !self.records.contains_key(instance) {
            if record.is_empty() {
                return Said { epoch: self.count(traced, at).0, record: Stands::Lacking };
            }
            self.records.insert(instance.to_owned(), record.to_owned());
            changed = None;
        }
        self.order += 1;
        let (order, ms) = (self.order, at.ms());
        let beat = Beat { order, changed: changed.unwrap_or(order), ms, left, digest: digest.to_owned() };
        self.beats.insert(instance.to_owned(), beat);
        let record = if changed.is_some() { Stands::Known } else { Stands::Written };
        Said { epoch: self.count(traced, at).0, record }
    }

    pub(super) fn read(&mut self, reader: &Reader<'_>, at: At) -> Read {
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
        Read { epoch, signature, now_ms: heard_ms, heard }
    }

    pub(super) fn heard(&self) -> Vec<Heard> {
        let one = |(instance, beat): (&String, &Beat)| {
            let Beat { order, changed, ms: beat_ms, left, .. } = *beat;
            let record = Record::read(self.records.get(instance)?).ok()?;
            Some(Heard { instance: instance.clone(), order, changed, beat_ms, left, record })
        };
        self.beats.iter().filter_map(one).collect()
    }

    /// Forgets who was not heard of for long. Who was so in a time to come may be there still: that is as a loss.
    fn forget(&mut self, at: At) {
        let far = |ms: u64| ms.abs_diff(at.ms()) > millis(LEASE);
        for heard in [&mut self.gates, &mut self.proxies] {
            if heard.values().any(|(ms, _)| far(*ms) && *ms > at.ms()) {
                self.lost_ms = at.ms();
            }
            heard.retain(|_, (ms, _)| !far(*ms));
        }
    }

    pub(super) fn behind(&mut self, epoch: u64, at: At) -> u64 {
        self.notice(at);
        self.forget(at);
        let heard = self.gates.values().chain(self.proxies.values());
        let behind = heard.filter(|(_, has)| *has < epoch).count() as u64;
        let lost = epoch != 0 && !self.epochs.contains(&epoch);
        let forgot = self.lost_ms.abs_diff(at.ms()) <= millis(LEASE);
        behind + u64::from(lost) + u64::from(forgot)
    }

    pub(super) fn report(&mut self, who: &str, seq: u64, at: At) -> Fate {
        self.reports.retain(|_, (ms, _)| ms.abs_diff(at.ms()) < millis(REMEMBERED));
        let last = self.reports.get(who).map_or(0, |(_, last)| *last);
        self.reports.insert(who.to_owned(), (at.ms(), last.max(seq)));
        if seq > last { Fate::New } else { Fate::Known }
    }

    pub(super) fn sweep(&mut self, gone: &[&Heard]) {
        for of in gone {
            let same = |beat: &Beat| beat.order == of.order && beat.ms == of.beat_ms;
            if self.beats.get(&of.instance).is_some_and(same) {
                self.beats.remove(&of.instance);
                self.records.remove(&of.instance);
            }
        }
    }
}
