//! Times as Go writes them: a text such as `1h30m` enters, its milliseconds leave.

/// None for what is no such time.
pub(crate) fn millis(text: &str) -> Option<f64> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0.0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut sum = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let amount: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let (unit, factor) = UNITS.iter().find(|(unit, _)| rest.starts_with(unit))?;
        sum += amount * factor;
        rest = &rest[unit.len()..];
    }
    Some(sign * sum)
}

/// Those with two letters first: `ms` is no `m`.
const UNITS: [(&str, f64); 7] = [
    ("ns", 1e-6),
    ("us", 1e-3),
    ("µs", 1e-3),
    ("ms", 1.0),
    ("h", 3_600_000.0),
    ("m", 60_000.0),
    ("s", 1_000.0),
];

#[cfg(test)]
mod tests {
    use super::millis;

    #[test]
    fn times_of_go_are_read_and_nothing_else_is() {
        assert_eq!(millis("1h30m"), Some(5_400_000.0));
        assert_eq!(millis("1.5s"), Some(1_500.0));
        assert_eq!(millis("250ms"), Some(250.0));
        for wrong in ["", "5", "1 minute", "1d", "m", "-"] {
            assert_eq!(millis(wrong), None, "{wrong}");
        }
    }
}
