//! Redis: entries by MGET, in cluster mode by GET, and SET. `server` is the one that the settings name, by an `endpoint`: itself, or who
//! `sentinel`s say that it is, or the nodes of a `cluster`; `lookups` go to it, or to `replicas` of it. `listed` reads URLs of several, `link`
//! keeps a `connection`, `commands` go by it, `why` says what errors mean.

mod cluster;
mod commands;
mod connection;
mod endpoint;
mod link;
mod listed;
mod lookups;
mod replicas;
mod sentinel;
mod server;
mod why;

use std::sync::atomic::Ordering;
use std::time::Duration;

use ::redis::RedisError;
use bytes::Bytes;
use forebay_protocol::digest::Key;
use futures_util::future::join_all;

use super::lease::{self, Slot};
use super::remote::{Sealed, Shelf};
use super::{Cause, Otherwise, PoolError};

pub(crate) use link::Link;
pub(crate) use server::Server as Redis;

/// The largest string.
const STRING_BYTES: usize = 512 << 20;
/// Takes a mark away if it is there still, or has what is given take its place for that long.
const UNMARK: &str = "
if redis.call('MGET', KEYS[1])[1] ~= ARGV[1] then return 0 end
if ARGV[2] == '' then return redis.call('DEL', KEYS[1]) end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1";

impl Shelf for Redis {
    const TIER: &'static str = "redis";

    async fn get(
        &self,
        keys: &[Key],
        patience: Duration,
        otherwise: Otherwise,
    ) -> Result<Vec<Option<Bytes>>, PoolError> {
        self.look_up(keys, patience, otherwise).await
    }

    /// Where no mark can be put (by a Redis before 7, one whose memory is full), what is there is read all the same.
    async fn slot(&self, key: &Key, patience: Duration) -> Result<Slot, PoolError> {
        if self.is_old.load(Ordering::Relaxed) {
            return self.read(key, patience).await;
        }
        let mark = rand::random();
        let mut set = ::redis::cmd("SET");
        set.arg(self.names.entry(key))
            .arg(marked(mark))
            .arg("NX")
            .arg("GET")
            .arg("PX")
            .arg(millis(lease::STAYS));
        match self.lookups.ask::<Option<Vec<u8>>>(&set, patience).await {
            Ok(found) => Ok(found.map_or(Slot::Marked(mark), |found| Slot::of(found.into()))),
            Err(PoolError::Failed(why)) => {
                let slot = self.read(key, patience).await?;
                self.is_old.store(why.to_string().contains("syntax error"), Ordering::Relaxed);
                self.complain(&format!("who computes is not told to others, as Redis 7 can: {why}"));
                Ok(slot)
            }
            Err(error) => Err(error),
        }
    }

    async fn stay(&self, key: &Key, patience: Duration) -> Result<(), PoolError> {
        let mut expire = ::redis::cmd("PEXPIRE");
        // Of an entry that came meanwhile the time is not cut.
        expire.arg(self.names.entry(key)).arg(millis(lease::STAYS)).arg("GT");
        self.writes.ask(&expire, patience).await
    }

    async fn unmark(&self, key: &Key, mark: u64, unkept: bool, patience: Duration) -> Result<(), PoolError> {
        let instead = if unkept { lease::UNKEPT } else { b"" };
        let mut eval = ::redis::cmd("EVAL");
        eval.arg(UNMARK).arg(1).arg(self.names.entry(key));
        eval.arg(marked(mark)).arg(instead).arg(millis(lease::REMEMBERED));
        self.writes.ask(&eval, patience).await
    }

    async fn put(&self, entries: &[Sealed], patience: Duration) -> Result<(), PoolError> {
        let sets = entries.iter().map(|Sealed { key, bytes, lifetime }| {
            let mut set = ::redis::cmd("SET");
            set.arg(self.names.entry(key)).arg(&**bytes).arg("PX").arg(millis(*lifetime));
            set
        });
        let written = if self.is_cluster() {
            // Each at the node that has its slot.
            let sets: Vec<_> = sets.collect();
            let written = join_all(sets.iter().map(|set| self.writes.ask::<()>(set, patience))).await;
            written.into_iter().collect()
        } else {
            let mut commands = ::redis::pipe();
            sets.for_each(|set| {
                commands.add_command(set).ignore();
            });
            self.writes.query(&commands, patience).await
        };
        if let Err(error) = &written
            && !matches!(error, PoolError::Down(_))
        {
            self.complain(&format!("results are not written: {error}"));
        }
        written
    }

    fn max_bytes(&self, _: &Key) -> usize {
        STRING_BYTES
    }

    fn takes_writes(&self, _: &Key) -> bool {
        self.writes.trouble().is_none()
    }

    fn trouble(&self) -> Option<String> {
        Self::trouble(self)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A mark, as it lies under a key.
fn marked(mark: u64) -> Vec<u8> {
    [lease::HELD, &mark.to_le_bytes()].concat()
}

impl From<RedisError> for PoolError {
    fn from(error: RedisError) -> Self {
        Self::Failed(Cause::from(Box::<dyn std::error::Error + Send + Sync>::from(error)))
    }
}
