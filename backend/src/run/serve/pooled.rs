//! Settings -> the store that requests use, and who is told when the served models change.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::cache::PoolSecret;
use crate::cache::live::ledger::{self, Book, Ledger};
use crate::cache::live::{Herald, Leaving, MemcachedSteps, Own, Registry as _, Shared, Steps};
use crate::cache::pool::{Memcached, MemoryPool, Redis, RemotePool, Shelf};
use crate::cache::store::Store;
use crate::settings::{PoolKind, ServingSettings, SettingsError};

/// The pool and who is told what is live.
pub(in crate::run) struct Pooled {
    pub(in crate::run) store: Option<Arc<Store>>,
    /// What the gate in this process answers from: with the pool in memory.
    pub(in crate::run) own: Option<Arc<Own>>,
    pub(in crate::run) herald: Arc<Herald>,
    /// Done when the other instances know that this one leaves.
    pub(in crate::run) farewell: Option<oneshot::Receiver<()>>,
    /// What the servers of the service keep together, where they share a pool.
    pub(in crate::run) ledger: Option<Arc<dyn Ledger>>,
}

impl Pooled {
    /// The pool that the settings ask for. Must be called inside a runtime.
    ///
    /// # Errors
    /// When a URL or a secret can't be used, or the server says so.
    pub(in crate::run) async fn start(
        settings: &ServingSettings,
        leaving: &Leaving,
    ) -> Result<Self, SettingsError> {
        let pool = &settings.pool;
        match pool.tier.pool {
            PoolKind::None => {
                let herald = Arc::new(Herald::none());
                Ok(Self { store: None, own: None, herald, farewell: None, ledger: None })
            }
            PoolKind::Memory => Ok(Self::memory(settings)),
            PoolKind::Redis => {
                let redis = Redis::open(&pool.redis()).await?;
                Self::remote(redis.clone(), redis, settings, leaving)
            }
            PoolKind::Memcached => {
                let memcached = Memcached::open(&pool.tier.memcached()).await?;
                Self::remote(memcached.clone(), MemcachedSteps::new(memcached), settings, leaving)
            }
        }
    }

    fn memory(settings: &ServingSettings) -> Self {
        let pool = &settings.pool;
        let entries = MemoryPool::new(pool.pool_bytes(), pool.max_entry_bytes);
        let own = Arc::new(Own::new());
        let herald = Herald::new(own.clone(), &settings.service, settings.generations_timeout_secs);
        Self {
            store: Some(Arc::new(Store::new(entries, own.purged(), pool.max_entry_bytes))),
            own: Some(own),
            herald: Arc::new(herald),
            farewell: None,
            ledger: None,
        }
    }

    /// Entries on a shelf, and what is live by steps, of one tier.
    fn remote(
        shelf: impl Shelf,
        steps: impl Steps + Clone,
        settings: &ServingSettings,
        leaving: &Leaving,
    ) -> Result<Self, SettingsError> {
        let pool = &settings.pool;
        let secret = PoolSecret::followed(pool, &leaving.stop)?;
        let ledger = ledger::Shared::of(steps.clone(), Book::Variants, &settings.service);
        let ledger: Arc<dyn Ledger> = Arc::new(ledger);
        let (registry, farewell) = Shared::told(steps, &settings.service, leaving.clone());
        let purged = registry.purged();
        let herald = Herald::new(Arc::new(registry), &settings.service, settings.generations_timeout_secs);
        let entries = RemotePool::start(shelf, secret, pool.timeout(), pool.pool_queue_bytes());
        let store = Store::new(entries, purged, pool.max_entry_bytes).with_lately(pool.pool_bytes());
        let store = Arc::new(store);
        let (herald, farewell) = (Arc::new(herald), Some(farewell));
        Ok(Self { store: Some(store), own: None, herald, farewell, ledger: Some(ledger) })
    }
}
