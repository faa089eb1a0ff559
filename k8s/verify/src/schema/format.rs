//! Formats of texts and numbers that the API server checks.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use regex::Regex;
use std::sync::LazyLock;

/// What is wrong with a text of that format, as what would be right; formats that nobody checks pass.
pub(super) fn text(format: &str, text: &str) -> Option<&'static str> {
    let (right, said) = match format {
        "byte" => (is_base64(text), "base64 of the bytes (`stringData` takes text as it is)"),
        "date-time" => (DATE_TIME.is_match(text), "a time as 2026-01-31T12:00:00Z"),
        "date" => (DATE.is_match(text), "a date as 2026-01-31"),
        "duration" => (DURATION.is_match(text), "a time as 1h30m, 10s or 500ms"),
        "ipv4" => (text.parse::<std::net::Ipv4Addr>().is_ok(), "an IPv4 address"),
        "ipv6" => (text.parse::<std::net::Ipv6Addr>().is_ok(), "an IPv6 address"),
        "uuid" => (UUID.is_match(text), "a UUID"),
        _ => return None,
    };
    (!right).then_some(said)
}

/// Whether a whole number is in the range of its format.
pub(super) fn integer(format: &str, value: f64) -> bool {
    match format {
        "int32" => (f64::from(i32::MIN)..=f64::from(i32::MAX)).contains(&value),
        _ => true,
    }
}

/// As Go reads it: line breaks are white space.
fn is_base64(text: &str) -> bool {
    let plain: String = text.chars().filter(|character| !matches!(character, '\n' | '\r')).collect();
    STANDARD.decode(plain).is_ok()
}

macro_rules! pattern {
    ($name:ident, $pattern:literal) => {
        static $name: LazyLock<Regex> = LazyLock::new(|| Regex::new($pattern).expect("a pattern of ours"));
    };
}

pattern!(
    DATE_TIME,
    r"^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])[Tt]([01]\d|2[0-3]):[0-5]\d:([0-5]\d|60)(\.\d+)?([Zz]|[+-]\d\d:\d\d)$"
);
pattern!(DATE, r"^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])$");
pattern!(
    DURATION,
    r"^([-+]?(\d+(\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h))+$|^0$|^\d+ ?(days?|weeks?|hours?|minutes?|seconds?)$"
);
pattern!(UUID, r"^(?i)[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}$");
