//! Which header fields of an answer are kept with it (RFC 9111, 3.1). An answer's headers enter, [`Field`]s leave, in order.
//!
//! Not kept: what belongs to one connection (RFC 9110, 7.6.1) or one call, what every hit says anew, and proxies' own notes.

use crate::entry::Field;
use bytes::Bytes;

/// Most bytes of names and values kept with one answer, in all. 8 KiB: the usual bound on all headers of a message.
pub const MAX_BYTES: usize = 8 << 10;

/// Of one connection: RFC 9110, 7.6.1, and RFC 9111, 3.1, with what `Connection` names.
const CONNECTION: [&str; 10] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
/// Said anew with every hit: by us, or by the proxy.
const ANEW: [&str; 6] =
    ["age", "cache-status", "content-length", "date", "server", "inference-header-content-length"];
/// What proxies and Forebay's parts tell each other, and gRPC's own of one call.
const NOTES: [&str; 3] = ["x-envoy-", crate::header::FOREBAY_PREFIX, "grpc-"];

/// Why an answer's fields can't be kept, and so the answer neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldsError {
    /// It sets a cookie: for one client, whatever else it says.
    #[error("the answer sets a cookie")]
    Cookie,
    /// More than [`MAX_BYTES`].
    #[error("the answer's header fields have more than {MAX_BYTES} bytes")]
    TooLarge,
}

/// The fields to keep of an answer with these headers (names in lower case).
///
/// # Errors
/// [`FieldsError`] when the answer must not be kept.
pub fn kept<'a>(
    headers: impl Iterator<Item = (&'a str, &'a [u8])> + Clone,
) -> Result<Vec<Field>, FieldsError> {
    let named: Vec<String> = headers
        .clone()
        .filter(|(name, _)| *name == "connection")
        .flat_map(|(_, value)| value.split(|byte| *byte == b','))
        .map(|name| String::from_utf8_lossy(name.trim_ascii()).to_ascii_lowercase())
        .collect();
    let mut fields = Vec::new();
    for (name, value) in headers {
        if name == "set-cookie" {
            return Err(FieldsError::Cookie);
        }
        let passes = name.starts_with(':')
            || CONNECTION.contains(&name)
            || ANEW.contains(&name)
            || NOTES.iter().any(|prefix| name.starts_with(prefix))
            || named.iter().any(|named| named == name);
        if !passes {
            fields.push(Field { name: name.to_owned(), value: Bytes::copy_from_slice(value) });
        }
    }
    if bytes(&fields) > MAX_BYTES { Err(FieldsError::TooLarge) } else { Ok(fields) }
}

/// Bytes of all names and values.
pub fn bytes(fields: &[Field]) -> usize {
    let of = |field: &Field| field.name.len().saturating_add(field.value.len());
    fields.iter().map(of).fold(0, usize::saturating_add)
}

/// Does the field speak of the answer's bytes, and so not of the same answer in another encoding?
pub fn is_of_encoding(name: &str) -> bool {
    name == "etag" || name.starts_with("content-")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(headers: &[(&str, &str)]) -> Result<Vec<String>, FieldsError> {
        let headers = headers.iter().map(|(name, value)| (*name, value.as_bytes()));
        Ok(kept(headers)?.into_iter().map(|field| field.name).collect())
    }

    #[test]
    fn end_to_end_fields_are_kept_in_order_and_the_rest_is_not() {
        let headers = [
            (":status", "200"),
            ("access-control-allow-origin", "*"),
            ("connection", "close, X-Hop"),
            ("x-hop", "1"),
            ("etag", "\"1\""),
            ("transfer-encoding", "chunked"),
            ("x-envoy-upstream-service-time", "3"),
            ("grpc-encoding", "gzip"),
            ("x-forebay-generation", "00"),
            ("age", "3"),
            ("cache-status", "other; hit"),
            ("vary", "origin"),
            ("x-custom", "1"),
            ("x-custom", "2"),
        ];
        let kept = names(&headers).unwrap();
        assert_eq!(kept, ["access-control-allow-origin", "etag", "vary", "x-custom", "x-custom"]);
    }

    #[test]
    fn cookies_and_too_many_bytes_forbid_to_keep() {
        assert_eq!(names(&[("a", "1"), ("set-cookie", "a=1")]), Err(FieldsError::Cookie));
        let long = "x".repeat(MAX_BYTES - 1);
        assert_eq!(names(&[("a", &long)]).unwrap(), ["a"]);
        assert_eq!(names(&[("ab", &long)]), Err(FieldsError::TooLarge));
    }

    #[test]
    fn of_another_encoding_all_is_kept_but_what_speaks_of_bytes() {
        for name in ["etag", "content-type", "content-language"] {
            assert!(is_of_encoding(name), "{name}");
        }
        assert!(!is_of_encoding("cache-control"));
    }
}
