//! The plain case of `data`, which nearly all of real requests are: arrays of numbers and nothing else. Each digit is looked at once,
//! eight at a time, and becomes its value where it stands.
//!
//! What is not plain leaves no trace here and is read by [`super::values`], value by value: that is also what says what is wrong, and
//! where. Both must give the same bytes for every text (a law of the tests).

mod written;

use super::Reader;
use crate::datatype::DataType;
use jiter::Peek;
use written::Number;

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
            let single = number.single()?;
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
            // As Python writes them.
            any::<f32>().prop_map(|value| format!("{:?}", f64::from(value))),
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
