//! What a trace of version 2 says of itself: when it begins, how long it is, and which keys are in it.

use super::TraceError;
use super::bytes::{Bytes, put};

/// The rate at which all keys are there.
pub const ALL: u32 = u32::MAX;
/// The lowest rate: of keys one in 2^20, so that what stands for them has a bound.
pub const LEAST_RATE: u32 = 1 << 12;
/// The latest beginning.
pub const MOST_BEGIN_MS: u64 = 1 << 46;

/// When a trace was recorded, and of which keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recorded {
    /// In milliseconds since 1970.
    pub begin_ms: u64,
    /// From then on.
    pub length_ms: u32,
    /// A key is in it when its upper 32 bits are below; [`ALL`]: all are.
    pub rate: u32,
}

impl Recorded {
    /// Is a key in it?
    pub fn samples(&self, key: u64) -> bool {
        key >> 32 < u64::from(self.rate)
    }

    /// When it ends.
    pub fn end_ms(&self) -> u64 {
        self.begin_ms + u64::from(self.length_ms)
    }

    /// How long it is.
    pub fn length_us(&self) -> u64 {
        u64::from(self.length_ms) * 1000
    }

    pub(super) fn read(bytes: &mut Bytes<'_>) -> Result<Self, TraceError> {
        let head = || "its beginning".to_owned();
        let begin_ms = bytes.long_number(head)?;
        if begin_ms > MOST_BEGIN_MS {
            return Err(TraceError::Begins(begin_ms));
        }
        let (length_ms, rate) = (bytes.number(head)?, bytes.number(head)?);
        if rate < LEAST_RATE {
            return Err(TraceError::Rate(rate));
        }
        Ok(Self { begin_ms, length_ms, rate })
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        put(out, self.begin_ms);
        put(out, u64::from(self.length_ms));
        put(out, u64::from(self.rate));
    }
}
