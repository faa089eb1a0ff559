//! The pool in Redis. Entries are sealed with a MAC over key and entry; what fails the check is a miss and counted.
//! The connection is made when first used and made again by itself; while it fails, lookups rest instead of waiting.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use forebay_protocol::digest::Key;
use forebay_protocol::entry::{Entry, Secret};
use metrics::{Counter, counter};
use redis::aio::{ConnectionManager, ConnectionManagerConfig};

use super::{PoolError, lifetime};

/// Before each key, so that a Redis can be shared with others.
const ENTRY_PREFIX: &[u8] = b"forebay:e:";
/// So many failures in a row, and lookups rest.
const FAILURES_TO_REST: u32 = 5;
/// How long they rest before one tries again.
const REST: Duration = Duration::from_millis(500);
/// A write may take longer than a lookup: nobody waits for it.
const WRITE_TIMEOUT: Duration = Duration::from_secs(1);

/// Opens a connection that connects when first used, and again after a failure.
///
/// # Errors
/// When the URL can't be parsed.
pub(crate) fn connect(url: &str) -> Result<ConnectionManager, redis::RedisError> {
    let config = ConnectionManagerConfig::new()
        .set_connection_timeout(Some(Duration::from_millis(500)))
        .set_response_timeout(Some(WRITE_TIMEOUT))
        .set_number_of_retries(1)
        .set_min_delay(Duration::from_millis(20))
        .set_max_delay(Duration::from_millis(200));
    ConnectionManager::new_lazy_with_config(redis::Client::open(url)?, config)
}

/// Entries in Redis.
pub(crate) struct RedisPool {
    connection: ConnectionManager,
    secret: Secret,
    timeout: Duration,
    breaker: Breaker,
    bad_entries: Counter,
}

impl RedisPool {
    /// `timeout` bounds a lookup; `secret` authenticates entries.
    pub(crate) fn new(connection: ConnectionManager, secret: Secret, timeout: Duration) -> Self {
        let bad_entries = counter!("forebay_pool_bad_entries");
        Self { connection, secret, timeout, breaker: Breaker::new(), bad_entries }
    }

    /// The entries under `keys`, with one MGET.
    ///
    /// # Errors
    /// `Timeout`, `Redis`, or `Resting` after repeated failures.
    pub(crate) async fn get(&self, keys: &[Key]) -> Result<Vec<Arc<Entry>>, PoolError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        if self.breaker.rests() {
            return Err(PoolError::Resting);
        }
        let found = self.mget(keys).await;
        self.breaker.record(found.is_ok());
        let found = found?.into_iter().zip(keys);
        Ok(found.filter_map(|(sealed, key)| self.open(sealed?, key)).collect())
    }

    async fn mget(&self, keys: &[Key]) -> Result<Vec<Option<Vec<u8>>>, PoolError> {
        let mut command = redis::cmd("MGET");
        for key in keys {
            command.arg(name(key));
        }
        let mut connection = self.connection.clone();
        let answer = tokio::time::timeout(self.timeout, command.query_async(&mut connection));
        Ok(answer.await.map_err(|_| PoolError::Timeout(self.timeout))??)
    }

    fn open(&self, sealed: Vec<u8>, key: &Key) -> Option<Arc<Entry>> {
        match Entry::open(Bytes::from(sealed), key, &self.secret) {
            Ok(entry) => Some(Arc::new(entry)),
            Err(error) => {
                self.bad_entries.increment(1);
                tracing::warn!("an entry of the pool is not used: {error}");
                None
            }
        }
    }

    /// Writes entries in one round trip; each goes by itself when its time is over.
    ///
    /// # Errors
    /// When Redis can't be reached: none of them may have been written.
    pub(crate) async fn put(&self, entries: &[(Key, Arc<Entry>)]) -> Result<(), PoolError> {
        let mut pipeline = redis::pipe();
        for (key, entry) in entries {
            let millis = u64::try_from(lifetime(entry).as_millis()).unwrap_or(u64::MAX);
            pipeline
                .cmd("SET")
                .arg(name(key))
                .arg(entry.seal(key, &self.secret))
                .arg("PX")
                .arg(millis)
                .ignore();
        }
        let mut connection = self.connection.clone();
        let written = tokio::time::timeout(WRITE_TIMEOUT, pipeline.query_async::<()>(&mut connection));
        Ok(written.await.map_err(|_| PoolError::Timeout(WRITE_TIMEOUT))??)
    }
}

fn name(key: &Key) -> Vec<u8> {
    [ENTRY_PREFIX, &key.0].concat()
}

/// Rests after repeated failures, then lets one lookup try.
struct Breaker {
    failures: AtomicU32,
    /// Milliseconds after `start`.
    rest_until: AtomicU64,
    start: Instant,
}

impl Breaker {
    fn new() -> Self {
        Self { failures: AtomicU32::new(0), rest_until: AtomicU64::new(0), start: Instant::now() }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn rests(&self) -> bool {
        self.rests_at(self.now_ms())
    }

    fn rests_at(&self, now_ms: u64) -> bool {
        if self.failures.load(Ordering::Relaxed) < FAILURES_TO_REST {
            return false;
        }
        let until = self.rest_until.load(Ordering::Relaxed);
        let next = now_ms + u64::try_from(REST.as_millis()).unwrap_or(u64::MAX);
        // Whoever moves the end of the rest is the one that tries.
        now_ms < until
            || self.rest_until.compare_exchange(until, next, Ordering::Relaxed, Ordering::Relaxed).is_err()
    }

    fn record(&self, success: bool) {
        self.record_at(success, self.now_ms());
    }

    fn record_at(&self, success: bool, now_ms: u64) {
        if success {
            if self.failures.load(Ordering::Relaxed) != 0 {
                self.failures.store(0, Ordering::Relaxed);
            }
        } else if self.failures.fetch_add(1, Ordering::Relaxed) + 1 == FAILURES_TO_REST {
            let next = now_ms + u64::try_from(REST.as_millis()).unwrap_or(u64::MAX);
            self.rest_until.store(next, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_breaker_rests_after_repeated_failures_and_lets_one_try() {
        let breaker = Breaker::new();
        for _ in 0..FAILURES_TO_REST {
            assert!(!breaker.rests_at(0));
            breaker.record_at(false, 0);
        }
        assert!(breaker.rests_at(499));
        assert!(!breaker.rests_at(500), "one tries");
        assert!(breaker.rests_at(500), "the others still rest");
        breaker.record_at(true, 501);
        assert!(!breaker.rests_at(502));
    }
}
