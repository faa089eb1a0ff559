//! Whom a request is for: its host and its path. The head of a request as it came -> whether it is one that routes can be asked
//! for, or why not (400). Next: the routes, which decode the names in it.

use std::net::Ipv6Addr;

use forebay_protocol::path;
use http::header::HOST;
use http::uri::{Authority, Scheme};
use http::{HeaderValue, Request, Version};

use super::error::HttpError;

/// Checks host and path.
///
/// # Errors
/// `Header`, of the host, and `Path`.
pub(super) fn check<B>(request: &Request<B>) -> Result<(), HttpError> {
    check_host(request).map_err(|reason| HttpError::Header { name: HOST.as_str(), reason })?;
    Ok(path::check(request.uri().path())?)
}

/// RFC 9112, 3.2, and RFC 9113, 8.3.1: HTTP/1.1 names a host, HTTP/2 need not; nobody names two.
fn check_host<B>(request: &Request<B>) -> Result<(), &'static str> {
    let mut hosts = request.headers().get_all(HOST).iter();
    let authority = request.uri().authority();
    if authority.is_some_and(|authority| authority.as_str().contains('@')) {
        return Err("must be a host and a port, without a user");
    }
    let Some(host) = hosts.next() else {
        return match request.version() {
            Version::HTTP_11 => Err("is missing: HTTP/1.1 wants one, empty if there is none to name"),
            _ => Ok(()),
        };
    };
    if hosts.next().is_some() {
        return Err("must be sent once");
    }
    if !is_host(host.as_bytes()) {
        return Err("must be a host, with a port or without, in ASCII");
    }
    // Over HTTP/1.1 the field is not looked at where the target names a host.
    let named = authority.filter(|_| request.version() >= Version::HTTP_2);
    let agrees = named.is_none_or(|authority| agree(authority, host, request.uri().scheme()));
    if agrees { Ok(()) } else { Err("must be what :authority is") }
}

/// `uri-host [ ":" port ]` (RFC 9110, 7.2). It may be empty.
fn is_host(value: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(value) else { return false };
    let (host, port) = match text.rfind(':') {
        // Those within brackets are an address's.
        Some(colon) if !text[colon..].contains(']') => (&text[..colon], &text[colon + 1..]),
        _ => (text, ""),
    };
    let is_port =
        port.is_empty() || port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok();
    is_port && (is_literal(host) || is_name(host))
}

/// `[` an address of IP's version 6, or of a later one, `]` (RFC 3986, 3.2.2).
fn is_literal(host: &str) -> bool {
    let Some(address) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) else { return false };
    let later = address.strip_prefix(['v', 'V']).and_then(|address| address.split_once('.'));
    address.parse::<Ipv6Addr>().is_ok()
        || later.is_some_and(|(version, address)| {
            !version.is_empty()
                && version.bytes().all(|byte| byte.is_ascii_hexdigit())
                && !address.is_empty()
                && address.bytes().all(|byte| byte == b':' || is_plain(byte))
        })
}

/// A name, or an address of version 4 (RFC 3986, 3.2.2).
fn is_name(host: &str) -> bool {
    path::decoded(host).is_ok() && host.bytes().all(|byte| byte == b'%' || is_plain(byte))
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(&byte)
}

/// Whether both name the same: in whatever case, the scheme's own port or none.
fn agree(authority: &Authority, host: &HeaderValue, scheme: Option<&Scheme>) -> bool {
    let default = if scheme == Some(&Scheme::HTTPS) { ":443" } else { ":80" };
    let bare = |text: &str| {
        text.strip_suffix(default).or(text.strip_suffix(':')).unwrap_or(text).to_ascii_lowercase()
    };
    host.to_str().is_ok_and(|host| bare(host) == bare(authority.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(version: Version, target: &str, hosts: &[&str]) -> Request<()> {
        let mut request = Request::builder().version(version).uri(target).body(()).unwrap();
        for host in hosts {
            request.headers_mut().append(HOST, HeaderValue::from_bytes(host.as_bytes()).unwrap());
        }
        request
    }

    fn said(version: Version, target: &str, hosts: &[&str]) -> Result<(), String> {
        check(&request(version, target, hosts)).map_err(|error| error.to_string())
    }

    #[test]
    fn a_path_that_can_be_read_is_one_and_its_query_is_not_looked_at() {
        for target in ["/v2/models/a%2Fb%20c/infer", "/%2569", "http://Host:1/%76%32?%zz", "*"] {
            assert_eq!(said(Version::HTTP_11, target, &["a"]), Ok(()));
        }
        for wrong in ["/%", "/%zz", "/v2/models/%ff/infer", "http://a/%C3"] {
            assert!(said(Version::HTTP_11, wrong, &["a"]).unwrap_err().starts_with("the path"), "{wrong}");
        }
    }

    #[test]
    fn http_1_1_names_one_host_and_others_need_not() {
        for version in [Version::HTTP_10, Version::HTTP_11, Version::HTTP_2] {
            let none = said(version, "/", &[]);
            assert_eq!(none.is_ok(), version != Version::HTTP_11, "{version:?}: {none:?}");
            assert!(said(version, "/", &["a"]).is_ok() && said(version, "/", &[""]).is_ok());
            for wrong in [&["a", "a"][..], &["a", "b"], &["a b"], &["a/b"]] {
                assert!(said(version, "/", wrong).unwrap_err().starts_with("header host: must"), "{wrong:?}");
            }
        }
        // A host within the target takes the field's place, and doesn't make it needless.
        assert!(said(Version::HTTP_11, "http://a/", &["b"]).is_ok());
        assert!(said(Version::HTTP_11, "http://a/", &[]).is_err());
        assert!(said(Version::HTTP_11, "http://me@a/", &["a"]).is_err());
    }

    #[test]
    fn over_http_2_both_names_of_a_host_are_the_same() {
        for (target, host, agrees) in [
            ("http://a/", "a", true),
            ("http://a/", "A", true),
            ("http://a:80/", "a", true),
            ("https://a/", "a:443", true),
            ("http://a/", "a:443", false),
            ("http://a/", "b", false),
            ("http://a:1/", "a", false),
            ("http://a/", "", false),
        ] {
            assert_eq!(said(Version::HTTP_2, target, &[host]).is_ok(), agrees, "{target} {host}");
        }
    }

    #[test]
    fn a_host_is_a_name_or_an_address_with_a_port_or_without() {
        for host in [
            "",
            "a",
            "a:",
            "a:0",
            "A_b-c.d~:65535",
            "10.0.0.1:8000",
            "[::1]",
            "[::1]:80",
            "[v1.a:b]",
            "a%20b",
            "a,b",
            ":1",
        ] {
            assert!(is_host(host.as_bytes()), "{host}");
        }
        for wrong in [
            "a b",
            "a/b",
            "a?",
            "a#",
            "me@a",
            "a:b",
            "a:65536",
            "a:+1",
            "a:1:2",
            "::1",
            "[::1",
            "[::1]x",
            "[::1]:x",
            "[a]",
            "[]",
            "[v.a]",
            "[v1.]",
            "[fe80::1%25eth0]",
            "a%",
            "a%zz",
            "<a>",
            "a\\b",
            "\u{e9}",
            "\"a\"",
        ] {
            assert!(!is_host(wrong.as_bytes()), "{wrong}");
        }
        assert!(!is_host(b"\xff"));
    }
}
