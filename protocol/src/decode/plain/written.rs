//! A number as it is written: text enters, its digits leave, and from them its value.

use crate::decode::number;

/// Longest number that is read here, in bytes.
const MAX_NUMBER_BYTES: usize = 64;

/// A number as it is written.
pub(super) struct Number<'t> {
    text: &'t [u8],
    is_negative: bool,
    /// All digits without the point, where they fit.
    digits: u64,
    /// How many of them are behind it.
    decimals: usize,
    form: Form,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Integer,
    Decimal,
    /// It has an exponent, or more digits than fit: its text says what it is.
    Other,
}

impl<'t> Number<'t> {
    /// The number that the text begins with, and what follows it.
    #[inline]
    pub(super) fn read(text: &'t [u8]) -> Option<(Self, &'t [u8])> {
        let (is_negative, unsigned) = match text.strip_prefix(b"-") {
            Some(unsigned) => (true, unsigned),
            None => (false, text),
        };
        let mut digits = 0;
        let mut rest = match unsigned {
            // Most fractions have one digit in front.
            [digit @ b'0'..=b'9', rest @ ..] if rest.first() == Some(&b'.') => {
                digits = u64::from(digit & 0x0f);
                rest
            }
            _ => read_digits(unsigned, &mut digits),
        };
        let whole = unsigned.len().wrapping_sub(rest.len());
        if whole == 0 || (whole > 1 && unsigned.first() == Some(&b'0')) {
            return None;
        }
        let (mut form, mut decimals) = (Form::Integer, 0);
        if let Some(fraction) = rest.strip_prefix(b".") {
            rest = read_digits(fraction, &mut digits);
            decimals = fraction.len().wrapping_sub(rest.len());
            if decimals == 0 {
                return None;
            }
            form = Form::Decimal;
        }
        if let Some((b'e' | b'E', exponent)) = rest.split_first() {
            let unsigned = match exponent.split_first() {
                Some((b'+' | b'-', unsigned)) => unsigned,
                _ => exponent,
            };
            rest = read_digits(unsigned, &mut 0);
            if rest.len() == unsigned.len() {
                return None;
            }
            form = Form::Other;
        }
        // 19 digits fit into 64 bits; a zero in front is none.
        let digits_in_front = if unsigned.first() == Some(&b'0') { 0 } else { whole };
        if digits_in_front.wrapping_add(decimals) > 19 {
            form = Form::Other;
        }
        let text = text.get(..text.len().wrapping_sub(rest.len()))?;
        if text.len() > MAX_NUMBER_BYTES {
            return None;
        }
        Some((Self { text, is_negative, digits, decimals, form }, rest))
    }

    /// Its value, if it is finite.
    #[inline]
    pub(super) fn double(&self) -> Option<f64> {
        self.exact().or_else(|| number::nearest(self.text))
    }

    /// The single that its value rounds to, if it is finite as a double.
    #[inline]
    pub(super) fn single(&self) -> Option<f32> {
        if let Some(value) = self.exact() {
            return Some(number::single(value));
        }
        match number::single_near(self.digits, self.decimals).filter(|_| self.form != Form::Other) {
            Some(single) => Some(if self.is_negative { -single } else { single }),
            None => number::nearest(self.text).map(number::single),
        }
    }

    /// The double that it is, if it is exactly one.
    #[inline]
    fn exact(&self) -> Option<f64> {
        let value = number::exact(self.digits, self.decimals).filter(|_| self.form != Form::Other)?;
        Some(if self.is_negative { -value } else { value })
    }

    /// Its value, if it is an integer.
    #[inline]
    pub(super) fn integer(&self) -> Option<i128> {
        let digits = i128::from(self.digits);
        match self.form {
            Form::Integer => Some(if self.is_negative { digits.wrapping_neg() } else { digits }),
            Form::Decimal => None,
            Form::Other => number::integer(self.text, i64::MIN.into(), u64::MAX.into()).ok(),
        }
    }
}

/// Appends the digits that the text begins with to `number`, modulo 2^64; what follows them leaves.
#[inline]
fn read_digits<'t>(mut text: &'t [u8], number: &mut u64) -> &'t [u8] {
    while let Some(eight) = text.first_chunk::<8>() {
        let (count, value) = digits_of_eight(u64::from_le_bytes(*eight));
        *number = number.wrapping_mul(POWERS.get(count).copied().unwrap_or(1)).wrapping_add(value);
        text = text.get(count..).unwrap_or_default();
        if count < 8 {
            return text;
        }
    }
    while let Some((digit @ b'0'..=b'9', rest)) = text.split_first() {
        *number = number.wrapping_mul(10).wrapping_add(u64::from(digit & 0x0f));
        text = rest;
    }
    text
}

/// Powers of ten, by how many digits follow.
const POWERS: [u64; 9] = [1, 10, 100, 1000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000];

/// Of eight characters, the first one lowest: how many of the first are digits, and the number that these are.
#[inline]
fn digits_of_eight(text: u64) -> (usize, u64) {
    let values = text ^ 0x3030_3030_3030_3030;
    // The high bit of each character that is no digit; behind the first such, carries may set others.
    let others = (values.wrapping_add(0x7676_7676_7676_7676) | values) & 0x8080_8080_8080_8080;
    let count = others.trailing_zeros() / 8;
    // Zeros come in front of fewer than eight.
    let values = values.unbounded_shl(64_u32.saturating_sub(count.wrapping_mul(8)));
    // Pairs, then fours, then all: each step multiplies the first half and adds the second.
    let pairs = values.wrapping_mul(10).wrapping_add(values >> 8);
    let (even, odd) = (pairs & 0x0000_00ff_0000_00ff, (pairs >> 16) & 0x0000_00ff_0000_00ff);
    let all = even.wrapping_mul(0x000f_4240_0000_0064).wrapping_add(odd.wrapping_mul(0x0000_2710_0000_0001));
    (count as usize, all >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_digits_are_a_number_and_fewer_too() {
        for (text, found) in [
            (b"12345678", (8, 12_345_678)),
            (b"00000001", (8, 1)),
            (b"99999999", (8, 99_999_999)),
            (b"1234567,", (7, 1_234_567)),
            (b"0,999999", (1, 0)),
            (b"9]}]}\xff\xff\xff", (1, 9)),
            (b".1234567", (0, 0)),
            (b"/1234567", (0, 0)),
            (b":1234567", (0, 0)),
            (b"\xb0\xb1\xb2\xb3\xb4\xb5\xb6\xb7", (0, 0)),
            (b"12:/3456", (2, 12)),
        ] {
            assert_eq!(digits_of_eight(u64::from_le_bytes(*text)), found, "{}", text.escape_ascii());
        }
    }
}
