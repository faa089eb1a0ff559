//! Bytes of a trace -> numbers, each in the one form that it may have; and numbers -> bytes.

use super::TraceError;

/// Bytes that are taken from the front.
#[derive(Debug, Clone)]
pub(super) struct Bytes<'a>(pub(super) &'a [u8]);

impl<'a> Bytes<'a> {
    pub(super) fn take(&mut self, count: usize, place: impl Fn() -> String) -> Result<&'a [u8], TraceError> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or_else(|| TraceError::Ends(place()))?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn number(&mut self, place: impl Fn() -> String) -> Result<u32, TraceError> {
        let number = self.long_number(&place)?;
        u32::try_from(number).map_err(|_| TraceError::Number(place()))
    }

    pub(super) fn long_number(&mut self, place: impl Fn() -> String) -> Result<u64, TraceError> {
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

/// Adds a number.
pub(super) fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    out.push(number.to_le_bytes()[0]);
}
