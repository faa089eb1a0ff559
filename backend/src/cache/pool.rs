//! Where entries are kept: keys -> the first entry found, in one round trip. Next: `store` decides whether it is
//! fresh.

mod breaker;
mod link;
mod memory;
mod redis;
mod server;
mod why;

use std::sync::Arc;
use std::time::Duration;

use forebay_protocol::digest::Key;
use forebay_protocol::entry::Entry;

pub(crate) use link::Link;
pub(crate) use memory::MemoryPool;
pub(crate) use redis::RedisPool;
pub(crate) use server::{ConnectError, Server};

/// A lookup or a write that didn't happen.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PoolError {
    #[error("the pool took longer than {0:?}")]
    Timeout(Duration),
    #[error("the pool can't be used: {0}")]
    Down(Arc<ConnectError>),
    #[error("the pool failed: {0}")]
    Redis(#[from] ::redis::RedisError),
    #[error("the pool failed repeatedly and rests for a moment")]
    Resting,
}

impl PoolError {
    /// As a metric's label.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Timeout(_) => "timeout",
            Self::Down(_) => "down",
            Self::Redis(_) => "error",
            Self::Resting => "resting",
        }
    }
}

/// The kinds of pool.
pub(crate) enum Pool {
    Memory(MemoryPool),
    Redis(RedisPool),
}

impl Pool {
    /// The entries under `keys` that are there and authentic, in the order of the keys.
    ///
    /// # Errors
    /// When a remote pool doesn't answer in time: a miss for the caller.
    pub(crate) async fn get(&self, keys: &[Key]) -> Result<Vec<Arc<Entry>>, PoolError> {
        match self {
            Self::Memory(pool) => Ok(pool.get(keys)),
            Self::Redis(pool) => pool.get(keys).await,
        }
    }
}

/// How long an entry may be of use, stale uses included.
pub(crate) fn lifetime(entry: &Entry) -> Duration {
    let stale = entry.stale_while_revalidate_s.max(entry.stale_if_error_s);
    Duration::from_secs(u64::from(entry.max_age_s) + u64::from(stale))
}
