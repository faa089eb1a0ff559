//! Names of services. One goes into metric names and header values of proxies, so it is kept plain.

/// What such a name is, for messages.
pub const EXPECTED: &str = "1 to 63 letters, digits, '-' or '_'";

/// May a service be called so?
pub fn is_name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=63).contains(&text.len()) && text.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain() {
        assert!(["a", "A-1_b", &"x".repeat(63)].into_iter().all(is_name));
        for wrong in ["", "a.b", "a b", "a/b", "\u{e4}", &"x".repeat(64)] {
            assert!(!is_name(wrong), "{wrong}");
        }
    }
}
