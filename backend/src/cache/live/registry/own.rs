//! The registry of a process that has the only server and the only gate: what is said is in the table at once.

use std::future::ready;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use super::{Registry, Untold, until_none};
use crate::cache::live::heard::{Heard, Record, live_models};
use crate::cache::live::proxies::Proxies;
use crate::cache::live::reports::{Fate, Seen};
use crate::cache::live::table::LiveTable;
use crate::cache::pool::PoolError;

/// The table of this process, and who polls it.
pub(crate) struct Own {
    pub(crate) table: Arc<LiveTable>,
    pub(crate) proxies: Arc<Proxies>,
    reports: Mutex<Seen>,
}

impl Own {
    /// An empty table, and nobody who polls it.
    pub(crate) fn new() -> Self {
        Self { table: Arc::new(LiveTable::own()), proxies: Arc::default(), reports: Mutex::default() }
    }
}

impl Registry for Own {
    fn say(&self, record: Record) {
        let own = Heard { instance: String::new(), order: 1, changed: 1, beat_ms: 0, left: false, record };
        self.table.set_models(live_models(&[own], 0));
    }

    fn settled(&self, patience: Duration) -> BoxFuture<'_, Result<(), Untold>> {
        let epoch = self.table.epoch();
        let behind = move || {
            let behind = self.proxies.behind(epoch, Instant::now());
            ready(behind.map(|name| format!("proxy {name}")))
        };
        until_none(patience, Instant::now() + patience, behind).map(Ok).boxed()
    }

    fn follow(&self, _: Arc<LiveTable>, _: Arc<Proxies>, _: CancellationToken) -> BoxFuture<'static, ()> {
        ready(()).boxed()
    }

    fn report(&self, who: String, seq: u64) -> BoxFuture<'_, Result<Fate, PoolError>> {
        let mut seen = self.reports.lock().unwrap_or_else(PoisonError::into_inner);
        ready(Ok(seen.fate(who, seq, Instant::now()))).boxed()
    }
}
