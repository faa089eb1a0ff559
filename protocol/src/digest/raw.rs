//! The raw key: an exact repeat of a request's bytes finds its ready answer without being parsed. For L1 only.

use super::{Fields, Scope};

/// All that decides what bytes the answer has.
#[derive(Clone, Copy, Debug)]
pub struct RawKeyParts<'a> {
    /// Whose cache it is.
    pub scope: Scope<'a>,
    /// The path, as sent.
    pub path: &'a str,
    /// `content-type`; empty when absent.
    pub content_type: &'a [u8],
    /// `inference-header-content-length`; empty when absent.
    pub header_length: &'a [u8],
    /// `accept`; empty when absent.
    pub accept: &'a [u8],
    /// `accept-encoding`; empty when absent.
    pub accept_encoding: &'a [u8],
    /// The whole body.
    pub body: &'a [u8],
}

/// The hash of a request's bytes. Not the same for equal requests in different bytes: that is the digest's work.
pub fn raw_key(parts: &RawKeyParts<'_>) -> [u8; 32] {
    let mut fields = Fields::tagged("forebay/raw-key/2");
    parts.scope.write(&mut fields);
    fields.bytes(parts.path.as_bytes());
    fields.bytes(parts.content_type);
    fields.bytes(parts.header_length);
    fields.bytes(parts.accept);
    fields.bytes(parts.accept_encoding);
    fields.bytes(parts.body);
    fields.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tenant::Tenant;

    #[test]
    fn every_part_of_a_raw_key_changes_it() {
        let tenant = Tenant::parse("t").unwrap();
        let parts = RawKeyParts {
            scope: Scope { service: "s", tenant: Some(&tenant) },
            path: "/v2/models/m/infer",
            content_type: b"application/json",
            header_length: b"",
            accept: b"*/*",
            accept_encoding: b"gzip",
            body: b"{}",
        };
        let key = raw_key(&parts);
        assert_eq!(key, raw_key(&parts));
        for other in [
            RawKeyParts { scope: Scope { service: "x", ..parts.scope }, ..parts },
            RawKeyParts { scope: Scope { tenant: None, ..parts.scope }, ..parts },
            RawKeyParts { path: "/v2/models/n/infer", ..parts },
            RawKeyParts { content_type: b"", ..parts },
            RawKeyParts { header_length: b"2", ..parts },
            RawKeyParts { accept: b"", ..parts },
            RawKeyParts { accept_encoding: b"", ..parts },
            RawKeyParts { body: b"{ }", ..parts },
        ] {
            assert_ne!(raw_key(&other), key, "{other:?}");
        }
    }
}
