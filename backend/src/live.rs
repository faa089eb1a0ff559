//! Which generations are live. What each instance of `serve` says about itself -> the table that the filters poll and
//! that lookups go by. With the pool in memory the table has one instance; with Redis (`live::redis`) all of them.

pub(crate) mod redis;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use forebay_protocol::digest::Generation;
use forebay_protocol::generations::{LiveModel, Table};
use serde::{Deserialize, Serialize};

use crate::store::now_ms;

/// An instance is alive as long as its last heartbeat is not older.
const ALIVE: Duration = Duration::from_secs(10);
/// What was not heard of for so long is forgotten, even if nothing came after it: a week.
const FORGOTTEN: Duration = Duration::from_hours(7 * 24);
/// A table that could not be refreshed for so long says nothing any more.
const TABLE_TRUSTED: Duration = Duration::from_secs(10);

/// What one instance serves, without its service: that is the same for all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Served {
    pub(crate) model: String,
    /// As a request asks for it: "" is no version.
    pub(crate) version: String,
    pub(crate) generation: Generation,
}

/// What one instance last said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) service: String,
    pub(crate) models: Vec<Served>,
}

/// A record and when it was said, in milliseconds of the pool's clock.
#[derive(Debug, Clone)]
pub(crate) struct Heard {
    pub(crate) instance: String,
    pub(crate) beat_ms: u64,
    pub(crate) record: Record,
}

type Place<'a> = (&'a str, &'a str, &'a str);

/// The live models: for each service, model and version the generations of the instances that are alive, or if none
/// is those of the instance that was heard of last, so that hits survive scaling to zero.
pub(crate) fn live_models(heard: &[Heard], now_ms: u64) -> Vec<LiveModel> {
    let mut places: BTreeMap<Place<'_>, Vec<(u64, Generation)>> = BTreeMap::new();
    for Heard { beat_ms, record, .. } in heard {
        for served in &record.models {
            let place = (record.service.as_str(), served.model.as_str(), served.version.as_str());
            places.entry(place).or_default().push((*beat_ms, served.generation));
        }
    }
    places
        .into_iter()
        .map(|((service, model, version), beats)| {
            let last = beats.iter().map(|(beat, _)| *beat).max().unwrap_or(0);
            let counts =
                |beat: u64| if is_alive(last, now_ms) { is_alive(beat, now_ms) } else { beat == last };
            let live = beats.iter().filter(|(beat, _)| counts(*beat));
            let mut generations: Vec<Generation> = live.map(|(_, generation)| *generation).collect();
            generations.sort_unstable_by_key(|generation| generation.0);
            generations.dedup();
            LiveModel { service: service.into(), model: model.into(), version: version.into(), generations }
        })
        .collect()
}

/// Instances that can be forgotten: dead, and everything they served was served later by another.
pub(crate) fn outdated(heard: &[Heard], now_ms: u64) -> Vec<String> {
    let served_later = |of: &Heard, served: &Served| {
        heard.iter().any(|other| {
            other.beat_ms > of.beat_ms
                && other.record.service == of.record.service
                && other.record.models.iter().any(|s| s.model == served.model && s.version == served.version)
        })
    };
    let forgotten = |of: &Heard| now_ms.saturating_sub(of.beat_ms) > millis(FORGOTTEN);
    let dead = heard.iter().filter(|of| !is_alive(of.beat_ms, now_ms));
    dead.filter(|of| forgotten(of) || of.record.models.iter().all(|served| served_later(of, served)))
        .map(|of| of.instance.clone())
        .collect()
}

fn is_alive(beat_ms: u64, now_ms: u64) -> bool {
    now_ms.saturating_sub(beat_ms) <= millis(ALIVE)
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The table as it stands, for readers that don't wait.
pub(crate) struct LiveTable {
    current: ArcSwap<Indexed>,
}

struct Indexed {
    table: Arc<Table>,
    index: HashMap<(String, String, String), Vec<Generation>>,
    refreshed: Option<Instant>,
    /// Set where the table can't grow old: it is this process that it tells of.
    own: bool,
}

impl LiveTable {
    /// An empty table. `own` tables are kept by the process they tell of, and never grow old.
    pub(crate) fn new(own: bool) -> Self {
        let table = Arc::new(Table::empty(0));
        Self {
            current: ArcSwap::from_pointee(Indexed { table, index: HashMap::new(), refreshed: None, own }),
        }
    }

    /// Replaces the table.
    pub(crate) fn set(&self, table: Table) {
        let own = self.current.load().own;
        let key = |live: &LiveModel| (live.service.clone(), live.model.clone(), live.version.clone());
        let index = table.models.iter().map(|live| (key(live), live.generations.clone())).collect();
        let indexed = Indexed { table: Arc::new(table), index, refreshed: Some(Instant::now()), own };
        self.current.store(Arc::new(indexed));
    }

    /// Replaces the models and counts the epoch up if they changed: for a table of one process.
    pub(crate) fn set_models(&self, models: Vec<LiveModel>) {
        let before = self.table_as_it_is();
        if before.models != models || before.epoch == 0 {
            self.set(Table { models, ..Table::empty(now_ms().max(before.epoch + 1)) });
        }
    }

    /// The table, unless it could not be refreshed for too long.
    pub(crate) fn table(&self) -> Option<Arc<Table>> {
        let current = self.current.load();
        let trusted = |refreshed: Instant| current.own || refreshed.elapsed() <= TABLE_TRUSTED;
        current.refreshed.is_some_and(trusted).then(|| current.table.clone())
    }

    fn table_as_it_is(&self) -> Arc<Table> {
        self.current.load().table.clone()
    }

    /// The live generations of one place; empty when nothing is known of it.
    pub(crate) fn generations(&self, service: &str, model: &str, version: &str) -> Vec<Generation> {
        let key = (service.to_owned(), model.to_owned(), version.to_owned());
        self.current.load().index.get(&key).cloned().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(instance: &str, beat_ms: u64, generation: u8) -> Heard {
        let served =
            Served { model: "m".into(), version: String::new(), generation: Generation([generation; 32]) };
        let record = Record { service: "s".into(), models: vec![served] };
        Heard { instance: instance.into(), beat_ms, record }
    }

    fn live(heard: &[Heard], now_ms: u64) -> Vec<u8> {
        live_models(heard, now_ms).iter().flat_map(|live| live.generations.iter().map(|g| g.0[0])).collect()
    }

    #[test]
    fn all_that_are_alive_count_and_the_dead_do_not() {
        let heard =
            [heard("a", 100_000, 1), heard("b", 95_000, 2), heard("c", 80_000, 3), heard("d", 99_000, 1)];
        assert_eq!(live(&heard, 100_000), [1, 2]);
    }

    #[test]
    fn when_none_is_alive_the_last_one_counts() {
        let heard = [heard("a", 10_000, 1), heard("b", 20_000, 2)];
        assert_eq!(live(&heard, 900_000), [2]);
    }

    #[test]
    fn the_dead_are_forgotten_once_another_served_the_same_later() {
        let heard = [heard("a", 10_000, 1), heard("b", 20_000, 2)];
        assert_eq!(outdated(&heard, 900_000), ["a"]);
        assert!(outdated(&heard, 15_000).is_empty());
        assert_eq!(outdated(&heard[1..], 20_001 + millis(FORGOTTEN)), ["b"]);
    }

    #[test]
    fn the_epoch_grows_when_the_models_change_and_only_then() {
        let table = LiveTable::new(true);
        assert!(table.table().is_none());
        table.set_models(live_models(&[heard("a", 0, 1)], 0));
        let first = table.table().unwrap().epoch;
        table.set_models(live_models(&[heard("a", 0, 1)], 0));
        assert_eq!(table.table().unwrap().epoch, first);
        table.set_models(live_models(&[heard("a", 0, 2)], 0));
        assert!(table.table().unwrap().epoch > first);
        assert_eq!(table.generations("s", "m", ""), [Generation([2; 32])]);
        assert!(table.generations("other", "m", "").is_empty());
    }
}
