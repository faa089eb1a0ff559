//! Words with units -> numbers: `256MiB` -> bytes, `0.5` -> half a second, or half of something.

use std::time::Duration;

use bytesize::ByteSize;

/// A day: no setting waits for longer.
const LONGEST: Duration = Duration::from_hours(24);

/// Bytes, as a plain number or with a unit: KiB, MiB and GiB count by 1024, kB, MB and GB by 1000.
///
/// # Errors
/// Says what would be right; clap puts the flag's name before it.
pub(super) fn parse_bytes(text: &str) -> Result<usize, String> {
    let expected = || "expected bytes, such as 1048576, 1024KiB or 1MiB".to_owned();
    let bytes = text.parse::<ByteSize>().map_err(|_| expected())?.as_u64();
    // What is more is cut to the largest number.
    usize::try_from(bytes).ok().filter(|bytes| *bytes < usize::MAX).ok_or_else(expected)
}

/// Seconds as a decimal number, or a time with its unit; from 0 to a day.
///
/// # Errors
/// Says what would be right; clap puts the flag's name before it.
pub(super) fn parse_seconds(text: &str) -> Result<Duration, String> {
    let time = time(text).ok_or("expected seconds, such as 15 or 0.5, or a time such as 500ms or 2m")?;
    if time <= LONGEST { Ok(time) } else { Err("expected from 0 to 86400 seconds".to_owned()) }
}

/// How long something is kept: as [`parse_seconds`], up to ten years.
///
/// # Errors
/// Says what would be right; clap puts the flag's name before it.
pub(super) fn parse_days(text: &str) -> Result<Duration, String> {
    const LONGEST: Duration = Duration::from_hours(10 * 366 * 24);
    let expected = "expected seconds, or a time such as 12h or 30d, up to ten years";
    time(text).filter(|time| *time <= LONGEST).ok_or_else(|| expected.to_owned())
}

/// A number of seconds, or a number with a unit.
fn time(text: &str) -> Option<Duration> {
    match text.parse() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).ok(),
        Err(_) => humantime::parse_duration(text).ok(),
    }
}

/// A part of the whole.
///
/// # Errors
/// Says what would be right; clap puts the flag's name before it.
pub(super) fn parse_share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "expected a share from 0 to 1, such as 0.01".to_owned())
}

/// What a GPU hour costs, in whatever money.
///
/// # Errors
/// Says what would be right; clap puts the flag's name before it.
pub(super) fn parse_price(text: &str) -> Result<f64, String> {
    let price = text.parse().ok().filter(|price: &f64| *price >= 0.0 && price.is_finite());
    price.ok_or_else(|| "expected what a GPU hour costs, such as 2.5".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_with_and_without_units() {
        for (text, bytes) in [("17", 17), ("2MiB", 2 << 20), ("2 MiB", 2 << 20), ("2MB", 2_000_000), ("0", 0)]
        {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
        for wrong in ["", "-1", "MiB", "2MiBs", "many", "99999999999999GiB"] {
            assert!(parse_bytes(wrong).is_err(), "{wrong}: {:?}", parse_bytes(wrong));
        }
    }

    #[test]
    fn seconds_may_be_fractions_and_have_units_but_be_no_nonsense() {
        for (text, millis) in [("0.5", 500), ("15", 15_000), ("500ms", 500), ("2m", 120_000), ("0", 0)] {
            assert_eq!(parse_seconds(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for wrong in ["", "-1", "NaN", "inf", "1e9", "2d", "5 parsecs"] {
            assert!(parse_seconds(wrong).is_err(), "{wrong}");
        }
    }
    #[test]
    fn what_is_kept_for_days_is_not_kept_for_ever() {
        for (text, hours) in [("30d", 720), ("12h", 12), ("3600", 1), ("1w", 168)] {
            assert_eq!(parse_days(text), Ok(Duration::from_hours(hours)), "{text}");
        }
        for wrong in ["", "-1", "NaN", "inf", "11y", "soon"] {
            assert!(parse_days(wrong).is_err(), "{wrong}");
        }
    }
}
