//! What every instance last said -> the rows of the table: which generations answer for a model.

use std::collections::BTreeMap;
use std::time::Duration;

use forebay_protocol::digest::Generation;
use forebay_protocol::generations::LiveModel;
use serde::{Deserialize, Serialize};

use super::millis;
use crate::engine::cpu::Cpu;

/// An instance is alive as long as its last heartbeat is not older.
pub(crate) const ALIVE: Duration = Duration::from_secs(10);
/// What was not heard of for so long is forgotten, even if nothing came after it: a week.
const FORGOTTEN: Duration = Duration::from_hours(7 * 24);
/// Version of a record.
pub(crate) const RECORD_FORMAT: u32 = 3;
/// The one before, which says nothing of the processor; it is read as well.
const FORMER_FORMAT: u32 = 2;

/// What one instance serves, without its service: that is the same for all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Served {
    pub(crate) model: String,
    /// As a request asks for it: "" is no version.
    pub(crate) version: String,
    pub(crate) generation: Generation,
}

/// What it served before and serves no more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Gone {
    pub(crate) model: String,
    pub(crate) version: String,
}

/// What one instance last said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) format: u32,
    pub(crate) service: String,
    /// What its processor can do, as [`Cpu`] names it; a later release may name more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cpu: Option<Vec<String>>,
    pub(crate) models: Vec<Served>,
    /// Without it, what a dead instance served before would be taken for the last word.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) gone: Vec<Gone>,
}

/// What is no record of this version. Whoever said it is not heard.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecordError {
    #[error("it is not the JSON expected: {0}")]
    Shape(#[from] serde_json::Error),
    #[error("it has format {0}: this program reads formats {FORMER_FORMAT} and {RECORD_FORMAT}")]
    UnknownFormat(u32),
}

/// What is looked at first: a later version may have any other members.
#[derive(Deserialize)]
struct Versioned {
    format: u32,
}

impl Record {
    /// Reads a record.
    pub(super) fn read(text: &str) -> Result<Self, RecordError> {
        let Versioned { format } = serde_json::from_str(text)?;
        if ![FORMER_FORMAT, RECORD_FORMAT].contains(&format) {
            return Err(RecordError::UnknownFormat(format));
        }
        Ok(serde_json::from_str(text)?)
    }

    pub(crate) fn empty(service: &str) -> Self {
        let cpu = Some(Cpu::here().names().map(str::to_owned).collect());
        let service = service.to_owned();
        Self { format: RECORD_FORMAT, service, cpu, models: Vec::new(), gone: Vec::new() }
    }

    /// What the processor of whoever said it can do, as far as it is known here.
    pub(crate) fn cpu(&self) -> Option<Cpu> {
        self.cpu.as_ref().map(|names| Cpu::named(names.iter().map(String::as_str)))
    }

    /// What follows when these are served now.
    pub(crate) fn then(&self, models: Vec<Served>) -> Self {
        let is_served =
            |model: &str, version: &str| models.iter().any(|s| s.model == model && s.version == version);
        let before = self.models.iter().map(|s| Gone { model: s.model.clone(), version: s.version.clone() });
        let mut gone: Vec<Gone> = self.gone.iter().cloned().chain(before).collect();
        gone.retain(|gone| !is_served(&gone.model, &gone.version));
        // The newest stand last.
        gone.drain(..gone.len().saturating_sub(MOST_GONE));
        Self { format: RECORD_FORMAT, service: self.service.clone(), cpu: self.cpu.clone(), models, gone }
    }
}

/// More than that are not remembered.
const MOST_GONE: usize = 1024;

/// A record and when it was said, in milliseconds of the pool's clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Heard {
    pub(crate) instance: String,
    /// Lives of its last heartbeat among those of all: clocks that are set don't change it.
    pub(crate) order: u64,
    /// Lives of the first heartbeat with this record.
    pub(crate) changed: u64,
    pub(crate) beat_ms: u64,
    /// It said that it leaves.
    pub(crate) left: bool,
    pub(crate) record: Record,
}

impl Heard {
    pub(crate) fn is_alive(&self, now_ms: u64) -> bool {
        !self.left && now_ms.abs_diff(self.beat_ms) <= millis(ALIVE)
    }

    fn serves(&self, service: &str, model: &str, version: &str) -> bool {
        let same = |served: &Served| served.model == model && served.version == version;
        self.record.service == service && self.record.models.iter().any(same)
    }

    fn gave_up(&self, service: &str, model: &str, version: &str) -> bool {
        let same = |gone: &Gone| gone.model == model && gone.version == version;
        self.record.service == service && self.record.gone.iter().any(same)
    }
}

/// What is known of one line of the table.
#[derive(Default)]
struct Lives {
    alive: Vec<Generation>,
    /// The last word of those that are not alive, by its order, and the last that it is served no more.
    last: Option<(u64, Generation)>,
    gone: Option<u64>,
}

/// The live models: for each service, model and version the generations of the instances that are alive. If none is, those of the
/// instance that was heard of last, so that hits survive scaling to zero, unless one has said later that it serves it no more.
pub(crate) fn live_models(heard: &[Heard], now_ms: u64) -> Vec<LiveModel> {
    let mut places: BTreeMap<(&str, &str, &str), Lives> = BTreeMap::new();
    for one in heard {
        let (alive, record) = (one.is_alive(now_ms), &one.record);
        for Served { model, version, generation } in &record.models {
            let place = places.entry((&record.service, model, version)).or_default();
            if alive {
                place.alive.push(*generation);
            } else if place.last.is_none_or(|(order, _)| order < one.order) {
                place.last = Some((one.order, *generation));
            }
        }
        for Gone { model, version } in &record.gone {
            let place = places.entry((&record.service, model, version)).or_default();
            place.gone = place.gone.max(Some(one.changed));
        }
    }
    let row = |((service, model, version), place): ((&str, &str, &str), Lives)| {
        let mut generations = place.alive;
        if generations.is_empty() {
            let last = place.last.filter(|(order, _)| place.gone.is_none_or(|gone| gone < *order));
            generations.extend(last.map(|(_, generation)| generation));
        }
        generations.sort_unstable_by_key(|generation| generation.0);
        generations.dedup();
        let (service, model, version) = (service.into(), model.into(), version.into());
        let row = LiveModel { service, model, version, tenant: None, generations };
        (!row.generations.is_empty()).then_some(row)
    };
    places.into_iter().filter_map(row).collect()
}

/// How many instances of each service are alive.
pub(crate) fn replicas(heard: &[Heard], now_ms: u64) -> BTreeMap<String, usize> {
    let mut replicas = BTreeMap::new();
    for one in heard {
        *replicas.entry(one.record.service.clone()).or_default() += usize::from(one.is_alive(now_ms));
    }
    replicas
}

/// Instances that can be forgotten: dead, and the table is the same without them for ever.
pub(crate) fn outdated(heard: &[Heard], now_ms: u64) -> Vec<&Heard> {
    let is_outdated = |of: &&Heard| {
        let service = of.record.service.as_str();
        let others = || heard.iter().filter(|other| other.instance != of.instance);
        let later_word = |model: &str, version: &str, than: u64| {
            others().any(|other| {
                (other.order > than && other.serves(service, model, version))
                    || (other.changed > than && other.gave_up(service, model, version))
            })
        };
        let served_later = of.record.models.iter().all(|s| later_word(&s.model, &s.version, of.order));
        let buries_nothing = of.record.gone.iter().all(|gone| {
            later_word(&gone.model, &gone.version, of.changed)
                || !others().any(|other| other.serves(service, &gone.model, &gone.version))
        });
        let forgotten = now_ms.abs_diff(of.beat_ms) > millis(FORGOTTEN);
        !of.is_alive(now_ms) && (forgotten || (served_later && buries_nothing))
    };
    heard.iter().filter(is_outdated).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 100_000;

    fn served(generation: u8) -> Served {
        Served { model: "m".into(), version: String::new(), generation: Generation([generation; 32]) }
    }

    fn heard(instance: &str, order: u64, beat_ms: u64, generation: u8) -> Heard {
        let record = Record { models: vec![served(generation)], ..Record::empty("s") };
        Heard { instance: instance.into(), order, changed: order, beat_ms, left: false, record }
    }

    fn live(heard: &[Heard], now_ms: u64) -> Vec<u8> {
        live_models(heard, now_ms).iter().flat_map(|live| live.generations.iter().map(|g| g.0[0])).collect()
    }

    fn unloaded(heard: Heard) -> Heard {
        Heard { record: heard.record.then(Vec::new()), ..heard }
    }

    #[test]
    fn all_that_are_alive_count_and_the_dead_and_those_that_left_do_not() {
        let left = Heard { left: true, ..heard("e", 5, NOW, 5) };
        let heard = [
            heard("a", 1, NOW, 1),
            heard("b", 2, 95_000, 2),
            heard("c", 3, 80_000, 3),
            heard("d", 4, 99_000, 1),
            left,
        ];
        assert_eq!(live(&heard, NOW), [1, 2]);
        assert_eq!(replicas(&heard, NOW), BTreeMap::from([("s".to_owned(), 3)]));
        assert_eq!(
            replicas(&heard[2..3], NOW),
            BTreeMap::from([("s".to_owned(), 0)]),
            "it is known, and at zero"
        );
    }

    #[test]
    fn when_none_is_alive_the_last_one_counts_whatever_clocks_say() {
        let left = Heard { left: true, ..heard("b", 20, NOW - 1, 2) };
        let from_the_future = heard("a", 10, 10 * NOW, 1);
        assert_eq!(live(&[from_the_future, left], NOW), [2]);
    }

    #[test]
    fn what_was_unloaded_does_not_come_back_with_the_dead() {
        let dead = heard("a", 10, 10_000, 1);
        let alive = heard("b", 20, NOW, 2);
        assert_eq!(live(&[dead.clone(), alive.clone()], NOW), [2]);
        let after = [dead.clone(), unloaded(alive)];
        assert!(live(&after, NOW).is_empty());
        assert!(live(&after, 900_000).is_empty(), "when it is dead itself, too");
        let later = heard("c", 30, 850_000, 3);
        assert_eq!(live(&[after[0].clone(), after[1].clone(), later], 900_000), [3]);
    }

    #[test]
    fn the_dead_are_forgotten_once_others_had_a_later_word_on_all_they_served() {
        let names = |heard: &[Heard], now_ms| {
            outdated(heard, now_ms).iter().map(|of| of.instance.clone()).collect::<Vec<_>>()
        };
        let heard_of = [heard("a", 10, 10_000, 1), heard("b", 20, 20_000, 2)];
        assert_eq!(names(&heard_of, 900_000), ["a"]);
        assert!(names(&heard_of, 15_000).is_empty());
        assert_eq!(names(&heard_of[1..], 20_001 + millis(FORGOTTEN)), ["b"]);
        let buried = [heard("a", 10, 10_000, 1), unloaded(heard("b", 20, 20_000, 2))];
        assert_eq!(names(&buried, 900_000), ["a"], "the one that buries it stays until it is gone");
        assert_eq!(names(&buried[1..], 900_000), ["b"]);
    }

    #[test]
    fn what_is_no_longer_served_is_said_until_it_is_served_again() {
        let first = Record::empty("s").then(vec![served(1)]);
        assert!(first.gone.is_empty());
        let none = first.then(Vec::new());
        assert_eq!(none.gone, [Gone { model: "m".into(), version: String::new() }]);
        assert_eq!(none.then(Vec::new()).gone.len(), 1);
        assert!(none.then(vec![served(2)]).gone.is_empty());
    }

    #[test]
    fn a_record_is_these_bytes_and_one_of_another_version_is_named() {
        let former = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../protocol/golden/2/records.json"));
        let golden = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../protocol/golden/3/records.json"));
        for (format, vectors) in [(2, former), (3, golden)] {
            for vector in serde_json::from_str::<Vec<serde_json::Value>>(vectors).unwrap() {
                let bytes = vector["bytes"].as_str().unwrap();
                let record = Record::read(bytes).unwrap();
                assert_eq!((record.format, record.cpu().is_some()), (format, format == 3));
                assert_eq!(crate::cache::live::registry::steps::text(&record), bytes, "{}", vector["name"]);
                let later = bytes.replacen(&format!("\"format\":{format}"), "\"format\":4", 1);
                assert!(matches!(Record::read(&later), Err(RecordError::UnknownFormat(4))));
            }
        }
        // As version 1 wrote them.
        let earlier = r#"{"service":"demo","models":[]}"#;
        assert!(matches!(Record::read(earlier), Err(RecordError::Shape(_))));
    }
}
