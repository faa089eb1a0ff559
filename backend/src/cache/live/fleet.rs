//! The servers of a service that are alive, as they say it of themselves, and which class of processor they have. The
//! pool's settings enter. Next: `forebay optimize --fleet` judges a variant for all of their classes.

use super::heard::Heard;
use super::registry::{MemcachedSteps, Steps};
use crate::cache::pool::{Memcached, PoolError, Redis};
use crate::engine::cpu::Cpu;
use crate::settings::{PoolKind, SettingsError, TierSettings};

/// A server that is alive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Replica {
    pub(crate) instance: String,
    /// `None`: it is of a release that doesn't say.
    pub(crate) cpu: Option<Cpu>,
}

/// Why it isn't known which servers there are.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FleetError {
    #[error("no pool is named that servers share (--pool redis or memcached)")]
    Alone,
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error("which servers there are can't be read: {0}")]
    Pool(#[from] PoolError),
}

/// The servers of that service, by the name of each. Must be called inside a runtime.
///
/// # Errors
/// No pool is shared, or it can't be asked.
pub(crate) async fn replicas(tier: &TierSettings, service: &str) -> Result<Vec<Replica>, FleetError> {
    match tier.pool {
        PoolKind::Redis => of(Redis::open(&tier.redis()).await?, service).await,
        PoolKind::Memcached => {
            let memcached = Memcached::open(&tier.memcached()).await?;
            of(MemcachedSteps::new(memcached), service).await
        }
        PoolKind::Memory | PoolKind::None => Err(FleetError::Alone),
    }
}

pub(super) async fn of(steps: impl Steps, service: &str) -> Result<Vec<Replica>, FleetError> {
    let (now_ms, heard) = steps.peek().await?;
    let alive = heard.into_iter().filter(|one| one.is_alive(now_ms) && one.record.service == service);
    let replica = |one: Heard| Replica { cpu: one.record.cpu(), instance: one.instance };
    let mut replicas: Vec<Replica> = alive.map(replica).collect();
    replicas.sort_unstable_by(|a, b| a.instance.cmp(&b.instance));
    Ok(replicas)
}
