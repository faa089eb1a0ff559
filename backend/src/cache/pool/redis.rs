//! The pool in Redis. Entries are sealed with a MAC over key and entry; what fails the check is a miss and counted.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use forebay_protocol::digest::Key;
use forebay_protocol::entry::{Entry, Secret};
use metrics::{Counter, counter};

use super::breaker::Breaker;
use super::{PoolError, Server, lifetime};
use crate::observe::logs::seldom;

/// Before each key, so that a Redis can be shared with others.
const ENTRY_PREFIX: &[u8] = b"forebay:e:";
/// A write may take longer than a lookup, for nobody waits for it: so long, and as long again for each so many bytes.
const WRITE_TIMEOUT: (Duration, usize) = (Duration::from_secs(1), 8 << 20);

/// Entries in Redis.
pub(crate) struct RedisPool {
    server: Server,
    secret: Secret,
    timeout: Duration,
    breaker: Breaker,
    bad_entries: Counter,
}

/// An entry as it is written.
pub(crate) struct Sealed {
    key: Key,
    bytes: Vec<u8>,
    lifetime: Duration,
}

impl RedisPool {
    /// `timeout` bounds a lookup; `secret` authenticates entries.
    pub(crate) fn new(server: Server, secret: Secret, timeout: Duration) -> Self {
        let bad_entries = counter!("forebay_pool_bad_entries");
        Self { server, secret, timeout, breaker: Breaker::new(), bad_entries }
    }

    /// The entries under `keys`, with one MGET.
    ///
    /// # Errors
    /// `Timeout`, `Redis`, `Down` without a connection, or `Resting` after repeated failures.
    pub(crate) async fn get(&self, keys: &[Key]) -> Result<Vec<Arc<Entry>>, PoolError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        if self.breaker.rests() {
            return Err(PoolError::Resting);
        }
        let found = self.mget(keys).await;
        // Without a connection the answer comes at once: nothing to rest from.
        if !matches!(found, Err(PoolError::Down(_))) {
            self.breaker.record(found.is_ok());
        }
        let found = found?.into_iter().zip(keys);
        Ok(found.filter_map(|(sealed, key)| self.open(sealed?, key)).collect())
    }

    async fn mget(&self, keys: &[Key]) -> Result<Vec<Option<Vec<u8>>>, PoolError> {
        let mut commands = redis::pipe();
        let command = commands.cmd("MGET");
        for key in keys {
            command.arg(name(key));
        }
        let (found,) = self.server.lookups.query(&commands, self.timeout).await?;
        Ok(found)
    }

    fn open(&self, sealed: Vec<u8>, key: &Key) -> Option<Arc<Entry>> {
        match Entry::open(Bytes::from(sealed), key, &self.secret) {
            Ok(entry) => Some(Arc::new(entry)),
            Err(error) => {
                self.bad_entries.increment(1);
                seldom!(warn, "an entry of the pool is not used: {error}");
                None
            }
        }
    }

    /// What is written of an entry.
    pub(crate) fn seal(&self, key: Key, entry: &Entry) -> Sealed {
        Sealed { bytes: entry.seal(&key, &self.secret), lifetime: lifetime(entry), key }
    }

    /// Writes entries in one round trip; each goes by itself when its time is over.
    ///
    /// # Errors
    /// When Redis can't be reached or refuses one of them: none of them may have been written.
    pub(crate) async fn put(&self, entries: &[Sealed]) -> Result<(), PoolError> {
        let mut commands = redis::pipe();
        for Sealed { key, bytes, lifetime } in entries {
            let millis = u64::try_from(lifetime.as_millis()).unwrap_or(u64::MAX);
            commands.cmd("SET").arg(name(key)).arg(bytes).arg("PX").arg(millis).ignore();
        }
        let bytes: usize = entries.iter().map(|entry| entry.bytes.len()).sum();
        let (patience, bytes_more) = WRITE_TIMEOUT;
        let longer = u32::try_from(bytes / bytes_more).unwrap_or(u32::MAX);
        let patience = patience.saturating_add(patience.saturating_mul(longer));
        let written = self.server.writes.query(&commands, patience).await;
        if let Err(error) = &written
            && !matches!(error, PoolError::Down(_))
        {
            self.server.complain(&format!("results are not written: {error}"));
        }
        written
    }

    /// Whether there is a connection to write by.
    pub(crate) fn is_connected(&self) -> bool {
        self.server.writes.trouble().is_none()
    }
}

fn name(key: &Key) -> Vec<u8> {
    [ENTRY_PREFIX, &key.0].concat()
}
