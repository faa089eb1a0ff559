//! Memcached's meta text protocol: commands -> bytes; bytes that a server sent, in pieces -> replies. Whatever it sends, no reply is
//! longer than its bound, and what is none ends the connection.

use std::time::Duration;

use bytes::{Bytes, BytesMut};

/// The longest line of a reply: more than any that a server gives.
const MAX_LINE: usize = 4096;
/// The longest time that Memcached takes for a span; a longer one is a date there.
const LONGEST_TTL: Duration = Duration::from_hours(30 * 24);
/// Ends each line.
const END: &[u8] = b"\r\n";

/// A server's reply to a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reply {
    /// What is under a key, and which value of that key it is; `marked`: nothing was, and now it is a mark of whoever asked.
    Value { bytes: Bytes, unique: u64, opaque: Option<u64>, marked: bool },
    /// It is done, or there.
    Done,
    /// There is nothing under the key.
    Missing,
    /// Another wrote meanwhile.
    Exists,
    /// It was not to be written.
    NotStored,
    /// Of `version`.
    Version(String),
    /// A line of `stats`.
    Stat { name: String, value: String },
    /// The last line of `stats`.
    Stats,
    /// It can't be done, in the server's words.
    Refused(String),
}

/// What no server says that speaks this protocol. Nothing that comes after it can be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WireError {
    #[error("it sent a line of more than {MAX_LINE} bytes")]
    LongLine,
    #[error("it sent a value of {0} bytes where {1} are the most")]
    LongValue(usize, usize),
    #[error("it sent {0:?}, which is no reply to a meta command: Memcached 1.6 is needed")]
    Unknown(String),
    #[error("a value of its was not ended")]
    Unended,
}

/// When something may be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum If {
    /// Whatever is there.
    Always,
    /// Nothing is there.
    Missing,
    /// That value is there.
    Unique(u64),
}

/// Asks for a value; `opaque` comes back with it.
pub(crate) fn get(commands: &mut Vec<u8>, key: &str, opaque: u64) {
    commands.extend_from_slice(format!("mg {key} c v O{opaque}\r\n").as_bytes());
}

/// Asks for a value; where none is, an empty one is put there for so long.
pub(crate) fn get_or_mark(commands: &mut Vec<u8>, key: &str, lifetime: Duration) {
    commands.extend_from_slice(format!("mg {key} c v N{}\r\n", ttl(lifetime)).as_bytes());
}

/// Takes that value away, if it is there still.
pub(crate) fn delete(commands: &mut Vec<u8>, key: &str, unique: u64) {
    commands.extend_from_slice(format!("md {key} C{unique}\r\n").as_bytes());
}

/// Asks whether it is there, and has it stay for so long.
pub(crate) fn touch(commands: &mut Vec<u8>, key: &str, lifetime: Duration) {
    commands.extend_from_slice(format!("mg {key} T{}\r\n", ttl(lifetime)).as_bytes());
}

/// Writes a value that goes when its time is over.
pub(crate) fn set(commands: &mut Vec<u8>, key: &str, value: &[u8], lifetime: Duration, when: If) {
    let when = match when {
        If::Always => String::new(),
        If::Missing => " ME".to_owned(),
        If::Unique(unique) => format!(" C{unique}"),
    };
    let head = format!("ms {key} {} T{}{when}\r\n", value.len(), ttl(lifetime));
    commands.reserve(head.len() + value.len() + END.len());
    commands.extend_from_slice(head.as_bytes());
    commands.extend_from_slice(value);
    commands.extend_from_slice(END);
}

/// Proves who asks, as a server with `--auth-file` wants it.
pub(crate) fn authenticate(user: &str, password: &str) -> Vec<u8> {
    let proof = format!("{user} {password}");
    format!("set auth 0 0 {}\r\n{proof}\r\n", proof.len()).into_bytes()
}

/// Whole seconds, rounded up: 0 would be for ever.
fn ttl(lifetime: Duration) -> u64 {
    let lifetime = lifetime.min(LONGEST_TTL);
    (lifetime.as_secs() + u64::from(lifetime.subsec_nanos() > 0)).max(1)
}

/// Takes the first reply out of what came; `None` until all of it is there. A value has `most` bytes at most.
///
/// # Errors
/// [`WireError`]: the connection is of no use any more.
pub(crate) fn reply(came: &mut BytesMut, most: usize) -> Result<Option<Reply>, WireError> {
    let looked = came.get(..came.len().min(MAX_LINE)).unwrap_or_default();
    let Some(end) = looked.windows(END.len()).position(|two| two == END) else {
        return if came.len() < MAX_LINE { Ok(None) } else { Err(WireError::LongLine) };
    };
    let line = String::from_utf8_lossy(looked.get(..end).unwrap_or_default()).into_owned();
    let mut words = line.split(' ');
    let reply = match (words.next().unwrap_or_default(), words.next()) {
        ("VA", size) => {
            let size = size.and_then(|size| size.parse::<usize>().ok());
            let size = size.ok_or_else(|| WireError::Unknown(line.clone()))?;
            if size > most {
                return Err(WireError::LongValue(size, most));
            }
            let number = |flag: char| {
                let mut flags = line.split(' ').skip(2);
                flags.find_map(|word| word.strip_prefix(flag)).and_then(|number| number.parse().ok())
            };
            let (unique, opaque) = (number('c').unwrap_or(0), number('O'));
            let marked = line.split(' ').skip(2).any(|word| word == "W");
            let whole = end + END.len() + size + END.len();
            if came.len() < whole {
                came.reserve(whole - came.len());
                return Ok(None);
            }
            let mut value = came.split_to(whole).freeze();
            if !value.ends_with(END) {
                return Err(WireError::Unended);
            }
            value.truncate(whole - END.len());
            return Ok(Some(Reply::Value { bytes: value.slice(end + END.len()..), unique, opaque, marked }));
        }
        ("HD" | "STORED", _) => Reply::Done,
        ("EN" | "NF", _) => Reply::Missing,
        ("EX", _) => Reply::Exists,
        ("NS", _) => Reply::NotStored,
        ("END", None) => Reply::Stats,
        ("VERSION", Some(version)) => Reply::Version(version.to_owned()),
        ("STAT", Some(name)) => {
            Reply::Stat { name: name.to_owned(), value: words.next().unwrap_or_default().to_owned() }
        }
        ("SERVER_ERROR", _) => Reply::Refused(line.clone()),
        // What was sent was not understood, so nothing says what the next replies are to.
        _ => return Err(WireError::Unknown(line.clone())),
    };
    let _ = came.split_to(end + END.len());
    Ok(Some(reply))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MOST: usize = 100;

    fn all(sent: &[u8], pieces: &[usize]) -> (Vec<Reply>, Option<WireError>) {
        let (mut came, mut replies, mut rest) = (BytesMut::new(), Vec::new(), sent);
        let mut pieces = pieces.iter().copied();
        while !rest.is_empty() {
            let (piece, later) = rest.split_at(pieces.next().unwrap_or(rest.len()).clamp(1, rest.len()));
            came.extend_from_slice(piece);
            rest = later;
            loop {
                match reply(&mut came, MOST) {
                    Ok(Some(reply)) => replies.push(reply),
                    Ok(None) => break,
                    Err(error) => return (replies, Some(error)),
                }
            }
        }
        (replies, None)
    }

    #[test]
    fn what_a_server_says_is_read_as_it_was_meant() {
        let sent = b"VA 5 c12 O7\r\na\r\nbc\r\nVA 0 c3 W\r\n\r\nEN\r\nHD\r\nNS\r\nEX\r\nNF\r\nSTAT time 17\r\nEND\r\nVERSION 1.6.18\r\n\
              SERVER_ERROR out of memory storing object\r\nSTORED\r\n";
        let (replies, error) = all(sent, &[]);
        assert_eq!(error, None);
        let bytes = Bytes::from_static(b"a\r\nbc");
        assert_eq!(
            replies,
            [
                Reply::Value { bytes, unique: 12, opaque: Some(7), marked: false },
                Reply::Value { bytes: Bytes::new(), unique: 3, opaque: None, marked: true },
                Reply::Missing,
                Reply::Done,
                Reply::NotStored,
                Reply::Exists,
                Reply::Missing,
                Reply::Stat { name: "time".into(), value: "17".into() },
                Reply::Stats,
                Reply::Version("1.6.18".into()),
                Reply::Refused("SERVER_ERROR out of memory storing object".into()),
                Reply::Done,
            ]
        );
    }

    #[test]
    fn what_no_server_says_ends_the_connection() {
        let long = [b'a'; MAX_LINE + 1];
        for (sent, expected) in [
            (&b"VA 101 c1\r\n"[..], WireError::LongValue(101, MOST)),
            (b"VA 18446744073709551616\r\n", WireError::Unknown("VA 18446744073709551616".into())),
            (b"VA\r\n", WireError::Unknown("VA".into())),
            (b"VA 1 c1\r\nabc", WireError::Unended),
            (b"ERROR\r\n", WireError::Unknown("ERROR".into())),
            (b"\r\n", WireError::Unknown(String::new())),
            (&long, WireError::LongLine),
        ] {
            assert_eq!(all(sent, &[]), (Vec::new(), Some(expected)));
        }
    }

    #[test]
    fn a_time_is_a_span_and_never_for_ever() {
        for (lifetime, expected) in [(0, 1), (1, 1), (1000, 1), (1001, 2), (u64::MAX, 30 * 24 * 3600)] {
            assert_eq!(ttl(Duration::from_millis(lifetime)), expected, "{lifetime} ms");
        }
    }

    const CODES: &[&str] =
        &["VA", "HD", "EN", "STAT time", "END", "SERVER_ERROR", "VERSION 1", "ERROR", "MN"];

    fn line() -> impl Strategy<Value = Vec<u8>> {
        let size = prop_oneof![0_u64..120, any::<u64>()];
        (prop::sample::select(CODES), size, prop::collection::vec(any::<u8>(), 0..120)).prop_map(
            |(code, size, rest)| [code.as_bytes(), format!(" {size} c1\r\n").as_bytes(), &rest].concat(),
        )
    }

    proptest! {
        #[test]
        fn whatever_comes_in_whatever_pieces_is_read_alike_and_within_its_bounds(
            lines in prop::collection::vec(line(), 0..8),
            pieces in prop::collection::vec(1_usize..40, 0..40),
        ) {
            let sent = lines.concat();
            let whole = all(&sent, &[]);
            prop_assert_eq!(&whole, &all(&sent, &pieces));
            for reply in whole.0 {
                if let Reply::Value { bytes, .. } = reply {
                    prop_assert!(bytes.len() <= MOST);
                }
            }
        }
    }
}
