//! Traces of hours and gates -> one: records in the order of time, models by their names, and where the hours leave gaps or lie over each
//! other. It has the lowest rate of them all, so that a key is in it wherever it was asked or nowhere.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use crate::trace::{ALL, MOST_MODELS, MOST_US, Model, Record, Trace, What};

/// Gates that see one rollout see it within so many microseconds: each looks once a second, and their clocks are a little apart.
const ONE_ROLLOUT_US: u64 = 5_000_000;

/// Several traces as one.
#[derive(Debug)]
pub struct Merged<'a> {
    /// When it begins, in milliseconds since 1970; `None` of one that is of no date.
    pub begin_ms: Option<u64>,
    /// Which keys are in it.
    pub rate: u32,
    /// All that are named; what the trace that begins last knows holds.
    pub models: Vec<Model>,
    /// How they lie to each other.
    pub seams: Seams,
    parts: Vec<Part<'a>>,
}

/// How traces lie to each other in time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seams {
    /// Times of which no trace is, between the first and the last.
    pub gaps: u32,
    /// How long they are together.
    pub gaps_ms: u64,
    /// Traces that begin before all that began earlier have ended: another gate's, or a file twice.
    pub overlaps: u32,
    /// How long they lie over those, together.
    pub overlaps_ms: u64,
}

/// Traces that can't be one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MergeError {
    /// It is not known where it belongs.
    #[error("trace {0} is of version 1, which does not say when it begins: it can only be read alone")]
    Undated(usize),
    /// The first and the last are too far apart.
    #[error("the traces are of more than 2^45 microseconds, about a year, from the first to the last")]
    Long,
    /// There is no room for their models.
    #[error("the traces name {0} models together; {MOST_MODELS} may be")]
    Models(usize),
}

#[derive(Debug)]
struct Part<'a> {
    trace: Trace<'a>,
    /// When it begins, after the first.
    after_us: u64,
    /// Of each model, its place among all.
    places: Vec<u32>,
}

impl<'a> Merged<'a> {
    /// Brings them together, in whatever order they are.
    ///
    /// # Errors
    /// [`MergeError`].
    pub fn of(mut traces: Vec<Trace<'a>>) -> Result<Self, MergeError> {
        if traces.len() > 1
            && let Some(place) = traces.iter().position(|trace| trace.recorded.is_none())
        {
            return Err(MergeError::Undated(place + 1));
        }
        traces.sort_by_key(|trace| trace.recorded.map(|recorded| recorded.begin_ms));
        let begin_ms = traces.first().and_then(|trace| trace.recorded).map(|recorded| recorded.begin_ms);
        let rates = traces.iter().filter_map(|trace| trace.recorded).map(|recorded| recorded.rate);
        let mut merged = Self {
            begin_ms,
            rate: rates.min().unwrap_or(ALL),
            models: Vec::new(),
            seams: Seams::of(&traces),
            parts: Vec::new(),
        };
        let mut known = HashMap::new();
        for trace in traces {
            merged.add(trace, &mut known)?;
        }
        if merged.models.len() > MOST_MODELS {
            return Err(MergeError::Models(merged.models.len()));
        }
        Ok(merged)
    }

    fn add(&mut self, trace: Trace<'a>, known: &mut HashMap<String, u32>) -> Result<(), MergeError> {
        let recorded = trace.recorded;
        let begins_ms = recorded.map_or(0, |recorded| recorded.begin_ms - self.begin_ms.unwrap_or(0));
        let after_us = begins_ms.saturating_mul(1000);
        if after_us.saturating_add(recorded.map_or(0, |recorded| recorded.length_us())) > MOST_US {
            return Err(MergeError::Long);
        }
        let place = |model: &Model| {
            let next = u32::try_from(self.models.len()).unwrap_or(u32::MAX);
            let place = *known.entry(model.name.clone()).or_insert(next);
            match self.models.get_mut(place as usize) {
                Some(before) => before.max_age_s = model.max_age_s.or(before.max_age_s),
                None => self.models.push(model.clone()),
            }
            place
        };
        let places = trace.models.iter().map(place).collect();
        self.parts.push(Part { trace, after_us, places });
        Ok(())
    }

    /// Its records, as far as each trace is right. A rollout that several gates have seen is one.
    pub fn records(&self) -> impl Iterator<Item = Record> {
        let mut parts: Vec<_> = self.parts.iter().map(|part| part.records(self.rate)).collect();
        let next: Vec<_> = parts.iter_mut().map(Iterator::next).collect();
        let times =
            next.iter().zip(0..).filter_map(|(record, part)| Some(Reverse((record.as_ref()?.at_us, part))));
        let (are_several, mut rolled_out) = (self.parts.len() > 1, HashMap::new());
        let is_first = move |record: &Record| {
            let Record { at_us, model, what: What::Rollout } = *record else { return true };
            let before = rolled_out.insert(model, at_us).filter(|_| are_several);
            before.is_none_or(|before| at_us - before > ONE_ROLLOUT_US)
        };
        Records { times: times.collect(), next, parts }.filter(is_first)
    }
}

impl Part<'_> {
    fn records(&self, rate: u32) -> impl Iterator<Item = Record> {
        let is_in = move |record: &Record| match record.what {
            What::Asked { key, .. } => rate == ALL || key >> 32 < u64::from(rate),
            What::Rollout => true,
        };
        let placed = move |record: Record| Record {
            at_us: record.at_us + self.after_us,
            model: self.places.get(record.model as usize).copied().unwrap_or(0),
            ..record
        };
        self.trace.records().map_while(Result::ok).filter(is_in).map(placed)
    }
}

impl Seams {
    /// Of traces in the order of their beginnings.
    fn of(traces: &[Trace<'_>]) -> Self {
        let mut seams = Self::default();
        let mut recorded = traces.iter().filter_map(|trace| trace.recorded);
        let Some(first) = recorded.next() else { return seams };
        let mut end_ms = first.end_ms();
        for next in recorded {
            if next.begin_ms > end_ms {
                seams.gaps += 1;
                seams.gaps_ms += next.begin_ms - end_ms;
            } else if next.begin_ms < end_ms {
                seams.overlaps += 1;
                seams.overlaps_ms += next.end_ms().min(end_ms) - next.begin_ms;
            }
            end_ms = end_ms.max(next.end_ms());
        }
        seams
    }
}

/// The records of all, in order.
struct Records<I> {
    parts: Vec<I>,
    /// The next of each.
    next: Vec<Option<Record>>,
    /// When they come.
    times: BinaryHeap<Reverse<(u64, usize)>>,
}

impl<I: Iterator<Item = Record>> Iterator for Records<I> {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        let Reverse((_, part)) = self.times.pop()?;
        let next = self.parts.get_mut(part)?.next();
        if let Some(next) = &next {
            self.times.push(Reverse((next.at_us, part)));
        }
        std::mem::replace(self.next.get_mut(part)?, next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::{Recorded, Writer};

    /// A trace of a second from then on, of some models, with a request of the first for each key at each tenth of it.
    fn file(begin_ms: u64, rate: u32, models: &[(&str, Option<u32>)], keys: &[u64]) -> Vec<u8> {
        let models: Vec<Model> = models
            .iter()
            .map(|(name, max_age_s)| Model { name: (*name).to_owned(), max_age_s: *max_age_s })
            .collect();
        let mut file = Vec::new();
        let recorded = Recorded { begin_ms, length_ms: 1000, rate };
        let mut writer = Writer::new(Some(&recorded), &models, &mut file);
        for (number, key) in (0..).zip(keys) {
            let what = What::Asked { key: *key, cost_us: 1, bytes: 1 };
            writer.put(&Record { at_us: number * 100_000, model: 0, what }, &mut file);
        }
        file
    }

    fn read(files: &[Vec<u8>]) -> Vec<Trace<'_>> {
        files.iter().map(|file| Trace::read(file).unwrap()).collect()
    }

    #[test]
    fn records_come_in_the_order_of_time_by_their_models_names() {
        let files = [
            file(5500, ALL, &[("b", None), ("a", Some(9))], &[3, 4]),
            file(5000, ALL, &[("a", Some(60)), ("b", Some(7))], &[1, 2]),
            file(8000, ALL, &[("a", None)], &[5]),
        ];
        let merged = Merged::of(read(&files)).unwrap();
        let model = |name: &str, max_age_s| Model { name: name.to_owned(), max_age_s };
        assert_eq!(merged.models, [model("a", Some(9)), model("b", Some(7))]);
        assert_eq!((merged.begin_ms, merged.rate), (Some(5000), ALL));
        let seams = Seams { gaps: 1, gaps_ms: 1500, overlaps: 1, overlaps_ms: 500 };
        assert_eq!(merged.seams, seams);
        let all: Vec<_> = merged.records().map(|record| (record.at_us, record.model, record.what)).collect();
        let asked = |key| What::Asked { key, cost_us: 1, bytes: 1 };
        let expected = [
            (0, 0, asked(1)),
            (100_000, 0, asked(2)),
            (500_000, 1, asked(3)),
            (600_000, 1, asked(4)),
            (3_000_000, 0, asked(5)),
        ];
        assert_eq!(all, expected);
    }

    #[test]
    fn a_rollout_that_several_gates_have_seen_is_one() {
        let seen = |begin_ms, at_us: &[u64]| {
            let mut file = Vec::new();
            let recorded = Recorded { begin_ms, length_ms: 60_000, rate: ALL };
            let models = [Model { name: "m".to_owned(), max_age_s: None }];
            let mut writer = Writer::new(Some(&recorded), &models, &mut file);
            for at_us in at_us {
                writer.put(&Record { at_us: *at_us, model: 0, what: What::Rollout }, &mut file);
            }
            file
        };
        let (one, other) = (seen(5000, &[10_000_000, 30_000_000]), seen(5500, &[11_000_000, 29_000_000]));
        let times = |files: &[Vec<u8>]| -> Vec<u64> {
            Merged::of(read(files)).unwrap().records().map(|record| record.at_us).collect()
        };
        assert_eq!(times(&[one.clone(), other]), [10_000_000, 29_500_000]);
        assert_eq!(times(&[one]), [10_000_000, 30_000_000]);
        // What one has seen twice was twice.
        assert_eq!(times(&[seen(0, &[1, 2])]), [1, 2]);
    }

    #[test]
    fn keys_that_one_of_them_leaves_out_are_left_out_of_all() {
        let (low, high) = (1 << 20, 1 << 24);
        let [in_both, in_one] = [u64::from(low - 1) << 32, u64::from(low) << 32];
        let files =
            [file(0, high, &[("m", None)], &[in_both, in_one]), file(0, low, &[("m", None)], &[in_both])];
        let merged = Merged::of(read(&files)).unwrap();
        assert_eq!((merged.rate, merged.records().count()), (low, 2));
    }

    #[test]
    fn what_can_not_be_one_says_why() {
        let mut undated = Vec::new();
        let _ = Writer::new(None, &[Model { name: "m".to_owned(), max_age_s: Some(1) }], &mut undated);
        let dated = file(0, ALL, &[("m", None)], &[]);
        let refused = |files: &[Vec<u8>]| Merged::of(read(files)).unwrap_err().to_string();
        assert!(refused(&[dated.clone(), undated.clone()]).contains("trace 2 is of version 1"));
        assert!(Merged::of(read(&[undated])).is_ok_and(|alone| alone.begin_ms.is_none()));
        assert!(refused(&[dated, file(1 << 40, ALL, &[("m", None)], &[])]).contains("about a year"));
        let names: Vec<String> = (0..=MOST_MODELS).map(|number| number.to_string()).collect();
        let names: Vec<_> = names.iter().map(|name| (name.as_str(), None)).collect();
        let (first, second) = names.split_at(10);
        assert!(refused(&[file(0, ALL, first, &[]), file(0, ALL, second, &[])]).contains("4097 models"));
    }
}
