//! What the scripts take as words, and what the words mean that they answer.

use crate::cache::live::heard::{Heard, Record};
use crate::cache::live::millis;
use crate::cache::live::purges::{self, Full, Name, Purges};
use crate::cache::live::registry::steps::{Known, Read, Reader, Said, Stands, Word, digest, text};
use crate::cache::live::reports::{self, Fate};

impl Stands {
    pub(in crate::cache::live) fn of(word: &str) -> Self {
        match word {
            "lacking" => Self::Lacking,
            "written" => Self::Written,
            _ => Self::Known,
        }
    }
}

impl Fate {
    pub(in crate::cache::live) fn of(word: &str) -> Self {
        match word {
            "new" => Self::New,
            "known" => Self::Known,
            _ => Self::Dropped,
        }
    }
}

impl Word<'_> {
    pub(in crate::cache::live) fn arguments(&self) -> [String; 7] {
        let state = if self.left { "l" } else { "h" };
        let unanswered = if self.unanswered { "1" } else { "0" };
        let (known, purged) = (self.known.to_string(), self.purged.to_string());
        [self.instance, state, self.digest, self.record, &known, unanswered, &purged].map(str::to_owned)
    }
}

type Pairs = Vec<(String, String)>;
pub(in crate::cache::live) type ReadAnswer = (u64, String, u64, Pairs, Pairs, u64, Pairs);
pub(in crate::cache::live) type SayAnswer = (u64, u64, String, u64, Pairs);
pub(in crate::cache::live) type BehindAnswer = (u64, String, u64);
pub(in crate::cache::live) type RaiseAnswer = (u64, u64, String);

/// Names and the numbers that they are known to have had, as the script takes them.
pub(in crate::cache::live) fn raised(names: &[(Name, Option<u64>)], known: u64) -> Vec<String> {
    let had = |number: &Option<u64>| number.map(|number| number.to_string()).unwrap_or_default();
    let twos = names.iter().flat_map(|(name, number)| [name.text(), had(number)]);
    [known.to_string(), purges::MOST.to_string()].into_iter().chain(twos).collect()
}

impl Known {
    pub(in crate::cache::live) fn arguments(self) -> [String; 2] {
        [self.epoch.to_string(), self.purged.to_string()]
    }

    pub(in crate::cache::live) fn of((epoch, purged, done): RaiseAnswer) -> Result<Self, Full> {
        if done == "full" { Err(Full) } else { Ok(Self { epoch, purged }) }
    }
}

impl Said {
    pub(in crate::cache::live) fn of((epoch, _, stands, purged, numbers): SayAnswer, known: u64) -> Self {
        Self { epoch, record: Stands::of(&stands), purges: purges_of(purged, numbers, known) }
    }
}

/// The numbers, where they were told: to who knew another highest one.
fn purges_of(purged: u64, numbers: Pairs, known: u64) -> Option<Purges> {
    let number = |(name, number): (String, String)| Some((name, number.parse().ok()?));
    (purged != known).then(|| Purges::of(purged, numbers.into_iter().filter_map(number)))
}

impl Reader<'_> {
    pub(in crate::cache::live) fn arguments(&self) -> Vec<String> {
        let mut known = self.known.to_vec();
        known.push(self.epoch);
        let purged = self.purged.to_string();
        let head = [self.gate.to_owned(), self.epoch.to_string(), self.signature.to_owned(), purged];
        let proxies = self.proxies.iter().flat_map(|(name, epoch)| [name.clone(), epoch.to_string()]);
        head.into_iter()
            .chain([known.len().to_string()])
            .chain(known.iter().map(u64::to_string))
            .chain(proxies)
            .collect()
    }
}

impl Read {
    pub(in crate::cache::live) fn of(
        (epoch, signature, now_ms, beats, records, purged, numbers): ReadAnswer,
        reader: &Reader<'_>,
    ) -> Self {
        let heard = (signature != reader.signature).then(|| heard(&beats, &records));
        Self { epoch, signature, now_ms, heard, purges: purges_of(purged, numbers, reader.purged) }
    }
}

pub(in crate::cache::live) fn reported(who: String, seq: u64) -> [String; 4] {
    [who, seq.to_string(), millis(reports::REMEMBERED).to_string(), reports::MOST.to_string()]
}

/// Instances that are to be forgotten if they were not heard of since.
pub(in crate::cache::live) fn swept(gone: &[&Heard]) -> Vec<String> {
    gone.iter().flat_map(|of| [of.instance.clone(), beat(of)]).collect()
}

/// Beats and records by instance -> what was heard. What can't be read was said by another release: it is left alone, and what that
/// one serves is live for nobody here.
pub(super) fn heard(beats: &[(String, String)], records: &[(String, String)]) -> Vec<Heard> {
    let record = |instance: &str| {
        let (_, record) = records.iter().find(|(of, _)| of == instance)?;
        let unread =
            |error| tracing::warn!("what server {instance} serves is not taken into account: {error}");
        Record::read(record).map_err(unread).ok()
    };
    let one = |(instance, beat): &(String, String)| {
        let mut words = beat.split(' ');
        let mut number = || words.next()?.parse::<u64>().ok();
        let (order, changed, beat_ms) = (number()?, number()?, number()?);
        let left = words.next()? == "l";
        let record = record(instance)?;
        Some(Heard { instance: instance.clone(), order, changed, beat_ms, left, record })
    };
    beats.iter().filter_map(one).collect()
}

/// A beat as the scripts write it.
fn beat(of: &Heard) -> String {
    let Heard { order, changed, beat_ms, left, record, .. } = of;
    let state = if *left { "l" } else { "h" };
    format!("{order} {changed} {beat_ms} {state} {}", digest(&text(record)))
}
