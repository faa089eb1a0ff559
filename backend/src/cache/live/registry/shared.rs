//! The registry that many share: `serve` says what it serves again and again and at once when that changes, and that it leaves as soon as
//! its end begins; the gate reads what all of them said, and says which tables it and its proxies have. Times are the tier's own, so that clocks of machines don't matter.

mod follow;

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::steps::{self, Known, Raised, Said, Stands, Steps, Word};
use super::{PurgeError, Registry, Untold, random_name, until_none};
use crate::cache::live::heard::Record;
use crate::cache::live::proxies::Proxies;
use crate::cache::live::purges::{Full, Name, Purged};
use crate::cache::live::reports::Fate;
use crate::cache::live::table::LiveTable;
use crate::cache::pool::PoolError;
use follow::Follow;

/// A purge is known to every server within it.
const HEARTBEAT: Duration = Duration::from_millis(750);
/// After a heartbeat that failed.
const AGAIN: Duration = Duration::from_millis(200);
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
    purged: Arc<Purged>,
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
    purged: Arc<Purged>,
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
        Self { steps: Arc::new(steps), records, told, purged: Arc::new(Purged::shared()) }
    }

    /// As a server has it, which says what it serves again and again. The receiver is told when the others know that it leaves. Must be
    /// called inside a runtime.
    pub(crate) fn told(steps: S, service: &str, leaving: Leaving) -> (Self, oneshot::Receiver<()>) {
        let steps = Arc::new(steps);
        let (records, said) = watch::channel(Numbered { number: 0, record: Record::empty(service) });
        let (told, progress) = watch::channel(Progress::default());
        let (done, farewell) = oneshot::channel();
        let purged = Arc::new(Purged::shared());
        let (instance, knows) = (random_name(), purged.clone());
        let register = Register { steps: steps.clone(), instance, records: said, told, purged: knows };
        tokio::spawn(register.run(leaving, done));
        (Self { steps, records, told: progress, purged }, farewell)
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

    async fn behind(&self, known: Known) -> Option<String> {
        match self.steps.behind(known).await {
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
                self.behind(Known { epoch, purged: 0 })
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
        let (steps, purged) = (self.steps.clone(), self.purged.clone());
        let follow = Follow { steps, gate: random_name(), table, proxies, purged, heard: Vec::new() };
        follow.run(stop).boxed()
    }

    fn purged(&self) -> Arc<Purged> {
        self.purged.clone()
    }

    fn purge(&self, name: Name, known: u64) -> BoxFuture<'_, Result<Raised, PurgeError>> {
        let purge = async move {
            match self.steps.raise(&[(name.clone(), None)], known).await? {
                Ok(raised) => Ok(raised),
                // What is purged besides is asked for again: that costs, and is never wrong.
                Err(Full) => {
                    self.steps.raise(&[(name.wider(), None)], known).await?.map_err(|Full| PurgeError::Full)
                }
            }
        };
        purge.boxed()
    }

    fn lags(&self, known: Known) -> BoxFuture<'_, Option<String>> {
        self.behind(known).boxed()
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
                // Who purges waits to hear that it is known here.
                Ok(News::Purged) => Duration::ZERO,
                Ok(News::None) => HEARTBEAT,
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
                Ok(_) => {
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

    async fn beat(&mut self, left: bool, standing: &mut Standing) -> Result<News, PoolError> {
        let asked = Instant::now();
        let before = self.purged.now().mark();
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
        say_lost(&*self.steps, self.purged.heard(answer.purges, asked)).await?;
        Ok(if self.purged.now().mark() == before { News::None } else { News::Purged })
    }

    async fn say(
        &self,
        left: bool,
        digest: &str,
        record: &str,
        standing: &mut Standing,
    ) -> Result<Said, PoolError> {
        let Standing { known, unanswered, .. } = *standing;
        let purged = self.purged.now().mark();
        let word = Word { instance: &self.instance, left, digest, record, known, unanswered, purged };
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

/// What a heartbeat came to.
enum News {
    None,
    /// What was purged is known now.
    Purged,
}

/// Says purge numbers again that the registry has lost.
async fn say_lost<S: Steps>(steps: &S, lost: Vec<(Name, u64)>) -> Result<(), PoolError> {
    if lost.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = lost.into_iter().map(|(name, number)| (name, Some(number))).collect();
    if steps.raise(&names, 0).await? == Err(Full) {
        let wider: Vec<_> = names.into_iter().map(|(name, number)| (name.wider(), number)).collect();
        // The registry has what it has room for: what is more is said with the next heartbeat.
        let _ = steps.raise(&wider, 0).await?;
    }
    Ok(())
}
