//! Redis: entries by MGET, in cluster mode by GET, and SET. `server` is the one that the settings name, or that `sentinel`s name, or the
//! nodes of a `cluster`; `listed` reads URLs of several, `link` is a connection, `commands` what goes by it, `why` what errors mean.

mod cluster;
mod commands;
mod link;
mod listed;
mod sentinel;
mod server;
mod why;

use std::time::Duration;

use ::redis::RedisError;
use bytes::Bytes;
use forebay_protocol::digest::Key;
use futures_util::future::join_all;

use super::remote::{Sealed, Shelf};
use super::{Cause, PoolError};

pub(crate) use link::Link;
pub(crate) use server::Server as Redis;

/// The largest string.
const STRING_BYTES: usize = 512 << 20;

impl Shelf for Redis {
    const TIER: &'static str = "redis";

    async fn get(&self, keys: &[Key], patience: Duration) -> Result<Vec<Option<Bytes>>, PoolError> {
        if self.is_cluster() {
            return self.get_each(keys, patience).await;
        }
        let mut command = ::redis::cmd("MGET");
        for key in keys {
            command.arg(self.names.entry(key));
        }
        let found: Vec<Option<Vec<u8>>> = self.lookups.ask(&command, patience).await?;
        Ok(found.into_iter().map(|found| found.map(Bytes::from)).collect())
    }

    async fn put(&self, entries: &[Sealed], patience: Duration) -> Result<(), PoolError> {
        let sets = entries.iter().map(|Sealed { key, bytes, lifetime }| {
            let millis = u64::try_from(lifetime.as_millis()).unwrap_or(u64::MAX);
            let mut set = ::redis::cmd("SET");
            set.arg(self.names.entry(key)).arg(&**bytes).arg("PX").arg(millis);
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

impl Redis {
    /// Each of the node that has its slot. One that is lost has nothing; it is an error when none answers of those that are asked.
    async fn get_each(&self, keys: &[Key], patience: Duration) -> Result<Vec<Option<Bytes>>, PoolError> {
        let asked = keys.iter().map(|key| async {
            let mut command = ::redis::cmd("GET");
            self.lookups.ask::<Option<Vec<u8>>>(command.arg(self.names.entry(key)), patience).await
        });
        let answers = join_all(asked).await;
        let one_answers = answers.iter().any(Result::is_ok);
        let found = answers.into_iter().map(|answer| match answer {
            Err(error) if !one_answers => Err(error),
            answer => Ok(answer.ok().flatten().map(Bytes::from)),
        });
        found.collect()
    }
}

impl From<RedisError> for PoolError {
    fn from(error: RedisError) -> Self {
        Self::Failed(Cause::from(Box::<dyn std::error::Error + Send + Sync>::from(error)))
    }
}
