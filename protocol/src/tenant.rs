//! Who may share results. A name from a proven source enters, a checked [`Tenant`] leaves; `digest::Scope` is next to take it.
//!
//! Checked here and nowhere else, so that filter, gate and `serve` can't read one name differently: a header's value loses
//! white space at its ends on the way, and a list of values is joined by commas, so a tenant holds neither.

use std::fmt;

/// Longest name, in bytes: room for a SPIFFE identity of a namespace and a service account, short of a header's usual bounds.
pub const MAX_TENANT_BYTES: usize = 256;

/// What a name must be, for messages of others.
pub const EXPECTED: &str = "1 to 256 bytes of visible ASCII without comma and double quote";

/// A tenant: 1 to 256 bytes of visible ASCII, without comma and double quote.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tenant(String);

/// A text that is no tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TenantError {
    /// Empty, or too long.
    #[error("a tenant has 1 to {MAX_TENANT_BYTES} bytes, this one {0}")]
    Length(usize),
    /// A byte that may not be in it.
    #[error("a tenant is visible ASCII without comma and double quote, but byte {at} is 0x{byte:02x}")]
    Byte {
        /// Where it is, from 0.
        at: usize,
        /// Which it is.
        byte: u8,
    },
}

impl Tenant {
    /// Checks a name.
    ///
    /// # Errors
    /// [`TenantError`] says what is wrong with it.
    pub fn parse(name: impl AsRef<[u8]>) -> Result<Self, TenantError> {
        let name = name.as_ref();
        if !(1..=MAX_TENANT_BYTES).contains(&name.len()) {
            return Err(TenantError::Length(name.len()));
        }
        let wrong = |byte: &u8| !byte.is_ascii_graphic() || matches!(byte, b',' | b'"');
        match name.iter().position(wrong) {
            Some(at) => Err(TenantError::Byte { at, byte: name.get(at).copied().unwrap_or_default() }),
            None => Ok(Self(name.iter().copied().map(char::from).collect())),
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_and_plain_names_are_tenants() {
        for name in ["a", "team-a", "spiffe://cluster.local/ns/shop/sa/web", &"x".repeat(256)] {
            assert_eq!(Tenant::parse(name).unwrap().as_str(), name);
        }
    }

    #[test]
    fn what_two_parts_could_read_differently_is_none() {
        assert_eq!(Tenant::parse(""), Err(TenantError::Length(0)));
        assert_eq!(Tenant::parse("x".repeat(257)), Err(TenantError::Length(257)));
        for name in ["a ", " a", "a\t", "a\u{0}", "a,b", "\"a\"", "\u{e9}", "a\r\nb", "a\u{7f}"] {
            assert!(matches!(Tenant::parse(name), Err(TenantError::Byte { .. })), "{name:?}");
        }
        assert!(Tenant::parse([b'a', 0xff]).is_err());
    }
}
