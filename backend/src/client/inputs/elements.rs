//! The values that an input's elements may have, each with a number: a number enters, the value leaves, raw or as JSON. What is
//! made up is made of these, and so is what differs between two requests.

use forebay_protocol::datatype::DataType;
use half::{bf16, f16};

use crate::settings::Range;

/// Digits of made-up strings.
const CHARACTERS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
/// Largest whole number that is made up unless a range says another: one that every datatype holds, and few vocabularies lack.
const MOST: f64 = 127.0;
/// Values of a floating range at most: short as JSON, and enough.
const STEPS: f64 = 1_048_576.0;
/// Up to here each whole number is one of FP64, which ranges are said in.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// The values of one input.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::client) struct Elements {
    pub(in crate::client) datatype: DataType,
    least: f64,
    /// From one value to the next.
    step: f64,
    /// How many values there are.
    count: u64,
    /// Characters, of BYTES.
    length: usize,
}

/// A range that an input can't have.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RangeError {
    #[error("--range: {name} is {datatype}: {expected}")]
    Wrong { name: String, datatype: DataType, expected: String },
}

impl Elements {
    /// # Errors
    /// [`RangeError`]: the datatype has no such values.
    pub(in crate::client) fn of(
        datatype: DataType,
        range: Option<&Range>,
        length: usize,
    ) -> Result<Self, RangeError> {
        let wrong = |expected: String| RangeError::Wrong {
            name: range.map_or_else(String::new, |range| range.name.clone()),
            datatype,
            expected,
        };
        if datatype == DataType::Bytes {
            return match range {
                Some(_) => Err(wrong("strings have no range".to_owned())),
                None => Ok(Self::strings(length)),
            };
        }
        let (lowest, highest) = bounds(datatype);
        let Some((epsilon, smallest)) = fineness(datatype) else {
            let most = if datatype == DataType::Bool { 1.0 } else { MOST };
            let (least, most) = range.map_or((0.0, most), |range| (range.least.ceil(), range.most.floor()));
            if least < lowest || most > highest || least > most {
                return Err(wrong(format!("whole numbers from {lowest} to {highest} are expected")));
            }
            return Ok(Self { datatype, least, step: 1.0, count: whole(most - least) + 1, length: 0 });
        };
        let (least, most) = range.map_or((0.0, 1.0), |range| (range.least, range.most));
        if least < lowest || most > highest {
            return Err(wrong(format!("numbers from {lowest} to {highest} are expected")));
        }
        // As many as the datatype tells apart where its values lie farthest from each other.
        let apart = (least.abs().max(most.abs()) * epsilon).max(smallest);
        let count = whole(((most - least) / apart).min(STEPS)).max(1);
        Ok(Self { datatype, least, step: (most - least) / count as f64, count, length: 0 })
    }

    /// Strings of so many characters.
    pub(in crate::client) fn strings(length: usize) -> Self {
        let exponent = u32::try_from(length).unwrap_or(u32::MAX);
        let count = (CHARACTERS.len() as u64).checked_pow(exponent).unwrap_or(u64::MAX);
        Self { datatype: DataType::Bytes, least: 0.0, step: 0.0, count, length }
    }

    /// How many values there are.
    pub(in crate::client) fn count(&self) -> u64 {
        self.count
    }

    /// Bytes of one in raw form, without the length before a string.
    pub(in crate::client) fn size(&self) -> usize {
        self.datatype.size().unwrap_or(self.length)
    }

    /// Characters of one as JSON at most, without a string's quotes.
    pub(in crate::client) fn width(&self) -> usize {
        match self.datatype {
            DataType::Bool => 5,
            DataType::Bytes => self.length,
            DataType::Fp16 | DataType::Bf16 | DataType::Fp32 => 16,
            DataType::Fp64 => 24,
            _ => 20,
        }
    }

    /// Writes value `number` in raw form over `out`, which has its size.
    pub(in crate::client) fn raw(&self, number: u64, out: &mut [u8]) {
        let value = self.value(number);
        match self.datatype {
            DataType::Bytes => Self::text(number, out),
            DataType::Bool => {
                out.copy_from_slice(&[u8::from(number % 2 == 1 && self.count > 1 || self.least > 0.0)]);
            }
            DataType::Fp16 => out.copy_from_slice(&f16::from_f64(value).to_le_bytes()),
            DataType::Bf16 => out.copy_from_slice(&bf16::from_f64(value).to_le_bytes()),
            DataType::Fp32 => out.copy_from_slice(&narrow(value).to_le_bytes()),
            DataType::Fp64 => out.copy_from_slice(&value.to_le_bytes()),
            // Two's complement: the low bytes are those of every narrower type.
            _ => out.copy_from_slice(&self.integer(number).to_le_bytes()[..out.len()]),
        }
    }

    /// Writes value `number` as JSON over `out`, spaces after it.
    pub(in crate::client) fn json(&self, number: u64, out: &mut [u8]) {
        let (mut floats, mut integers) = (ryu::Buffer::new(), itoa::Buffer::new());
        let text = match self.datatype {
            DataType::Bytes => return Self::text(number, out),
            DataType::Bool => {
                let mut byte = [0];
                self.raw(number, &mut byte);
                if byte == [1] { "true" } else { "false" }
            }
            DataType::Fp64 => floats.format_finite(self.value(number)),
            DataType::Fp32 | DataType::Fp16 | DataType::Bf16 => {
                floats.format_finite(narrow(self.value(number)))
            }
            _ => integers.format(self.integer(number)),
        };
        let (begin, end) = out.split_at_mut(text.len());
        begin.copy_from_slice(text.as_bytes());
        end.fill(b' ');
    }

    fn text(mut number: u64, out: &mut [u8]) {
        let base = CHARACTERS.len() as u64;
        for byte in out.iter_mut().rev() {
            *byte = CHARACTERS[usize::try_from(number % base).unwrap_or(0)];
            number /= base;
        }
    }

    fn value(&self, number: u64) -> f64 {
        self.least + self.step * number as f64
    }

    #[allow(clippy::cast_possible_truncation)] // `of` allows nothing that i128 doesn't hold
    fn integer(&self, number: u64) -> i128 {
        self.least as i128 + i128::from(number)
    }
}

/// Of a floating datatype: how far two values near 1 lie apart, and two near 0; `None` of whole numbers.
fn fineness(datatype: DataType) -> Option<(f64, f64)> {
    match datatype {
        DataType::Bf16 => Some((bf16::EPSILON.to_f64(), bf16::MIN_POSITIVE_SUBNORMAL.to_f64())),
        DataType::Fp16 => Some((f16::EPSILON.to_f64(), f16::MIN_POSITIVE_SUBNORMAL.to_f64())),
        DataType::Fp32 => Some((f64::from(f32::EPSILON), f64::from(f32::from_bits(1)))),
        DataType::Fp64 => Some((f64::EPSILON, f64::from_bits(1))),
        _ => None,
    }
}

/// Least and largest value.
fn bounds(datatype: DataType) -> (f64, f64) {
    match datatype {
        DataType::Bool => (0.0, 1.0),
        DataType::Uint8 => (0.0, f64::from(u8::MAX)),
        DataType::Uint16 => (0.0, f64::from(u16::MAX)),
        DataType::Uint32 => (0.0, f64::from(u32::MAX)),
        DataType::Uint64 => (0.0, EXACT),
        DataType::Int8 => (f64::from(i8::MIN), f64::from(i8::MAX)),
        DataType::Int16 => (f64::from(i16::MIN), f64::from(i16::MAX)),
        DataType::Int32 => (f64::from(i32::MIN), f64::from(i32::MAX)),
        DataType::Int64 => (-EXACT, EXACT),
        DataType::Fp16 => (f64::from(f16::MIN), f64::from(f16::MAX)),
        DataType::Bf16 => (f64::from(bf16::MIN), f64::from(bf16::MAX)),
        DataType::Fp32 => (f64::from(f32::MIN), f64::from(f32::MAX)),
        DataType::Fp64 | DataType::Bytes => (f64::MIN, f64::MAX),
    }
}

#[allow(clippy::cast_possible_truncation)] // the nearest value is meant
fn narrow(value: f64) -> f32 {
    value as f32
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // of two whole numbers, the larger first, within EXACT of 0
fn whole(difference: f64) -> u64 {
    difference as u64
}

#[cfg(test)]
mod tests;
