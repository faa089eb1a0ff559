//! What was asked, and when: records in the order of time, and a file of them that holds no contents. Its format, version 1:
//!
//! ```text
//! 16 bytes   "forebay-trace v1"
//! number     how many models, 1 to 4096; for each:
//!   number   bytes of its name, 1 to 256; the name, UTF-8
//!   number   seconds for which its answers are fresh; 0: they are not kept
//! records, to the end of the file:
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
/// Models of a trace.
pub const MOST_MODELS: usize = 4096;
/// Bytes of a model's name.
pub const MOST_NAME: usize = 256;
/// Microseconds of a trace.
pub const MOST_US: u64 = 1 << 45;

mod error;

pub use error::TraceError;

const REQUEST: u8 = 0;
const ROLLOUT: u8 = 1;

/// A model of a trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    /// As it is asked for.
    pub name: String,
    /// Seconds for which its answers are fresh; 0: they are not kept.
    pub max_age_s: u32,
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

/// A file that was read: its models, and its records one by one.
#[derive(Debug, Clone)]
pub struct Trace<'a> {
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
        let mut bytes = Bytes(file.strip_prefix(MAGIC).ok_or(TraceError::Magic)?);
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
            models.push(Model { name: name.to_owned(), max_age_s: bytes.number(head)? });
        }
        Ok(Self { models, records: bytes })
    }

    /// Its records, in order; the first wrong one is the last.
    pub fn records(&self) -> Records<'a> {
        Records { bytes: self.records.clone(), models: self.models.len(), number: 0, at_us: 0 }
    }
}

/// The records of a file.
#[derive(Debug, Clone)]
pub struct Records<'a> {
    bytes: Bytes<'a>,
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
        if self.at_us > MOST_US {
            return Err(TraceError::Late(number));
        }
        let model = self.bytes.number(place)?;
        if model as usize >= self.models {
            return Err(TraceError::Unknown { number, model, models: self.models });
        }
        let what = match kind {
            REQUEST => {
                let mut key = [0; 8];
                key.copy_from_slice(self.bytes.take(8, place)?);
                let (cost_us, bytes) = (self.bytes.number(place)?, self.bytes.number(place)?);
                What::Asked { key: u64::from_le_bytes(key), cost_us, bytes }
            }
            ROLLOUT => What::Rollout,
            kind => return Err(TraceError::Kind { number, kind }),
        };
        Ok(Record { at_us: self.at_us, model, what })
    }
}

/// Bytes that are taken from the front.
#[derive(Debug, Clone)]
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize, place: impl Fn() -> String) -> Result<&'a [u8], TraceError> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or_else(|| TraceError::Ends(place()))?;
        self.0 = rest;
        Ok(taken)
    }

    fn number(&mut self, place: impl Fn() -> String) -> Result<u32, TraceError> {
        let number = self.long_number(&place)?;
        u32::try_from(number).map_err(|_| TraceError::Number(place()))
    }

    fn long_number(&mut self, place: impl Fn() -> String) -> Result<u64, TraceError> {
        let mut number = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.take(1, &place)?[0];
            let part = u64::from(byte & 0x7f);
            if part << shift >> shift != part || (byte == 0 && shift > 0) {
                break;
            }
            number |= part << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(TraceError::Number(place()))
    }
}

/// Makes a file: what leaves is bytes, piece by piece.
#[derive(Debug)]
pub struct Writer {
    at_us: u64,
}

impl Writer {
    /// Begins with the list of models.
    pub fn new(models: &[Model], out: &mut Vec<u8>) -> Self {
        out.extend_from_slice(MAGIC);
        put(out, models.len() as u64);
        for model in models {
            put(out, model.name.len() as u64);
            out.extend_from_slice(model.name.as_bytes());
            put(out, u64::from(model.max_age_s));
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

fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    out.push(number.to_le_bytes()[0]);
}

#[cfg(test)]
mod tests;
