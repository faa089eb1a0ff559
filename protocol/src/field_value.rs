//! Values of HTTP fields as RFC 9110 and 9111 read them: bytes enter, members of lists and numbers leave. Bytes that are no
//! text are as good as any others: a directive beside them still counts.

/// A value whose quotes don't end: where its members do is anybody's guess.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unbalanced;

/// The members of a list (RFC 9110, 5.6.1), without white space around them and without empty ones. A comma within quotes
/// parts nothing.
///
/// # Errors
/// [`Unbalanced`].
pub fn members(value: &[u8]) -> Result<Vec<&[u8]>, Unbalanced> {
    let (mut members, mut begin) = (Vec::new(), 0);
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in value.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b',' if !quoted => {
                members.push(value.get(begin..at).unwrap_or_default());
                begin = at.saturating_add(1);
            }
            _ => {}
        }
    }
    if quoted {
        return Err(Unbalanced);
    }
    members.push(value.get(begin..).unwrap_or_default());
    let trimmed = members.into_iter().map(<[u8]>::trim_ascii);
    Ok(trimmed.filter(|member| !member.is_empty()).collect())
}

/// Name and value of a directive as in `max-age=5`, the value without its quotes.
pub fn directive(member: &[u8]) -> (&[u8], Option<&[u8]>) {
    let Some(equals) = member.iter().position(|byte| *byte == b'=') else { return (member, None) };
    let (name, value) = member.split_at(equals);
    let value = value.get(1..).unwrap_or_default().trim_ascii();
    let unquoted = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
    (name.trim_ascii_end(), Some(unquoted.unwrap_or(value)))
}

/// A number of seconds (RFC 9111, 1.2.2): digits only; more than fits is as good as for ever.
pub fn delta_seconds(value: &[u8]) -> Option<u32> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digit = |number: u32, byte: &u8| {
        number.saturating_mul(10).saturating_add(u32::from(byte.saturating_sub(b'0')))
    };
    Some(value.iter().fold(0, digit))
}

/// An answer's `Age` in seconds (RFC 9111, 5.1): of several members the first counts, and one that is no number says nothing.
pub fn age<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> u32 {
    let first = values.into_iter().next().unwrap_or_default();
    let member = first.split(|byte| *byte == b',').next().unwrap_or_default();
    delta_seconds(member.trim_ascii()).unwrap_or(0)
}

/// A message's `Content-Length` (RFC 9110, 8.6): `None` without one, or where there are several and they differ.
pub fn content_length<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Option<usize> {
    let mut found = None;
    for member in values.into_iter().flat_map(|value| value.split(|byte| *byte == b',')) {
        let length: usize = std::str::from_utf8(member.trim_ascii()).ok()?.parse().ok()?;
        if *found.get_or_insert(length) != length {
            return None;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_within_quotes_part_nothing() {
        let list = members(b" a , b=\"x,\\\"y\" ,, c\xff=1").unwrap();
        assert_eq!(list, [&b"a"[..], b"b=\"x,\\\"y\"", b"c\xff=1"]);
        assert_eq!(members(b"a, b=\"c, no-store"), Err(Unbalanced));
        assert_eq!(members(b"").unwrap(), [&b""[..]; 0]);
    }

    #[test]
    fn directives_have_a_name_and_maybe_a_value() {
        assert_eq!(directive(b"no-store"), (&b"no-store"[..], None));
        assert_eq!(directive(b"max-age = \"5\""), (&b"max-age"[..], Some(&b"5"[..])));
        assert_eq!(directive(b"a="), (&b"a"[..], Some(&b""[..])));
    }

    #[test]
    fn seconds_saturate_and_nothing_but_digits_is_a_number() {
        assert_eq!(delta_seconds(b"60"), Some(60));
        assert_eq!(delta_seconds(b"99999999999999999999999999"), Some(u32::MAX));
        for wrong in ["", "-1", "+1", "1.5", "1 ", "0x1"] {
            assert_eq!(delta_seconds(wrong.as_bytes()), None, "{wrong:?}");
        }
    }

    #[test]
    fn the_first_age_counts_however_large() {
        assert_eq!(age([&b"7, 9"[..], b"1"]), 7);
        assert_eq!(age([&b"99999999999999999999"[..]]), u32::MAX);
        assert_eq!((age([&b"soon"[..]]), age([])), (0, 0));
    }

    #[test]
    fn lengths_that_differ_are_none() {
        assert_eq!(content_length([&b"42, 42"[..], b"42"]), Some(42));
        assert_eq!(content_length([&b"42"[..], b"43"]), None);
        assert_eq!(content_length([&b"-1"[..]]), None);
        assert_eq!(content_length([]), None);
    }
}
