//! Words with units -> numbers: `256MiB` -> bytes, `0.5` -> half a second.

use std::time::Duration;

/// Bytes, as a plain number or with the unit KiB, MiB or GiB.
///
/// # Errors
/// Says what would be right; clap puts the flag's name before it.
pub(super) fn parse_bytes(text: &str) -> Result<usize, String> {
    let units = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];
    let (number, unit) = units
        .iter()
        .find_map(|(name, unit)| text.strip_suffix(name).map(|number| (number, *unit)))
        .unwrap_or((text, 1_usize));
    let number: usize =
        number.trim().parse().map_err(|_| "expected bytes, such as 1048576, 1024KiB or 1MiB".to_owned())?;
    number.checked_mul(unit).ok_or_else(|| "that is more bytes than can be counted".to_owned())
}

/// Seconds as a decimal number, from 0 to a day.
///
/// # Errors
/// Says what would be right; clap puts the flag's name before it.
pub(super) fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "expected seconds, such as 15 or 0.5".to_owned())?;
    if (0.0..=86_400.0).contains(&seconds) {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err("expected from 0 to 86400 seconds".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_with_and_without_units() {
        assert_eq!(parse_bytes("17"), Ok(17));
        assert_eq!(parse_bytes("2MiB"), Ok(2 << 20));
        assert!(parse_bytes("2MB").is_err());
        assert!(parse_bytes("99999999999999GiB").is_err());
    }

    #[test]
    fn seconds_may_be_fractions_but_not_nonsense() {
        assert_eq!(parse_seconds("0.5"), Ok(Duration::from_millis(500)));
        for wrong in ["", "-1", "NaN", "1e9"] {
            assert!(parse_seconds(wrong).is_err(), "{wrong}");
        }
    }
}
