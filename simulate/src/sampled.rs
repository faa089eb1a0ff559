//! Records of sampled keys -> records of as many keys as there were. Each sampled key stands for 2^32 by the rate, so each of its requests
//! is made that often: once by its own key, then by others that are made of it and of a number, the same each time. A copy's requests
//! come a little later than the key's own, all by the same time: so the load is spread as that of many keys is, each key is asked in its
//! own rhythm, and a cache has as many entries to keep as it had.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::hash::BuildHasherDefault;

use crate::tier::{KeyHasher, mixed};
use crate::trace::{ALL, Record, What};

/// The latest that a copy comes after its original, in microseconds. Between two sampled requests of a busy proxy is less.
pub const SPREAD_US: u64 = 1_000_000;
/// Ways of one seed to chance.
const COPIES: u64 = 5;
const LATER: u64 = 6;

/// How many keys a sampled one stands for, on average.
pub fn keys_each(rate: u32) -> f64 {
    if rate == ALL { 1.0 } else { (1_u64 << 32) as f64 / f64::from(rate) }
}

/// How far the number of requests may be off, since by chance a busy key is sampled or is not: the standard deviation, as a part of
/// the number. Sampled records enter.
pub fn deviation(records: impl Iterator<Item = Record>, rate: u32) -> f64 {
    let mut times: HashMap<u64, u64, BuildHasherDefault<KeyHasher>> = HashMap::default();
    for record in records {
        if let What::Asked { key, .. } = record.what {
            *times.entry(mixed(key, u64::from(record.model))).or_default() += 1;
        }
    }
    let (mut sum, mut squares) = (0.0, 0.0);
    for times in times.into_values().map(|times| times as f64) {
        sum += times;
        squares += times * times;
    }
    let left_out = 1.0 - 1.0 / keys_each(rate);
    if sum > 0.0 { (left_out * squares).sqrt() / sum } else { 0.0 }
}

/// Records, in order, of all keys that the sampled ones stand for.
pub fn expanded<I: Iterator<Item = Record>>(records: I, rate: u32, seed: u64) -> Expanded<I> {
    Expanded { records, next: None, due: BinaryHeap::new(), number: 0, rate, seed }
}

/// See [`expanded`].
#[derive(Debug)]
pub struct Expanded<I> {
    records: I,
    /// Taken, and not gone yet.
    next: Option<Record>,
    due: BinaryHeap<Reverse<Due>>,
    /// Of what is due, so that equal times stay in order.
    number: u64,
    rate: u32,
    seed: u64,
}

/// What comes later than it was read.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Due {
    at_us: u64,
    number: u64,
    model: u32,
    key: u64,
    cost_us: u32,
    bytes: u32,
}

impl<I: Iterator<Item = Record>> Iterator for Expanded<I> {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        if self.next.is_none() {
            self.next = self.records.next();
        }
        let read_us = self.next.map(|record| record.at_us);
        if let Some(Reverse(due)) = self.due.peek()
            && read_us.is_none_or(|read_us| due.at_us < read_us)
        {
            let Reverse(Due { at_us, model, key, cost_us, bytes, .. }) = self.due.pop()?;
            return Some(Record { at_us, model, what: What::Asked { key, cost_us, bytes } });
        }
        let record = self.next.take()?;
        self.copy(&record);
        Some(record)
    }
}

impl<I> Expanded<I> {
    fn copy(&mut self, record: &Record) {
        let What::Asked { key, cost_us, bytes } = record.what else { return };
        for copy in 1..self.copies(key) {
            let key = mixed(key, copy);
            let at_us = record.at_us + mixed(key, self.seed ^ LATER) % SPREAD_US;
            self.number += 1;
            let due = Due { at_us, number: self.number, model: record.model, key, cost_us, bytes };
            self.due.push(Reverse(due));
        }
    }

    /// How many keys that one stands for: a part of one by chance, by the key.
    fn copies(&self, key: u64) -> u64 {
        if self.rate == ALL {
            return 1;
        }
        let (keys, rate) = (1_u64 << 32, u64::from(self.rate.max(1)));
        let is_more = mixed(key, self.seed ^ COPIES) % rate < keys % rate;
        keys / rate + u64::from(is_more)
    }
}

#[cfg(test)]
mod tests;
