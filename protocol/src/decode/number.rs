//! JSON numbers, from their text to their value. No digit is lost: integers never pass through a float.

/// Why a text is not the number wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotA {
    /// It has a fraction, an exponent, or is `NaN` or infinite.
    Integer,
    /// Its value does not fit.
    Range,
}

/// An integer in a range of i128, which holds every integer datatype.
#[inline]
pub(super) fn integer(text: &[u8], min: i128, max: i128) -> Result<i128, NotA> {
    let (negative, digits) = match text.split_first() {
        Some((b'-', digits)) => (true, digits),
        _ => (false, text),
    };
    if !digits.iter().all(u8::is_ascii_digit) {
        return Err(NotA::Integer);
    }
    let push = |value: u64, byte: &u8| value.checked_mul(10)?.checked_add(u64::from(byte & 0x0f));
    let value = digits.iter().try_fold(0, push).ok_or(NotA::Range)?;
    let value = if negative { i128::from(value).wrapping_neg() } else { i128::from(value) };
    if (min..=max).contains(&value) { Ok(value) } else { Err(NotA::Range) }
}

/// The single nearest to a double. A NaN has no sign or payload: its bits are fixed here, since casts may give any.
pub(super) fn single(double: f64) -> f32 {
    #[allow(clippy::cast_possible_truncation)] // rounding is what is wanted
    if double.is_nan() { f32::from_bits(0x7fc0_0000) } else { double as f32 }
}

/// A double; `NaN`, `Infinity` and `-Infinity` too. `None` when a finite number is too large for one.
#[inline]
pub(super) fn double(text: &[u8]) -> Option<f64> {
    if let Some(value) = short_decimal(text) {
        return Some(value);
    }
    if text == b"NaN" {
        return Some(f64::from_bits(0x7ff8_0000_0000_0000));
    }
    nearest(text)
}

/// The double nearest to a text that is not [`exact`]ly one; infinities too.
pub(super) fn nearest(text: &[u8]) -> Option<f64> {
    let value: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    (value.is_finite() || text.ends_with(b"y")).then_some(value)
}

/// Powers of ten that a double holds exactly.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
    1e19, 1e20, 1e21, 1e22,
];

/// Clinger's exact case, which most numbers of real requests are: digits below 2^53 and at most 22 decimals, no exponent. One
/// division of two exact doubles is rounded once, and so is right.
#[inline]
fn short_decimal(text: &[u8]) -> Option<f64> {
    let (negative, digits) = match text.split_first() {
        Some((b'-', digits)) => (true, digits),
        _ => (false, text),
    };
    if digits.len() > 19 {
        return None;
    }
    let mut mantissa: u64 = 0;
    let mut decimals: usize = 0;
    let mut behind_point = 0;
    for byte in digits {
        match byte {
            b'0'..=b'9' => {
                mantissa = mantissa.wrapping_mul(10).wrapping_add(u64::from(byte & 0x0f));
                decimals = decimals.wrapping_add(behind_point);
            }
            b'.' if behind_point == 0 => behind_point = 1,
            _ => return None,
        }
    }
    if digits.is_empty() {
        return None;
    }
    let value = exact(mantissa, decimals)?;
    Some(if negative { -value } else { value })
}

/// Digits without their point, and how many of them are behind it, in that case.
#[inline]
pub(super) fn exact(digits: u64, decimals: usize) -> Option<f64> {
    // From a signed number the processor converts in one step.
    let digits = i64::try_from(digits).ok().filter(|digits| *digits < 1 << 53)?;
    Some(digits as f64 / POWERS.get(decimals)?)
}

/// How many doubles on either side of a quotient of two rounded ones hold the nearest double to the text: rounding its digits and
/// dividing them err by less than two of its last bits, or twice as many where the exponent changes. Twice that again, for it costs
/// nothing.
const NEAR: u64 = 8;

/// The single that the nearest double rounds to. Where all doubles nearby round to one single, the nearest needn't be known: that is
/// so for all but one in millions of the singles that were written as doubles, as Python writes them, whose digits a double doesn't
/// hold. `None` where it is not so.
#[inline]
pub(super) fn single_near(digits: u64, decimals: usize) -> Option<f32> {
    let near = (digits as f64 / POWERS.get(decimals)?).to_bits();
    let [low, high] =
        [near.wrapping_sub(NEAR), near.wrapping_add(NEAR)].map(|bits| single(f64::from_bits(bits)));
    // Below zero's bits are those of a NaN, which is above it.
    (low.to_bits() == high.to_bits()).then_some(low)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_is_known_without_the_nearest_double_unless_one_lies_between_two() {
        for (digits, decimals) in
            [(12_345_678_806_304_932, 17), (9_999_999_999_999_999_999, 19), (9_007_199_254_740_993, 0)]
        {
            let text = format!("{digits}e-{decimals}");
            let expected = text.parse::<f64>().map(single).unwrap();
            assert_eq!(single_near(digits, decimals), Some(expected), "{text}");
        }
        // Half way from 1 to the next single, and a little above the half: the double decides.
        for digits in [10_000_000_596_046_447_u64, 10_000_000_596_046_449] {
            assert_eq!(single_near(digits, 16), None);
        }
        assert_eq!(single_near(0, 1), None);
        assert_eq!(single_near(1 << 60, 23), None, "that power is no exact double");
    }

    #[test]
    fn integers_keep_every_digit() {
        assert_eq!(integer(b"18446744073709551615", 0, u64::MAX.into()), Ok(u64::MAX.into()));
        assert_eq!(integer(b"-9223372036854775808", i64::MIN.into(), i64::MAX.into()), Ok(i64::MIN.into()));
        assert_eq!(integer(b"-0", 0, 255), Ok(0));
        assert_eq!(integer(b"256", 0, 255), Err(NotA::Range));
        assert_eq!(integer(b"-1", 0, 255), Err(NotA::Range));
        assert_eq!(integer("9".repeat(4000).as_bytes(), 0, u64::MAX.into()), Err(NotA::Range));
        for text in ["1.0", "1e3", "NaN", "Infinity"] {
            assert_eq!(integer(text.as_bytes(), -128, 127), Err(NotA::Integer), "{text}");
        }
    }

    #[test]
    fn doubles_are_the_nearest_ones() {
        for text in [
            "0",
            "-0.0",
            "0.1",
            "3.14159",
            "9007199254740993",
            "123456789.123456789",
            "0.000000000000000001",
            "1e22",
            "1.5e-7",
            "1e23",
            "2.2250738585072011e-308",
            "5e-324",
            "1e-400",
            "1.7976931348623157e308",
            "9999999999999999999",
        ] {
            let expected: f64 = text.parse().unwrap();
            assert_eq!(double(text.as_bytes()).map(f64::to_bits), Some(expected.to_bits()), "{text}");
        }
        assert_eq!(double(b"1e999"), None);
        assert_eq!(double(b"-1e999"), None);
        assert_eq!(double(b"-Infinity"), Some(f64::NEG_INFINITY));
        assert!(double(b"NaN").is_some_and(f64::is_nan));
    }
}
