//! `--memcached-url` -> the servers that it lists, and how to reach them. What can never work is refused, and no password shown.

use std::path::Path;

use rustls::pki_types::ServerName;

use super::connect::Endpoint;
use super::roots;
use crate::settings::SettingsError;

const FLAG: &str = "--memcached-url";
const EXPECTED: &str =
    "expected memcached://[user:password@]host[:port][,host[:port]...], or memcacheds:// for TLS";
const DEFAULT_PORT: u16 = 11211;
/// More are a mistake.
const MOST_SERVERS: usize = 64;

/// Who asks, as a server with `--auth-file` wants it.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Credentials {
    pub(super) user: String,
    pub(super) password: String,
}

/// The servers of that URL, in its order. With `memcacheds://` their certificates must come from one of that file.
pub(super) fn endpoints(url: &str, ca_file: Option<&Path>) -> Result<Vec<Endpoint>, SettingsError> {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let tls = match (scheme, ca_file) {
        ("memcached", _) => None,
        ("memcacheds", Some(path)) => Some(roots::connector(path)?),
        ("memcacheds", None) => return Err(wrong("memcacheds:// needs --memcached-ca-file")),
        _ => return Err(wrong(&format!("the scheme {scheme:?} is not spoken; {EXPECTED}"))),
    };
    let (credentials, list) = match rest.rsplit_once('@') {
        None => (None, rest),
        Some((proof, list)) => (Some(credentials(proof)?), list),
    };
    let mut endpoints: Vec<Endpoint> = Vec::new();
    for one in list.trim_end_matches('/').split(',') {
        let (host, port) = address(one)?;
        let tls = match &tls {
            None => None,
            Some(connector) => {
                let name = ServerName::try_from(host.clone())
                    .map_err(|_| wrong(&format!("{host:?} is no name that a certificate has")))?;
                Some((connector.clone(), name))
            }
        };
        let endpoint = Endpoint::new((host, port), credentials.clone(), tls);
        if endpoints.iter().any(|other| other.name() == endpoint.name()) {
            return Err(wrong(&format!("{} is named twice", endpoint.name())));
        }
        endpoints.push(endpoint);
    }
    if endpoints.len() > MOST_SERVERS {
        return Err(wrong(&format!("names {} servers: {MOST_SERVERS} are the most", endpoints.len())));
    }
    Ok(endpoints)
}

fn credentials(proof: &str) -> Result<Credentials, SettingsError> {
    let decode = |text: &str| {
        let decoded = percent(text).filter(|text| !text.contains(|c: char| c == ' ' || c.is_control()));
        decoded.ok_or_else(|| {
            wrong(&format!("user and password have no spaces or control characters; {EXPECTED}"))
        })
    };
    let (user, password) =
        proof.split_once(':').ok_or_else(|| wrong(&format!("has no password; {EXPECTED}")))?;
    Ok(Credentials { user: decode(user)?, password: decode(password)? })
}

/// Text whose `%XX` are bytes.
fn percent(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(part.get(..2)?, 16).ok()?);
        bytes.extend_from_slice(part.get(2..)?.as_bytes());
    }
    String::from_utf8(bytes).ok()
}

fn address(text: &str) -> Result<(String, u16), SettingsError> {
    let none = || wrong(&format!("{text:?} is no server; {EXPECTED}"));
    // An address of version 6 has colons of its own, in brackets.
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or_else(none)?;
            (host, port.strip_prefix(':').or_else(|| port.is_empty().then_some("")).ok_or_else(none)?)
        }
        None => text.split_once(':').unwrap_or((text, "")),
    };
    let is_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    if host.is_empty() || !host.chars().all(is_host) {
        return Err(none());
    }
    let port = if port.is_empty() { DEFAULT_PORT } else { port.parse().map_err(|_| none())? };
    Ok((host.to_owned(), port))
}

fn wrong(reason: &str) -> SettingsError {
    SettingsError::Wrong { flag: FLAG, reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_that_can_never_work_are_refused_and_passwords_not_shown() {
        for (url, named) in [
            ("redis://:hidden@h:1", "redis"),
            ("h:11211", "scheme"),
            ("memcached://", "is no server"),
            ("memcached://h:1,", "is no server"),
            ("memcached://h:99999", "h:99999"),
            ("memcached://h,h:11211", "named twice"),
            ("memcached://hidden@h", "password"),
            ("memcached://u:hid%2den%ZZ@h", "user and password"),
            ("memcached://u:hidden%0a@h", "user and password"),
            ("memcacheds://h", "--memcached-ca-file"),
        ] {
            let line = endpoints(url, None).err().unwrap().to_string();
            assert!(line.contains(named) && !line.contains("hid"), "{url}: {line}");
        }
    }

    #[test]
    fn each_server_of_the_list_is_found() {
        let names =
            |url: &str| -> Vec<String> { endpoints(url, None).unwrap().iter().map(Endpoint::name).collect() };
        assert_eq!(names("memcached://a:1,b,[::1]:2,[::2]"), ["a:1", "b:11211", "::1:2", "::2:11211"]);
        let proven = endpoints("memcached://u:p%40ss@h/", None).unwrap();
        let Credentials { user, password } = proven[0].credentials.clone().unwrap();
        assert_eq!((user.as_str(), password.as_str(), proven[0].host.as_str()), ("u", "p@ss", "h"));
    }
}
