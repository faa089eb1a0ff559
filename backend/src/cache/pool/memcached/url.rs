//! `--memcached-url` -> the servers that it lists, and how to reach them. What can never work is refused, and no password shown.

use super::connect::Endpoint;
use crate::cache::pool::dial::{Encrypts, Place, address};
use crate::settings::{Password, PasswordFile, Reach, SettingsError};

const FLAG: &str = "--memcached-url";
const EXPECTED: &str =
    "expected memcached://[user:password@]host[:port][,host[:port]...], or memcacheds:// for TLS";
const DEFAULT_PORT: u16 = 11211;
/// In the protocol they end a word.
const UNSENDABLE: &str = "user and password have no spaces or control characters";
/// More are a mistake.
const MOST_SERVERS: usize = 64;

/// Who asks, as a server with `--auth-file` wants it.
#[derive(Clone)]
pub(super) struct Credentials {
    pub(super) user: String,
    password: Password,
}

impl Credentials {
    /// The password as it is now.
    ///
    /// # Errors
    /// When its file can't be used.
    pub(super) async fn password(&self) -> Result<String, SettingsError> {
        let password = self.password.read().await?;
        if is_sendable(&password) { Ok(password) } else { Err(wrong(UNSENDABLE)) }
    }
}

/// The servers of that URL, in its order. With `memcacheds://` the connections are encrypted.
pub(super) fn endpoints(reach: &Reach) -> Result<Vec<Endpoint>, SettingsError> {
    let (scheme, rest) = reach.url.split_once("://").unwrap_or(("", &reach.url));
    let is_encrypted = match scheme {
        "memcached" => false,
        "memcacheds" => true,
        _ => return Err(wrong(&format!("the scheme {scheme:?} is not spoken; {EXPECTED}"))),
    };
    let encrypts = Encrypts::of(reach, is_encrypted)?;
    let (proof, list) = rest.rsplit_once('@').map_or((None, rest), |(proof, list)| (Some(proof), list));
    reach.check_passwords(proof.is_some_and(|proof| proof.contains(':')))?;
    let credentials = credentials(proof, reach.password_file.as_ref())?;
    let mut endpoints: Vec<Endpoint> = Vec::new();
    for one in list.trim_end_matches('/').split(',') {
        let address = address(one, DEFAULT_PORT);
        let address = address.ok_or_else(|| wrong(&format!("{one:?} is no server; {EXPECTED}")))?;
        let place = Place::new(reach, address, encrypts.as_ref())?;
        let endpoint = Endpoint::new(place, credentials.clone());
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

/// What stands before the servers is `user:password`, or with a file `user`.
fn credentials(
    proof: Option<&str>,
    file: Option<&PasswordFile>,
) -> Result<Option<Credentials>, SettingsError> {
    let decode = |text: &str| {
        let decoded = percent(text).filter(|text| is_sendable(text));
        decoded.ok_or_else(|| wrong(&format!("{UNSENDABLE}; {EXPECTED}")))
    };
    let (user, password) = match (proof, file) {
        (None, None) => return Ok(None),
        (Some(user), Some(file)) => (user, Password::File(file.clone())),
        (Some(proof), None) => {
            let parts = proof.split_once(':');
            let (user, password) = parts.ok_or_else(|| wrong(&format!("has no password; {EXPECTED}")))?;
            (user, Password::Known(decode(password)?))
        }
        (None, Some(_)) => {
            let needed = "names no user: a file with a password needs memcached://user@host";
            return Err(wrong(needed));
        }
    };
    Ok(Some(Credentials { user: decode(user)?, password }))
}

fn is_sendable(text: &str) -> bool {
    !text.contains(|c: char| c == ' ' || c.is_control())
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
            ("memcacheds://h..i", "no name that a certificate has"),
        ] {
            let line = endpoints(&Reach::by_url(url)).err().unwrap().to_string();
            assert!(line.contains(named) && !line.contains("hid"), "{url}: {line}");
        }
    }

    #[test]
    fn each_server_of_the_list_is_found() {
        let endpoints = |url: &str| endpoints(&Reach::by_url(url)).unwrap();
        let names = |url: &str| -> Vec<String> { endpoints(url).iter().map(Endpoint::name).collect() };
        assert_eq!(names("memcached://a:1,b,[::1]:2,[::2]"), ["a:1", "b:11211", "::1:2", "::2:11211"]);
        let proven = endpoints("memcached://u:p%40ss@h/");
        let Some(Credentials { user, password: Password::Known(password) }) = &proven[0].credentials else {
            panic!("there are user and password");
        };
        assert_eq!((user.as_str(), password.as_str(), proven[0].place.host.as_str()), ("u", "p@ss", "h"));
    }
}
