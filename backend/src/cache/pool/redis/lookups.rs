//! Lookups: keys -> what lies under them at a replica, where those are read from, or else at the master. A replica may lack what was
//! written a moment ago, and have what was there before: each entry says itself how long it is of use, and what was purged has another key,
//! so what it answers is never wrong, but it may be nothing. Marks are the master's alone.

use std::time::{Duration, Instant};

use bytes::Bytes;
use forebay_protocol::digest::Key;
use futures_util::future::join_all;

use super::Redis;
use crate::cache::pool::lease::Slot;
use crate::cache::pool::{Otherwise, PoolError};

type Found = Result<Vec<Option<Bytes>>, PoolError>;

impl Redis {
    /// What is under the keys, in their order.
    pub(super) async fn look_up(&self, keys: &[Key], patience: Duration, otherwise: Otherwise) -> Found {
        if self.is_cluster() {
            self.each(keys, patience, otherwise).await
        } else {
            self.nearest(keys, patience, otherwise).await
        }
    }

    /// What the master has under a key, without a mark.
    pub(super) async fn read(&self, key: &Key, patience: Duration) -> Result<Slot, PoolError> {
        let found = self.of_master(std::slice::from_ref(key), patience).await?.pop().flatten();
        Ok(found.map_or(Slot::Free, Slot::of))
    }

    /// Each of the node that has its slot. One that is lost has nothing; it is an error when none answers of those that are asked.
    async fn each(&self, keys: &[Key], patience: Duration, otherwise: Otherwise) -> Found {
        let asked = keys.iter().map(|key| self.nearest(std::slice::from_ref(key), patience, otherwise));
        let answers = join_all(asked).await;
        let one_answers = answers.iter().any(Result::is_ok);
        let found = answers.into_iter().map(|answer| match answer {
            Err(error) if !one_answers => Err(error),
            answer => Ok(answer.ok().and_then(|mut found| found.pop()).flatten()),
        });
        found.collect()
    }

    /// Of keys that lie at one server. A replica has half of the time, and the master what is left.
    async fn nearest(&self, keys: &[Key], patience: Duration, otherwise: Otherwise) -> Found {
        let Some(replicas) = &self.replicas else { return self.of_master(keys, patience).await };
        let until = Instant::now() + patience;
        let names: Vec<_> = keys.iter().map(|key| self.names.entry(key)).collect();
        match replicas.get(&names, patience / 2, otherwise).await {
            Some(found) => Ok(found),
            None => self.of_master(keys, until.saturating_duration_since(Instant::now())).await,
        }
    }

    async fn of_master(&self, keys: &[Key], patience: Duration) -> Found {
        let names: Vec<_> = keys.iter().map(|key| self.names.entry(key)).collect();
        let found: Vec<Option<Vec<u8>>> = if self.is_cluster() {
            vec![self.lookups.ask(::redis::cmd("GET").arg(names), patience).await?]
        } else {
            self.lookups.ask(::redis::cmd("MGET").arg(names), patience).await?
        };
        Ok(found.into_iter().map(|found| found.map(Bytes::from)).collect())
    }
}
