//! The plain case of `data`, which nearly all of real requests are: arrays of numbers and nothing else. Each digit is looked at once,
//! eight at a time, and becomes its value where it stands.
//!
//! What is not plain leaves no trace here and is read by [`super::values`], value by value: that is also what says what is wrong, and
//! where. Both must give the same bytes for every text (a law of the tests).

use super::Reader;
use super::number;
use crate::datatype::DataType;
use jiter::Peek;

/// Longest number that is read here, in bytes.
const MAX_NUMBER_BYTES: usize = 64;

/// Reads the array that comes next into raw form, if all of it is plain and it holds as many values as expected. `None`: nothing is
/// read.
pub(super) fn read(reader: &mut Reader<'_>, datatype: DataType, expected: usize) -> Option<Vec<u8>> {
    if reader.peek().ok()? != Peek::Array {
        return None;
    }
    let values = Values { text: reader.rest(), max_depth: reader.limits.max_json_depth, expected };
    macro_rules! integers {
        ($type:ty) => {
            values.read(|number| {
                let value = number.integer()?;
                (i128::from(<$type>::MIN)..=i128::from(<$type>::MAX)).contains(&value).then(|| {
                    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
                    // the range has been checked
                    (value as $type).to_le_bytes()
                })
            })
        };
    }
    let (raw, bytes) = match datatype {
        DataType::Uint8 => integers!(u8),
        DataType::Uint16 => integers!(u16),
        DataType::Uint32 => integers!(u32),
        DataType::Uint64 => integers!(u64),
        DataType::Int8 => integers!(i8),
        DataType::Int16 => integers!(i16),
        DataType::Int32 => integers!(i32),
        DataType::Int64 => integers!(i64),
        DataType::Fp32 => values.read(|number| {
            let single = number::single(number.double()?);
            single.is_finite().then(|| single.to_le_bytes())
        }),
        DataType::Fp64 => values.read(|number| number.double().map(f64::to_le_bytes)),
        DataType::Bool | DataType::Bytes | DataType::Fp16 | DataType::Bf16 => None,
    }?;
    reader.advance(bytes);
    Some(raw)
}

/// What is to be read.
struct Values<'t> {
    /// Begins with the outermost bracket.
    text: &'t [u8],
    max_depth: usize,
    expected: usize,
}

impl Values<'_> {
    /// The values' raw form, and how many bytes of text they took.
    fn read<const N: usize>(
        &self,
        value: impl Fn(&Number<'_>) -> Option<[u8; N]>,
    ) -> Option<(Vec<u8>, usize)> {
        // A value and what follows it are two bytes at least.
        let room = self.expected.min(self.text.len().div_ceil(2));
        let mut raw: Vec<u8> = Vec::with_capacity(room.saturating_mul(N));
        let (mut depth, mut left): (usize, usize) = (0, self.expected);
        let mut rest = self.text;
        loop {
            // A value or an array comes, or the end of an array that holds nothing.
            let (first, behind) = rest.split_first()?;
            match first {
                b'0'..=b'9' | b'-' => {
                    left = left.checked_sub(1)?;
                    let number;
                    (number, rest) = Number::read(rest)?;
                    raw.extend_from_slice(&value(&number)?);
                    // Most often the next follows at once.
                    if let Some((b',', behind)) = rest.split_first() {
                        rest = behind;
                        continue;
                    }
                }
                b'[' => {
                    depth = depth.saturating_add(1);
                    if depth > self.max_depth {
                        return None;
                    }
                    rest = trimmed(behind);
                    if rest.first() != Some(&b']') {
                        continue;
                    }
                }
                b' ' | b'\n' | b'\r' | b'\t' => {
                    rest = behind;
                    continue;
                }
                _ => return None,
            }
            rest = trimmed(rest);
            // Arrays may end, and then something comes, or all is read.
            while let Some((b']', after)) = rest.split_first() {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    let bytes = self.text.len().saturating_sub(after.len());
                    return (left == 0).then_some((raw, bytes));
                }
                rest = trimmed(after);
            }
            rest = rest.strip_prefix(b",")?;
        }
    }
}

/// Without the white space in front. Most texts have none, or one space.
#[inline]
fn trimmed(mut text: &[u8]) -> &[u8] {
    while let Some((b' ' | b'\n' | b'\r' | b'\t', rest)) = text.split_first() {
        text = rest;
    }
    text
}

/// A number as it is written.
struct Number<'t> {
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
    fn read(text: &'t [u8]) -> Option<(Self, &'t [u8])> {
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
        // 19 digits fit into 64 bits.
        if whole.wrapping_add(decimals) > 19 {
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
    fn double(&self) -> Option<f64> {
        match number::exact(self.digits, self.decimals).filter(|_| self.form != Form::Other) {
            Some(value) => Some(if self.is_negative { -value } else { value }),
            None => number::double(self.text),
        }
    }

    /// Its value, if it is an integer.
    #[inline]
    fn integer(&self) -> Option<i128> {
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
    use super::super::values::{Target, read_slowly, read_values};
    use super::super::{DecodeError, Kind};
    use super::*;
    use crate::datatype::ALL;
    use crate::limits::Limits;
    use proptest::prelude::*;

    /// What is read of a text by one of the two ways, and where the reader stands behind it.
    type Outcome = Result<(Vec<u8>, usize), DecodeError>;

    fn both(text: &str, datatype: DataType, count: usize) -> [Outcome; 2] {
        let limits = Limits { max_json_depth: 4, ..Limits::default() };
        let shape = [i64::try_from(count).unwrap()];
        let target = Target { kind: Kind::Input, name: "x", datatype };
        [read_values, read_slowly].map(|read| {
            let mut reader = Reader::new(text.as_bytes(), &limits);
            let raw = read(&mut reader, target, &shape)?;
            reader.peek()?;
            Ok((raw, reader.index()))
        })
    }

    fn is_plain(text: &str, datatype: DataType, count: usize) -> bool {
        read(&mut Reader::new(text.as_bytes(), &Limits::default()), datatype, count).is_some()
    }

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

    #[test]
    fn arrays_of_numbers_are_plain_however_they_are_nested() {
        for (text, count) in
            [("[1,2.5,-3e2,0]", 4), ("[ [1 , 2],\n[3,\t4] ]", 4), ("[]", 0), ("[[],[]]", 0), ("[[[1]]]", 1)]
        {
            assert!(is_plain(text, DataType::Fp32, count) && is_plain(text, DataType::Fp64, count), "{text}");
        }
        assert!(is_plain("[255,0]", DataType::Uint8, 2) && is_plain("[-128,-0]", DataType::Int8, 2));
        assert!(is_plain("[18446744073709551615]", DataType::Uint64, 1));
        for (text, count) in [("[1,]", 1), ("[1 2]", 2), ("[01]", 1), ("[1", 1), ("[NaN]", 1), ("[1]", 2)] {
            assert!(!is_plain(text, DataType::Fp64, count), "{text}");
        }
    }

    /// Pieces of which texts are made that are nearly arrays of numbers.
    fn piece() -> impl Strategy<Value = String> {
        let number = prop_oneof![
            any::<f64>().prop_map(|value| format!("{value:?}")),
            any::<f32>().prop_map(|value| format!("{value}")),
            any::<i64>().prop_map(|value| value.to_string()),
            any::<u64>().prop_map(|value| value.to_string()),
            "-?[0-9]{1,30}",
            "-?(0|[1-9][0-9]{0,9})\\.[0-9]{1,25}",
            "-?[0-9]{1,4}(\\.[0-9]{0,4})?[eE][+-]?[0-9]{0,4}",
            (-300_i32..300).prop_map(|value| value.to_string()),
        ];
        let other = "[ \\n\\t\\[\\],.eE+0-9a\"-]|NaN|-?Infinity|true|null|\"1\"";
        prop_oneof![8 => number, 1 => other]
    }

    proptest! {
        /// The plain way and the slow one give the same values, and the same errors, of every text.
        #[test]
        fn both_ways_read_the_same(
            pieces in prop::collection::vec((piece(), "( |\\n)?", "(, ?|,|,|\\],\\[|\\] , \\[)"), 0..20),
            around in 0_usize..6,
            wrong_count in prop::option::weighted(0.1, 0_usize..20),
            datatype in prop::sample::select(&ALL[..]),
            cut in prop::option::weighted(0.1, 0_usize..200),
        ) {
            let count = wrong_count.unwrap_or(pieces.len());
            let mut text = "[".repeat(around);
            for (index, (piece, space, between)) in pieces.iter().enumerate() {
                text.push_str(piece);
                text.push_str(space);
                if index + 1 < pieces.len() {
                    text.push_str(if around < 2 && between.contains(']') { "," } else { between });
                }
            }
            text.push_str(&"]".repeat(around));
            text.push_str(" ,0");
            if let Some(cut) = cut.filter(|cut| *cut < text.len()) {
                text.truncate(cut);
            }
            let [plain, slow] = both(&text, datatype, count);
            prop_assert_eq!(plain, slow, "{}", text);
        }

        /// So they do where nothing is wrong, for every number that is written as people and programs write them.
        #[test]
        fn numbers_are_the_nearest_ones(values in prop::collection::vec(any::<f64>().prop_filter("finite", |value| value.is_finite()), 1..50)) {
            let text = format!("{values:?}");
            let raw = read(&mut Reader::new(text.as_bytes(), &Limits::default()), DataType::Fp64, values.len());
            let expected: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            prop_assert_eq!(raw, Some(expected));
        }
    }
}
