//! What was asked, and when: records in the order of time, and a file of them that holds no contents. Version 1 of its format is of a
//! day that is made up, which has no date; version 2 is of one that a gate heard of, from then to then, by those keys that were sampled:
//!
//! ```text
//! 16 bytes   "forebay-trace v1" or "forebay-trace v2"
//! of version 2:
//!   number   when it begins, in milliseconds since 1970, 2^46 at most
//!   number   how many milliseconds it is of
//!   number   which keys are in it, 4096 to 2^32 - 1: those whose upper 32 bits are below, so that each stands for 2^32 by that many;
//!            2^32 - 1: each for itself
//! number     how many models, 1 to 4096; for each:
//!   number   bytes of its name, 1 to 256; the name, UTF-8
//!   number   seconds for which its answers are fresh; 0: they are not kept; in version 2 one more than that, and 0: it is not known
//! records, to the end of the file, in version 2 none later than its end:
//!   byte     0 a request, 1 a rollout: from now on the model's answers are of a new generation
//!   number   microseconds since the record before, of the first since the beginning
//!   number   the model, from 0
//!   of a request:
//!   8 bytes  its key, the first of the hash that the caches know it by; little endian
//!   number   microseconds of compute time
//!   number   bytes of its answer
//! ```
//!
//! A number is LEB128 without zeros at its end, so that a trace has one form. All but times are of 32 bits; a trace is 2^45 microseconds
//! long at most, about a year.

/// What a file begins with; the last two are its version.
pub const MAGIC: &[u8; 16] = b"forebay-trace v1";
/// The same of version 2.
pub const MAGIC_2: &[u8; 16] = b"forebay-trace v2";
/// Models of a trace.
pub const MOST_MODELS: usize = 4096;
/// Bytes of a model's name.
pub const MOST_NAME: usize = 256;
/// Microseconds of a trace.
pub const MOST_US: u64 = 1 << 45;

mod bytes;
mod error;
mod recorded;

use bytes::{Bytes, put};
pub use error::TraceError;
pub use recorded::{ALL, LEAST_RATE, MOST_BEGIN_MS, Recorded};

const REQUEST: u8 = 0;
const ROLLOUT: u8 = 1;

/// A model of a trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    /// As it is asked for.
    pub name: String,
    /// Seconds for which its answers are fresh; 0: they are not kept; `None`: it is not known.
    pub max_age_s: Option<u32>,
}

/// One thing that happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// Microseconds since the beginning.
    pub at_us: u64,
    /// Its place among the models.
    pub model: u32,
    /// What it was.
    pub what: What,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// A request.
    Asked {
        /// Equal ones have the same.
        key: u64,
        /// Compute time of its answer.
        cost_us: u32,
        /// Size of its answer.
        bytes: u32,
    },
    /// Another generation of the model answers from now on.
    Rollout,
}

/// A file that was read: what stands before its records, and them one by one.
#[derive(Debug, Clone)]
pub struct Trace<'a> {
    /// When and how it was recorded: version 2 says it.
    pub recorded: Option<Recorded>,
    /// Which models it names.
    pub models: Vec<Model>,
    records: Bytes<'a>,
}

impl<'a> Trace<'a> {
    /// Reads what stands before the records.
    ///
    /// # Errors
    /// [`TraceError`].
    pub fn read(file: &'a [u8]) -> Result<Self, TraceError> {
        let (magic, rest) = file.split_at_checked(MAGIC.len()).ok_or(TraceError::Magic)?;
        let mut bytes = Bytes(rest);
        let recorded = match magic {
            magic if magic == MAGIC => None,
            magic if magic == MAGIC_2 => Some(Recorded::read(&mut bytes)?),
            _ => return Err(TraceError::Magic),
        };
        let head = || "its list of models".to_owned();
        let count = bytes.number(head)? as usize;
        if !(1..=MOST_MODELS).contains(&count) {
            return Err(TraceError::Models(format!("{count} models; 1 to {MOST_MODELS} may be")));
        }
        let mut models = Vec::new();
        for _ in 0..count {
            let length = bytes.number(head)? as usize;
            if !(1..=MOST_NAME).contains(&length) {
                return Err(TraceError::Models(format!("a name of {length} bytes; 1 to {MOST_NAME} may be")));
            }
            let name = std::str::from_utf8(bytes.take(length, head)?);
            let name = name.map_err(|_| TraceError::Models("a name that is not UTF-8".to_owned()))?;
            let said = bytes.number(head)?;
            let max_age_s = if recorded.is_some() { said.checked_sub(1) } else { Some(said) };
            models.push(Model { name: name.to_owned(), max_age_s });
        }
        Ok(Self { recorded, models, records: bytes })
    }

    /// Its records, in order; the first wrong one is the last.
    pub fn records(&self) -> Records<'a> {
        let bytes = self.records.clone();
        Records { bytes, recorded: self.recorded, models: self.models.len(), number: 0, at_us: 0 }
    }
}

/// The records of a file.
#[derive(Debug, Clone)]
pub struct Records<'a> {
    bytes: Bytes<'a>,
    recorded: Option<Recorded>,
    models: usize,
    number: u64,
    at_us: u64,
}

impl Iterator for Records<'_> {
    type Item = Result<Record, TraceError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.bytes.0.is_empty() {
            return None;
        }
        self.number += 1;
        let record = self.record();
        if record.is_err() {
            self.bytes.0 = &[];
        }
        Some(record)
    }
}

impl Records<'_> {
    fn record(&mut self) -> Result<Record, TraceError> {
        let number = self.number;
        let place = || format!("record {number}");
        let kind = self.bytes.take(1, place)?[0];
        let gap = self.bytes.long_number(place)?;
        self.at_us = self.at_us.saturating_add(gap);
        let most_us = self.recorded.map_or(MOST_US, |recorded| recorded.length_us());
        if self.at_us > most_us {
            return Err(TraceError::Late { number, most_us });
        }
        let model = self.bytes.number(place)?;
        if model as usize >= self.models {
            return Err(TraceError::Unknown { number, model, models: self.models });
        }
        let what = match kind {
            REQUEST => {
                let mut key = [0; 8];
                key.copy_from_slice(self.bytes.take(8, place)?);
                let key = u64::from_le_bytes(key);
                if self.recorded.is_some_and(|recorded| !recorded.samples(key)) {
                    return Err(TraceError::Unsampled(number));
                }
                let (cost_us, bytes) = (self.bytes.number(place)?, self.bytes.number(place)?);
                What::Asked { key, cost_us, bytes }
            }
            ROLLOUT => What::Rollout,
            kind => return Err(TraceError::Kind { number, kind }),
        };
        Ok(Record { at_us: self.at_us, model, what })
    }
}

/// Makes a file: what leaves is bytes, piece by piece.
#[derive(Debug)]
pub struct Writer {
    at_us: u64,
}

impl Writer {
    /// Begins with how it was recorded, which makes it one of version 2, and the list of models.
    pub fn new(recorded: Option<&Recorded>, models: &[Model], out: &mut Vec<u8>) -> Self {
        out.extend_from_slice(if recorded.is_some() { MAGIC_2 } else { MAGIC });
        if let Some(recorded) = recorded {
            recorded.write(out);
        }
        put(out, models.len() as u64);
        for model in models {
            put(out, model.name.len() as u64);
            out.extend_from_slice(model.name.as_bytes());
            // The longest is as good as one that is a second shorter.
            let known = model.max_age_s.map(|max_age_s| max_age_s.min(u32::MAX - 1) + 1);
            let said = if recorded.is_some() { known.unwrap_or(0) } else { model.max_age_s.unwrap_or(0) };
            put(out, u64::from(said));
        }
        Self { at_us: 0 }
    }

    /// Adds a record, which must not be before the last.
    pub fn put(&mut self, record: &Record, out: &mut Vec<u8>) {
        let kind = match record.what {
            What::Asked { .. } => REQUEST,
            What::Rollout => ROLLOUT,
        };
        out.push(kind);
        put(out, record.at_us.saturating_sub(self.at_us));
        self.at_us = self.at_us.max(record.at_us);
        put(out, u64::from(record.model));
        if let What::Asked { key, cost_us, bytes } = record.what {
            out.extend_from_slice(&key.to_le_bytes());
            put(out, u64::from(cost_us));
            put(out, u64::from(bytes));
        }
    }
}

#[cfg(test)]
mod tests;
