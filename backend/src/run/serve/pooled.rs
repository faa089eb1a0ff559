//! Settings -> the store that requests use, and who is told when the served models change.

use std::sync::Arc;

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::cache::live::{LiveTable, Proxies, Tier};
use crate::cache::pool::{MemoryPool, RedisPool, Server};
use crate::cache::store::Store;
use crate::settings::{self, PoolKind, ServeSettings, SettingsError};

/// The pool and who is told what is live.
pub(super) struct Pooled {
    pub(super) store: Option<Arc<Store>>,
    /// What the gate in this process answers from: with the pool in memory.
    pub(super) own: Option<Own>,
    pub(super) tier: Arc<Tier>,
    /// Done when the other instances know that this one left.
    pub(super) farewell: Option<oneshot::Receiver<()>>,
}

/// The table of this process alone, and who polls it.
pub(super) struct Own {
    pub(super) table: Arc<LiveTable>,
    pub(super) proxies: Arc<Proxies>,
}

impl Pooled {
    /// The pool that the settings ask for. Must be called inside a runtime.
    ///
    /// # Errors
    /// When a URL or a secret can't be used, or the server says so.
    pub(super) async fn start(
        settings: &ServeSettings,
        stop: &CancellationToken,
    ) -> Result<Self, SettingsError> {
        match settings.pool.pool {
            PoolKind::None => {
                Ok(Self { store: None, own: None, tier: Arc::new(Tier::none()), farewell: None })
            }
            PoolKind::Memory => Ok(Self::memory(settings)),
            PoolKind::Redis => Self::redis(settings, stop).await,
        }
    }

    fn memory(settings: &ServeSettings) -> Self {
        let pool = &settings.pool;
        let entries = MemoryPool::new(pool.pool_bytes, pool.max_entry_bytes);
        let own = Own { table: Arc::new(LiveTable::own()), proxies: Arc::default() };
        let (service, patience) = (&settings.service, settings.generations_timeout_secs);
        let tier = Tier::own(service, patience, own.table.clone(), own.proxies.clone());
        Self {
            store: Some(Arc::new(Store::memory(entries, pool.max_entry_bytes))),
            own: Some(own),
            tier: Arc::new(tier),
            farewell: None,
        }
    }

    async fn redis(settings: &ServeSettings, stop: &CancellationToken) -> Result<Self, SettingsError> {
        let pool = &settings.pool;
        let server = Server::open(pool.redis_url.as_deref().unwrap_or_default()).await?;
        let secret = settings::read_pool_secret(pool)?;
        let entries = RedisPool::new(server.clone(), secret, pool.timeout());
        let (service, patience) = (&settings.service, settings.generations_timeout_secs);
        let (tier, farewell) = Tier::redis(service, patience, server, stop.clone());
        let store = Store::redis(entries, pool.max_entry_bytes, pool.pool_queue_bytes);
        let (store, tier) = (Some(Arc::new(store)), Arc::new(tier));
        Ok(Self { store, own: None, tier, farewell: Some(farewell) })
    }
}
