//! The registry that many share: `serve` says what it serves once a second and at once when that changes, and that it leaves as soon as
//! its end begins; the gate reads what all of them said, and says which tables it and its proxies have. Times are the tier's own, so that clocks of machines don't matter.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::{oneshot, watch};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::steps::{self, Reader, Said, Stands, Steps, Word};
use super::{Registry, Untold, random_name, until_none};
use crate::cache::live::heard::{Record, live_models, replicas};
use crate::cache::live::proxies::Proxies;
use crate::cache::live::reports::Fate;
use crate::cache::live::table::LiveTable;
use crate::cache::pool::PoolError;

const HEARTBEAT: Duration = Duration::from_secs(1);
/// After a heartbeat that failed.
const AGAIN: Duration = Duration::from_millis(200);
/// How often the gate reads: it adds this to the time that a load takes to be known.
const READ: Duration = Duration::from_millis(100);
/// Between two reads, whatever there is to ask.
const SHORTEST_READ: Duration = Duration::from_millis(10);
/// Outdated records are looked for every so many heartbeats.
const BEATS_TO_SWEEP: u64 = 60;

/// How a server ends.
#[derive(Clone)]
pub(crate) struct Leaving {
    /// The end begins: the others are told.
    pub(crate) begun: CancellationToken,
    /// Nothing is said any more.
    pub(crate) stop: CancellationToken,
}

/// A registry that others share.
pub(crate) struct Shared<S> {
    steps: Arc<S>,
    records: watch::Sender<Numbered>,
    told: watch::Receiver<Progress>,
}

/// A record, and which one it is in the order in which they were made.
#[derive(Debug, Clone)]
struct Numbered {
    number: u64,
    record: Record,
}

/// How far the registry has heard.
#[derive(Debug, Clone, Default)]
struct Progress {
    /// The newest record that was said, 0 for none.
    number: u64,
    /// The epoch by which everybody who has it knows that record.
    epoch: u64,
    /// Why the last attempt failed, if it did.
    trouble: Option<Arc<str>>,
}

/// Who says what is served here.
struct Register<S> {
    steps: Arc<S>,
    instance: String,
    records: watch::Receiver<Numbered>,
    told: watch::Sender<Progress>,
}

/// Where this instance stands with the registry.
#[derive(Default)]
struct Standing {
    /// The digest that it has, as far as is known.
    said: String,
    /// The epoch of its last answer.
    known: u64,
    /// It was told something, and has never answered.
    unanswered: bool,
}

impl<S: Steps> Shared<S> {
    /// As a gate has it, which says nothing of its own.
    pub(crate) fn heard(steps: S) -> Self {
        let (records, _) = watch::channel(Numbered { number: 0, record: Record::empty("") });
        let (_, told) = watch::channel(Progress::default());
        Self { steps: Arc::new(steps), records, told }
    }

    /// As a server has it, which says what it serves once a second. The receiver is told when the others know that it leaves. Must be
    /// called inside a runtime.
    pub(crate) fn told(steps: S, service: &str, leaving: Leaving) -> (Self, oneshot::Receiver<()>) {
        let steps = Arc::new(steps);
        let (records, said) = watch::channel(Numbered { number: 0, record: Record::empty(service) });
        let (told, progress) = watch::channel(Progress::default());
        let (done, farewell) = oneshot::channel();
        let register = Register { steps: steps.clone(), instance: random_name(), records: said, told };
        tokio::spawn(register.run(leaving, done));
        (Self { steps, records, told: progress }, farewell)
    }

    /// Waits until that record was said.
    async fn said(&self, number: u64, patience: Duration, until: Instant) -> Result<(), Untold> {
        let mut told = self.told.clone();
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
        Err(Untold { patience, reason })
    }

    async fn behind(&self, epoch: u64) -> Option<String> {
        match self.steps.behind(epoch).await {
            Ok((0, _)) => None,
            Ok((_, one)) => Some(one),
            Err(error) => Some(format!("whoever the pool knows ({error})")),
        }
    }
}

impl<S: Steps> Registry for Shared<S> {
    fn say(&self, record: Record) {
        self.records.send_modify(|said| *said = Numbered { number: said.number + 1, record });
    }

    fn settled(&self, patience: Duration) -> BoxFuture<'_, Result<(), Untold>> {
        let settled = async move {
            let until = Instant::now() + patience;
            let number = self.records.borrow().number;
            self.said(number, patience, until).await?;
            // The epoch is another when the record was lost and had to be said again.
            let behind = || {
                let epoch = self.told.borrow().epoch;
                self.behind(epoch)
            };
            until_none(patience, until, behind).await;
            Ok(())
        };
        settled.boxed()
    }

    fn follow(
        &self,
        table: Arc<LiveTable>,
        proxies: Arc<Proxies>,
        stop: CancellationToken,
    ) -> BoxFuture<'static, ()> {
        let follow = Follow { steps: self.steps.clone(), gate: random_name(), table, proxies };
        follow.run(stop).boxed()
    }

    fn report(&self, who: String, seq: u64) -> BoxFuture<'_, Result<Fate, PoolError>> {
        self.steps.report(who, seq).boxed()
    }
}

impl<S: Steps> Register<S> {
    /// Says what this instance serves until the end begins, then that it leaves: others take over at once, and if there are none, its
    /// generations stay the last ones.
    async fn run(mut self, leaving: Leaving, done: oneshot::Sender<()>) {
        let Leaving { begun, stop } = leaving;
        let mut beats: u64 = 0;
        let mut standing = Standing::default();
        let mut pause = Duration::ZERO;
        // Without --model-control-mode poll or explicit nobody is left to change anything; the heartbeat goes on.
        let mut may_change = true;
        loop {
            tokio::select! {
                () = begun.cancelled() => break,
                () = tokio::time::sleep(pause) => {}
                changed = self.records.changed(), if may_change => may_change = changed.is_ok(),
            }
            pause = match self.beat(false, &mut standing).await {
                Ok(()) => HEARTBEAT,
                Err(error) => {
                    self.trouble("what is served here can't be said to the others", &error);
                    AGAIN
                }
            };
            if beats.is_multiple_of(BEATS_TO_SWEEP)
                && let Err(error) = self.steps.sweep().await
            {
                tracing::debug!("sweep: {error}");
            }
            beats += 1;
        }
        self.leave(&mut standing, &stop, done).await;
    }

    /// Says that this instance leaves, once at least and until it is heard or `stop`. It is no heartbeat any more: said again only when
    /// what is served changes while requests are finished. `done` is told when it is said.
    async fn leave(&mut self, standing: &mut Standing, stop: &CancellationToken, done: oneshot::Sender<()>) {
        let mut done = Some(done);
        loop {
            let said = self.beat(true, standing).await;
            match &said {
                Ok(()) => {
                    // The end of the program may not wait for it.
                    let _ = done.take().map(|done| done.send(()));
                }
                Err(error) => self.trouble("the others were not told that this server leaves", error),
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(AGAIN), if said.is_err() => {}
                // Nobody is left to change anything when this fails.
                Ok(()) = self.records.changed() => {}
            }
        }
    }

    /// Logs why nothing could be said, and tells those who wait for it.
    fn trouble(&self, what: &str, error: &PoolError) {
        self.steps.complain(&format!("{what}: {error}"));
        self.told.send_modify(|told| told.trouble = Some(error.to_string().into()));
    }

    async fn beat(&mut self, left: bool, standing: &mut Standing) -> Result<(), PoolError> {
        let Numbered { number, record } = self.records.borrow_and_update().clone();
        let text = steps::text(&record);
        let digest = steps::digest(&text);
        let short = if standing.said == digest { "" } else { text.as_str() };
        let mut answer = self.say(left, &digest, short, standing).await?;
        if answer.record == Stands::Lacking {
            answer = self.say(left, &digest, &text, standing).await?;
        }
        standing.said = digest;
        self.told.send_modify(|told| {
            told.trouble = None;
            // One that was lost is said again, by an epoch of its own.
            if told.number < number || answer.record == Stands::Written {
                *told = Progress { number, epoch: answer.epoch, trouble: None };
            }
        });
        Ok(())
    }

    async fn say(
        &self,
        left: bool,
        digest: &str,
        record: &str,
        standing: &mut Standing,
    ) -> Result<Said, PoolError> {
        let Standing { known, unanswered, .. } = *standing;
        let word = Word { instance: &self.instance, left, digest, record, known, unanswered };
        let answer = self.steps.say(&word).await;
        match &answer {
            Ok(answer) => (standing.known, standing.unanswered) = (answer.epoch, false),
            // Nothing was sent.
            Err(PoolError::Down(_)) => {}
            Err(_) => standing.unanswered |= known == 0,
        }
        answer
    }
}

/// Who keeps a gate's table.
struct Follow<S> {
    steps: Arc<S>,
    /// This gate's name among the others.
    gate: String,
    table: Arc<LiveTable>,
    proxies: Arc<Proxies>,
}

impl<S: Steps> Follow<S> {
    /// Keeps the table as the registry has it, until `stop`.
    async fn run(self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(READ);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut signature = String::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
                () = self.proxies.news() => {}
                () = self.table.until_untraced() => {}
            }
            let before = self.table.epoch();
            match self.read(&mut signature).await {
                // That this gate has it is news itself.
                Ok(()) if self.table.epoch() != before => ticks.reset_immediately(),
                Ok(()) => {}
                Err(error) => {
                    self.steps.complain(&format!("the live generations can't be read: {error}"));
                }
            }
            tokio::time::sleep(SHORTEST_READ).await;
        }
    }

    async fn read(&self, signature: &mut String) -> Result<(), PoolError> {
        let asked = Instant::now();
        let (known, proxies) = (self.table.untraced(), self.proxies.to_say(asked));
        let reader = Reader {
            gate: &self.gate,
            epoch: self.table.epoch(),
            signature,
            known: &known,
            proxies: &proxies,
        };
        let read = self.steps.read(&reader).await?;
        self.proxies.said(&proxies, asked);
        if let Some(heard) = &read.heard {
            self.table.set_replicas(replicas(heard, read.now_ms));
        }
        let models = read.heard.map(|heard| live_models(&heard, read.now_ms));
        self.table.set(read.epoch, models, asked, &known);
        *signature = read.signature;
        Ok(())
    }
}
