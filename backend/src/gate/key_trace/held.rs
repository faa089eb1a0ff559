//! Rows of sampled keys, which come late and in any order, and rollouts -> those of a time that is over, all keys by one rate: the lowest
//! that any report of that time had.
//!
//! What proxies tell is not believed farther than it may be: times from so long ago to so soon, models so many and of such names, keys
//! that their rate samples. When there are too many rows the rate is halved, as a proxy does it, so that what stays is all of the keys that
//! stay.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use forebay_protocol::poll::Trace;
use forebay_protocol::service;
use forebay_simulate::trace::{ALL, LEAST_RATE, MOST_NAME, What};
use metrics::Counter;

use super::dropped::Dropped;
use super::rollouts::Rollouts;
use crate::settings::KeyTraceConfig;

/// A row comes so much later than what it tells of at most, in milliseconds: a worker tells each ten seconds, and a poll may be lost.
pub(super) const LATE_MS: u64 = 60_000;
/// So far the clock of a proxy may be ahead.
const AHEAD_MS: u64 = 60_000;
/// Rows at most: 12 MiB.
const MOST_ROWS: usize = 1 << 18;
/// A row takes so many bytes of a file at most, and all rows half of what the folder may hold.
const ROW_BYTES: u64 = 32;
/// Models at most.
pub(super) const MOST_MODELS: usize = 1000;

/// A request of a sampled key, or a rollout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) at_ms: u64,
    pub(super) model: Arc<str>,
    pub(super) what: What,
}

/// What was asked from then to then.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Period {
    pub(super) begin_ms: u64,
    pub(super) end_ms: u64,
    /// Keys are in it by this.
    pub(super) rate: u32,
    pub(super) rows: Vec<Row>,
    /// For how long answers are fresh, of models of which it is known.
    pub(super) fresh: HashMap<Arc<str>, u32>,
}

/// Rows of a time that is not over.
#[derive(Debug)]
struct Open {
    rate: u32,
    rows: Vec<Row>,
}

/// All that is held.
pub(super) struct Held {
    /// By when they begin, in whole lengths since 1970.
    open: BTreeMap<u64, Open>,
    length_ms: u64,
    /// What was before is over.
    begin_ms: u64,
    started_ms: u64,
    rows: usize,
    most_rows: usize,
    /// No rate that may be makes room.
    is_full: bool,
    /// By name, what is known of freshness.
    models: HashMap<Arc<str>, Option<u32>>,
    rollouts: Rollouts,
    dropped: Dropped,
}

fn hash(key: u64) -> u32 {
    u32::try_from(key >> 32).unwrap_or(u32::MAX)
}

impl Row {
    /// Whether it is of a key that the rate samples; a rollout is of all.
    fn is_in(&self, rate: u32) -> bool {
        match self.what {
            What::Asked { key, .. } => hash(key) < rate,
            What::Rollout => true,
        }
    }
}

impl Open {
    /// Leaves out what the rate does; how many rows that are.
    fn thin(&mut self) -> usize {
        let before = self.rows.len();
        self.rows.retain(|row| row.is_in(self.rate));
        before - self.rows.len()
    }
}

impl Held {
    pub(super) fn new(config: &KeyTraceConfig, rollouts: Rollouts, now_ms: u64) -> Self {
        let most_rows = usize::try_from(config.bytes / 2 / ROW_BYTES).unwrap_or(usize::MAX);
        Self {
            open: BTreeMap::new(),
            length_ms: config.length.as_secs().saturating_mul(1000).max(1),
            begin_ms: now_ms.saturating_sub(LATE_MS),
            started_ms: now_ms,
            rows: 0,
            most_rows: most_rows.min(MOST_ROWS),
            is_full: false,
            models: HashMap::new(),
            rollouts,
            dropped: Dropped::new(),
        }
    }

    /// Takes the rows of a report, by the rate that it had.
    pub(super) fn take(&mut self, rows: Vec<Trace>, rate: u32, now_ms: u64) {
        self.look(now_ms);
        if rate < LEAST_RATE {
            return self.dropped.rate.increment(rows.len() as u64);
        }
        // Who has no rows may have left out what is asked now.
        if rows.is_empty() {
            self.opened(now_ms, rate);
        }
        for row in rows {
            if let Err(dropped) = self.hold(&row, rate, now_ms) {
                dropped.increment(1);
            }
        }
    }

    fn hold(&mut self, row: &Trace, rate: u32, now_ms: u64) -> Result<(), &Counter> {
        if row.at_ms < self.begin_ms {
            return Err(&self.dropped.late);
        }
        if row.at_ms > now_ms.saturating_add(AHEAD_MS) {
            return Err(&self.dropped.ahead);
        }
        if hash(row.key) >= rate {
            return Err(&self.dropped.rate);
        }
        if self.is_full {
            return Err(&self.dropped.room);
        }
        let Some(model) = self.model(&row.service, &row.model) else { return Err(&self.dropped.models) };
        let open = self.opened(row.at_ms, rate);
        if hash(row.key) >= open.rate {
            return Ok(());
        }
        let clamped = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        let (cost_us, bytes) = (clamped(row.cost_us), clamped(row.bytes));
        open.rows.push(Row { at_ms: row.at_ms, model, what: What::Asked { key: row.key, cost_us, bytes } });
        self.counted();
        Ok(())
    }

    /// Looks which models answer otherwise from now on; of those that nobody has asked nothing is said.
    fn look(&mut self, now_ms: u64) {
        for (service, model) in self.rollouts.since() {
            self.rolled_out(&format!("{service}/{model}"), now_ms);
        }
    }

    fn rolled_out(&mut self, model: &str, now_ms: u64) {
        let Some((model, _)) = self.models.get_key_value(model) else { return };
        if self.is_full {
            return self.dropped.room.increment(1);
        }
        let row = Row { at_ms: now_ms, model: model.clone(), what: What::Rollout };
        self.opened(now_ms, ALL).rows.push(row);
        self.counted();
    }

    fn counted(&mut self) {
        self.rows += 1;
        if self.rows >= self.most_rows {
            self.make_room();
        }
    }

    /// What is open at that time; its rate is no higher than that.
    fn opened(&mut self, at_ms: u64, rate: u32) -> &mut Open {
        let begin_ms = at_ms - at_ms % self.length_ms;
        let open = self.open.entry(begin_ms).or_insert(Open { rate: ALL, rows: Vec::new() });
        open.rate = open.rate.min(rate);
        open
    }

    /// The model's name in a trace, if there is room for it.
    fn model(&mut self, of: &str, model: &str) -> Option<Arc<str>> {
        if !service::is_name(of) || model.is_empty() || of.len() + 1 + model.len() > MOST_NAME {
            return None;
        }
        let name = format!("{of}/{model}");
        if let Some((name, _)) = self.models.get_key_value(&*name) {
            return Some(name.clone());
        }
        (self.models.len() < MOST_MODELS).then(|| {
            let name: Arc<str> = name.into();
            self.models.insert(name.clone(), None);
            name
        })
    }

    pub(super) fn learn(&mut self, service: &str, model: &str, max_age_s: u32) {
        if let Some(name) = self.model(service, model) {
            self.models.insert(name, Some(max_age_s));
        }
    }

    /// Leaves out rows until a quarter is free: first those that are in no file anyhow, then by half the rate, where most are.
    fn make_room(&mut self) {
        self.rows -= self.open.values_mut().map(Open::thin).sum::<usize>();
        let enough = self.most_rows - self.most_rows / 4;
        while self.rows > enough {
            let halved = self.open.values_mut().filter(|open| open.rate / 2 >= LEAST_RATE);
            let Some(most) = halved.max_by_key(|open| open.rows.len()).filter(|open| !open.rows.is_empty())
            else {
                break;
            };
            most.rate /= 2;
            self.rows -= most.thin();
        }
        self.is_full = self.rows >= self.most_rows;
    }

    /// What is over, and what comes to it now comes too late.
    pub(super) fn over(&mut self, now_ms: u64) -> Vec<Period> {
        self.look(now_ms);
        let until_ms = now_ms.saturating_sub(LATE_MS);
        let until_ms = until_ms - until_ms % self.length_ms;
        let later = self.open.split_off(&until_ms);
        let over = std::mem::replace(&mut self.open, later);
        let over =
            over.into_iter().filter_map(|(begin_ms, open)| self.period(begin_ms, open, u64::MAX)).collect();
        self.begin_ms = self.begin_ms.max(until_ms);
        if self.models.len() >= MOST_MODELS {
            self.models.retain(|name, _| Arc::strong_count(name) > 1);
        }
        over
    }

    /// All that there is, at the end.
    pub(super) fn all(&mut self, now_ms: u64) -> Vec<Period> {
        self.look(now_ms);
        let all = std::mem::take(&mut self.open);
        all.into_iter().filter_map(|(begin_ms, open)| self.period(begin_ms, open, now_ms)).collect()
    }

    /// A time whose rows are all there, or all that there are by then; `None` if there are none.
    fn period(&mut self, begin_ms: u64, open: Open, now_ms: u64) -> Option<Period> {
        self.rows -= open.rows.len();
        self.is_full = false;
        let Open { rate, mut rows } = open;
        rows.retain(|row| row.is_in(rate));
        rows.sort_by_key(|row| row.at_ms);
        let (first_ms, last_ms) = (rows.first()?.at_ms, rows.last()?.at_ms);
        let fresh = |row: &Row| Some((row.model.clone(), (*self.models.get(&row.model)?)?));
        Some(Period {
            // Nobody has heard of what was before the start, but by chance.
            begin_ms: begin_ms.max(self.started_ms.min(first_ms)),
            end_ms: (begin_ms + self.length_ms).min(now_ms.max(last_ms)),
            rate,
            fresh: rows.iter().filter_map(fresh).collect(),
            rows,
        })
    }
}

#[cfg(test)]
mod tests;
