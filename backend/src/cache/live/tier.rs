//! What `serve` serves -> the table that everybody goes by, and back the word that they do.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::heard::{Heard, Record, Served, live_models};
use super::proxies::Proxies;
use super::redis::{Numbered, Progress, Register};
use super::script;
use super::table::LiveTable;
use crate::cache::pool::Server;

/// How often it is asked who has not heard yet.
const ASKED_AGAIN: Duration = Duration::from_millis(25);

/// Who is told of changes.
pub(crate) struct Tier {
    kind: Kind,
    /// How long a change may take to be known to all.
    patience: Duration,
    record: Mutex<Record>,
    changes: AtomicU64,
}

enum Kind {
    /// Nobody: nothing is cached.
    None,
    /// The gate in this process.
    Own { table: Arc<LiveTable>, proxies: Arc<Proxies> },
    /// All gates, by Redis.
    Redis { server: Server, records: watch::Sender<Numbered>, told: watch::Receiver<Progress> },
}

/// A change that the tier has not heard of.
#[derive(Debug, thiserror::Error)]
#[error(
    "done here, but the pool was not told within {patience:?} ({reason}): proxies and other servers may answer with results of \
     before until they find the pool silent; this server goes on telling it"
)]
pub(crate) struct Untold {
    patience: Duration,
    reason: String,
}

impl Tier {
    /// Nobody has to be told.
    pub(crate) fn none() -> Self {
        Self {
            kind: Kind::None,
            patience: Duration::ZERO,
            record: Mutex::new(Record::empty("")),
            changes: AtomicU64::new(0),
        }
    }

    /// A gate in this process is told.
    pub(crate) fn own(
        service: &str,
        patience: Duration,
        table: Arc<LiveTable>,
        proxies: Arc<Proxies>,
    ) -> Self {
        let record = Mutex::new(Record::empty(service));
        Self { kind: Kind::Own { table, proxies }, patience, record, changes: AtomicU64::new(0) }
    }

    /// All gates are told by Redis, once a second, until `stop`. The receiver is told when they know that this server left.
    /// Must be called inside a runtime.
    pub(crate) fn redis(
        service: &str,
        patience: Duration,
        server: Server,
        stop: CancellationToken,
    ) -> (Self, oneshot::Receiver<()>) {
        let record = Record::empty(service);
        let (records, said) = watch::channel(Numbered { number: 0, record: record.clone() });
        let (told, heard) = watch::channel(Progress::default());
        let (done, farewell) = oneshot::channel();
        let register = Register { server: server.clone(), instance: random_name(), records: said, told };
        tokio::spawn(register.run(stop, done));
        let kind = Kind::Redis { server, records, told: heard };
        (Self { kind, patience, record: Mutex::new(record), changes: AtomicU64::new(0) }, farewell)
    }

    /// These are served now. Must be called in the order of the changes.
    pub(crate) fn say(&self, models: Vec<Served>) {
        let mut record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        let next = record.then(models);
        if *record == next {
            return;
        }
        *record = next;
        self.changes.fetch_add(1, Ordering::Relaxed);
        match &self.kind {
            Kind::None => {}
            Kind::Own { table, .. } => {
                let own = Heard {
                    instance: String::new(),
                    order: 1,
                    changed: 1,
                    beat_ms: 0,
                    left: false,
                    record: record.clone(),
                };
                table.set_models(live_models(&[own], 0));
            }
            Kind::Redis { records, .. } => {
                records.send_modify(|said| {
                    *said = Numbered { number: said.number + 1, record: record.clone() };
                });
            }
        }
    }

    /// How many changes were said.
    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Relaxed)
    }

    /// Waits until what was said last is known to every gate, and to every proxy that polls one, or the time for that is over: who
    /// doesn't have it by then gives no hits any more.
    ///
    /// # Errors
    /// When it could not even be said.
    pub(crate) async fn settled(&self) -> Result<(), Untold> {
        let until = Instant::now() + self.patience;
        match &self.kind {
            Kind::None => Ok(()),
            Kind::Own { table, proxies } => {
                let epoch = table.epoch();
                let behind = || {
                    let behind = proxies.behind(epoch, Instant::now());
                    std::future::ready(behind.map(|name| format!("proxy {name}")))
                };
                self.until_none(until, behind).await;
                Ok(())
            }
            Kind::Redis { server, records, told } => {
                let number = records.borrow().number;
                self.said(number, told.clone(), until).await?;
                // The epoch is another when the record was lost and had to be said again.
                self.until_none(until, || behind(server, told.borrow().epoch)).await;
                Ok(())
            }
        }
    }

    /// Waits until that record was said.
    async fn said(
        &self,
        number: u64,
        mut told: watch::Receiver<Progress>,
        until: Instant,
    ) -> Result<(), Untold> {
        let heard = async { told.wait_for(|told| told.number >= number).await.map(drop) };
        let heard = tokio::time::timeout_at(until.into(), heard).await;
        let reason = match heard {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(_)) => "this server ends".to_owned(),
            Err(_) => {
                let trouble = told.borrow().trouble.clone();
                trouble.map_or_else(|| "no answer".to_owned(), |trouble| trouble.to_string())
            }
        };
        Err(Untold { patience: self.patience, reason })
    }

    async fn until_none<F: Future<Output = Option<String>>>(&self, until: Instant, behind: impl Fn() -> F) {
        while let Some(one) = behind().await {
            if Instant::now() >= until {
                let patience = self.patience;
                tracing::warn!("after {patience:?} not all have heard what is live now, among them {one}");
                return;
            }
            tokio::time::sleep(ASKED_AGAIN).await;
        }
    }
}

async fn behind(server: &Server, epoch: u64) -> Option<String> {
    match script::behind(&server.generations, epoch).await {
        Ok((0, _)) => None,
        Ok((_, one)) => Some(one),
        Err(error) => Some(format!("whoever the pool knows ({error})")),
    }
}

/// A name that no other process has: the standard library's random keys, twice.
pub(crate) fn random_name() -> String {
    let random = || RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}", random(), random())
}
