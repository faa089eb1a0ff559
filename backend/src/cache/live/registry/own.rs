//! The registry of a process that has the only server and the only gate: what is said is in the table at once.

use std::future::ready;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use forebay_protocol::generations::LiveModel;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use super::{Known, PurgeError, Raised, Registry, Untold, until_none};
use crate::cache::live::heard::{Heard, Record, live_models};
use crate::cache::live::proxies::Proxies;
use crate::cache::live::purges::{Full, Name, Purged, Purges};
use crate::cache::live::reports::{Fate, Seen};
use crate::cache::live::table::LiveTable;
use crate::cache::pool::PoolError;
use crate::time::clock::now_ms;

/// The table of this process, and who polls it.
pub(crate) struct Own {
    pub(crate) table: Arc<LiveTable>,
    pub(crate) proxies: Arc<Proxies>,
    reports: Mutex<Seen>,
    purged: Arc<Purged>,
    /// What is live, without what was purged.
    said: Mutex<Vec<LiveModel>>,
}

impl Own {
    /// An empty table, and nobody who polls it.
    pub(crate) fn new() -> Self {
        Self {
            table: Arc::new(LiveTable::own()),
            proxies: Arc::default(),
            reports: Mutex::default(),
            purged: Arc::new(Purged::own()),
            said: Mutex::default(),
        }
    }

    fn behind(&self, epoch: u64) -> Option<String> {
        self.proxies.behind(epoch, Instant::now()).map(|name| format!("proxy {name}"))
    }

    /// The epoch of the table after a change of what is live, or of what was purged.
    fn change(&self, change: impl FnOnce(&mut Vec<LiveModel>)) -> u64 {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut said);
        let purges = self.purged.now();
        self.table.set_models(purges.fold(said.clone()), purges.dropped())
    }
}

impl Registry for Own {
    fn say(&self, record: Record) {
        let own = Heard { instance: String::new(), order: 1, changed: 1, beat_ms: 0, left: false, record };
        self.change(|said| *said = live_models(&[own], 0));
    }

    fn settled(&self, patience: Duration) -> BoxFuture<'_, Result<(), Untold>> {
        let epoch = self.table.epoch();
        let behind = move || ready(self.behind(epoch));
        until_none(patience, Instant::now() + patience, behind).map(Ok).boxed()
    }

    fn follow(&self, _: Arc<LiveTable>, _: Arc<Proxies>, _: CancellationToken) -> BoxFuture<'static, ()> {
        ready(()).boxed()
    }

    fn report(&self, who: String, seq: u64) -> BoxFuture<'_, Result<Fate, PoolError>> {
        let mut seen = self.reports.lock().unwrap_or_else(PoisonError::into_inner);
        ready(Ok(seen.fate(who, seq, Instant::now()))).boxed()
    }

    fn purged(&self) -> Arc<Purged> {
        self.purged.clone()
    }

    fn purge(&self, name: Name, _: u64) -> BoxFuture<'_, Result<Raised, PurgeError>> {
        let mut raised = Ok(());
        let epoch = self.change(|_| {
            let mut purges = Purges::clone(&self.purged.now());
            let us = now_ms().saturating_mul(1000);
            raised = purges.raise(&name, None, us).or_else(|Full| purges.raise(&name.wider(), None, us));
            self.purged.set(purges);
        });
        let known = Known { epoch, purged: self.purged.now().mark() };
        let raised = raised.map(|()| Raised { known, copies: (0, 0) });
        ready(raised.map_err(|Full| PurgeError::Full)).boxed()
    }

    fn lags(&self, known: Known) -> BoxFuture<'_, Option<String>> {
        ready(self.behind(known.epoch)).boxed()
    }
}
