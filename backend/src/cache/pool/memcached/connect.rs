//! One server of the list -> connections to it that work: names resolved, encrypted and proven where that is asked for, and a version
//! that has the meta commands.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::link::Over;
use super::url::Credentials;
use super::wire::{self, Reply, WireError};
use crate::cache::pool::dial::{CONNECT, Place, Stream};
use crate::observe::logs::Seldom;
use crate::settings::SettingsError;

/// An item's default bound in Memcached.
const MIB: usize = 1 << 20;
/// No value is larger, whatever a server says that it takes.
const MOST: usize = 64 * MIB;
/// What Memcached keeps in an item beside its value: a head, the key, the line's end.
const ITEM_HEAD: usize = 512;
/// The setting that bounds items, of `stats settings`.
const ITEM_SIZE_MAX: &str = "item_size_max";
/// The first version with the meta commands as they are now.
const NEEDED: (u32, u32, u32) = (1, 6, 10);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("{0}")]
    Password(#[from] SettingsError),
    #[error("it did not answer within {0:?}")]
    Timeout(Duration),
    #[error("{0}")]
    Wire(#[from] WireError),
    #[error("it refused the user or the password ({0})")]
    Refused(String),
    #[error("it is Memcached {0}: 1.6.10 or later is needed, which has the meta commands")]
    Old(String),
    #[error("the connection was lost: {0}")]
    Lost(Over),
    #[error("this program ends")]
    Ended,
}

impl ConnectError {
    /// Whether trying again is of no use until settings change.
    pub(super) fn is_setting(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::Old(_))
    }
}

/// How to reach a server.
pub(super) struct Endpoint {
    pub(super) place: Place,
    pub(super) credentials: Option<Credentials>,
    /// The largest value that it takes.
    max_bytes: AtomicUsize,
    lines: Seldom,
}

impl Endpoint {
    pub(super) fn new(place: Place, credentials: Option<Credentials>) -> Self {
        let max_bytes = AtomicUsize::new(MIB - ITEM_HEAD);
        Self { place, credentials, max_bytes, lines: Seldom::new() }
    }

    /// As the list names it.
    pub(super) fn name(&self) -> String {
        format!("{}:{}", self.place.host, self.place.port)
    }

    /// The largest value that it takes, as far as is known.
    pub(super) fn max_bytes(&self) -> usize {
        self.max_bytes.load(Ordering::Relaxed)
    }

    /// A connection that works.
    pub(super) async fn connect(&self) -> Result<Stream, ConnectError> {
        let connected = tokio::time::timeout(CONNECT, self.connect_slowly()).await;
        connected.unwrap_or(Err(ConnectError::Timeout(CONNECT)))
    }

    async fn connect_slowly(&self) -> Result<Stream, ConnectError> {
        let mut stream = self.place.dial().await?;
        if let Some(credentials) = &self.credentials {
            let password = credentials.password().await?;
            // A refusal ends in a line that is no reply of the meta commands.
            match asked(&mut stream, &wire::authenticate(&credentials.user, &password)).await {
                Ok(Reply::Done) => {}
                Ok(other) => return Err(ConnectError::Refused(format!("{other:?}"))),
                Err(ConnectError::Wire(WireError::Unknown(line))) => return Err(ConnectError::Refused(line)),
                Err(error) => return Err(error),
            }
        }
        match asked(&mut stream, b"version\r\n").await {
            Ok(Reply::Version(version)) if is_new_enough(&version) => {}
            Ok(Reply::Version(version)) => return Err(ConnectError::Old(version)),
            Ok(other) => return Err(WireError::Unknown(format!("{other:?}")).into()),
            Err(ConnectError::Wire(WireError::Unknown(line))) if line.contains("unauthenticated") => {
                return Err(ConnectError::Refused(line));
            }
            Err(error) => return Err(error),
        }
        self.learn(&mut stream).await?;
        Ok(stream)
    }

    /// How large a value may be.
    async fn learn(&self, stream: &mut Stream) -> Result<(), ConnectError> {
        stream.write_all(b"stats settings\r\n").await?;
        let mut came = BytesMut::new();
        loop {
            match next(stream, &mut came).await? {
                Reply::Stat { name, value } if name == ITEM_SIZE_MAX => {
                    let most = value.parse().unwrap_or(MIB).min(MOST);
                    self.max_bytes.store(usize::saturating_sub(most, ITEM_HEAD), Ordering::Relaxed);
                }
                Reply::Stat { .. } => {}
                _ => return Ok(()),
            }
        }
    }

    pub(super) fn say_down(&self, error: &ConnectError) {
        self.complain(&format!("the pool can't be used: {}: {error}", self.name()));
    }

    /// What is said of it next is news.
    pub(super) fn say_up(&self) {
        self.lines.forget();
    }

    pub(super) fn complain(&self, line: &str) {
        if let Some(left_out) = self.lines.due(line) {
            tracing::warn!(left_out, "{line}");
        }
    }
}

async fn asked(stream: &mut Stream, command: &[u8]) -> Result<Reply, ConnectError> {
    stream.write_all(command).await?;
    next(stream, &mut BytesMut::new()).await
}

async fn next(stream: &mut Stream, came: &mut BytesMut) -> Result<Reply, ConnectError> {
    loop {
        if let Some(reply) = wire::reply(came, 0)? {
            return Ok(reply);
        }
        if stream.read_buf(came).await? == 0 {
            return Err(ConnectError::Lost(Over::Closed));
        }
    }
}

fn is_new_enough(version: &str) -> bool {
    let mut numbers = version.split(['.', '-']).map(|number| number.parse::<u32>().unwrap_or(0));
    let mut number = || numbers.next().unwrap_or(0);
    (number(), number(), number()) >= NEEDED
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_without_the_meta_commands_are_told() {
        for (version, expected) in [
            ("1.6.18", true),
            ("1.6.10", true),
            ("1.6.9", false),
            ("1.5.22", false),
            ("2.0.0-rc1", true),
            ("x", false),
        ] {
            assert_eq!(is_new_enough(version), expected, "{version}");
        }
    }
}
