//! Settings -> the store that requests use, and what is told when the served models change.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;

use redis::aio::ConnectionManager;
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::control::OnChange;
use crate::live::{self, Heard, LiveTable, Record};
use crate::models::ModelSet;

use crate::pool::{self, MemoryPool, RedisPool};
use crate::settings::{self, PoolKind, ServeSettings, SettingsError};
use crate::store::Store;

/// The pool and who is told what is live.
pub(super) struct Pooled {
    pub(super) store: Option<Arc<Store>>,
    /// The table of this process alone: with the pool in memory.
    pub(super) own_table: Option<Arc<LiveTable>>,
    pub(super) on_change: OnChange,
    /// Done when the other instances know that this one left.
    pub(super) farewell: Option<oneshot::Receiver<()>>,
}

impl Pooled {
    /// The pool that the settings ask for. Must be called inside a runtime.
    ///
    /// # Errors
    /// When a URL or a secret can't be used.
    pub(super) fn start(settings: &ServeSettings, stop: &CancellationToken) -> Result<Self, SettingsError> {
        match settings.pool.pool {
            PoolKind::None => {
                Ok(Self { store: None, own_table: None, on_change: Box::new(|_| {}), farewell: None })
            }
            PoolKind::Memory => Ok(Self::memory(settings)),
            PoolKind::Redis => {
                let url = settings.pool.redis_url.clone().unwrap_or_default();
                let wrong = |reason: String| SettingsError::Wrong { flag: "--redis-url", reason };
                let connection = pool::connect(&url).map_err(|error| wrong(error.to_string()))?;
                Self::redis(settings, connection, stop)
            }
        }
    }

    fn memory(settings: &ServeSettings) -> Self {
        let pool = MemoryPool::new(settings.pool.pool_bytes);
        let table = Arc::new(LiveTable::new(true));
        let (own_table, service) = (table.clone(), settings.service.clone());
        let on_change = move |set: &ModelSet| {
            let record = Record { service: service.clone(), models: set.live() };
            let own = Heard { instance: String::new(), beat_ms: 0, record };
            table.set_models(live::live_models(&[own], 0));
        };
        Self {
            store: Some(Arc::new(Store::memory(pool, settings.pool.max_entry_bytes))),
            own_table: Some(own_table),
            on_change: Box::new(on_change),
            farewell: None,
        }
    }

    fn redis(
        settings: &ServeSettings,
        connection: ConnectionManager,
        stop: &CancellationToken,
    ) -> Result<Self, SettingsError> {
        let secret = settings::read_pool_secret(&settings.pool)?;
        let pool = RedisPool::new(connection.clone(), secret, settings.pool.timeout());
        let service = settings.service.clone();
        let (said, records) = watch::channel(Record { service: service.clone(), models: Vec::new() });
        let (done, farewell) = oneshot::channel();
        tokio::spawn(live::redis::register(connection, instance_name(), records, stop.clone(), done));
        let on_change = move |set: &ModelSet| {
            said.send_replace(Record { service: service.clone(), models: set.live() });
        };
        let store = Store::redis(pool, settings.pool.max_entry_bytes, settings.pool.pool_queue_bytes);
        Ok(Self {
            store: Some(Arc::new(store)),
            own_table: None,
            on_change: Box::new(on_change),
            farewell: Some(farewell),
        })
    }
}

/// A name that no other instance has: the standard library's random keys, twice.
fn instance_name() -> String {
    let random = || RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}", random(), random())
}
