//! The live generations in Redis: `serve` says what it serves once a second and at once when that changes; the gate reads what all
//! of them said, and says which tables it and its proxies have. Times are Redis' own, so that clocks of machines don't matter.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{oneshot, watch};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::heard::{Record, live_models, outdated};
use super::proxies::Proxies;
use super::script::{self, Reader, Said, Stands, Word};
use super::table::LiveTable;
use crate::cache::pool::{PoolError, Server};

const HEARTBEAT: Duration = Duration::from_secs(1);
/// After a heartbeat that failed.
const AGAIN: Duration = Duration::from_millis(200);
/// How often the gate reads: it adds this to the time that a load takes to be known.
const READ: Duration = Duration::from_millis(100);
/// Between two reads, whatever there is to ask.
const SHORTEST_READ: Duration = Duration::from_millis(10);
/// Outdated records are looked for every so many heartbeats.
const BEATS_TO_SWEEP: u64 = 60;

/// A record, and which one it is in the order in which they were made.
#[derive(Debug, Clone)]
pub(super) struct Numbered {
    pub(super) number: u64,
    pub(super) record: Record,
}

/// How far the pool has heard.
#[derive(Debug, Clone, Default)]
pub(super) struct Progress {
    /// The newest record that was said, 0 for none.
    pub(super) number: u64,
    /// The epoch by which everybody who has it knows that record.
    pub(super) epoch: u64,
    /// Why the last attempt failed, if it did.
    pub(super) trouble: Option<Arc<str>>,
}

/// Who says what is served here.
pub(super) struct Register {
    pub(super) server: Server,
    pub(super) instance: String,
    pub(super) records: watch::Receiver<Numbered>,
    pub(super) told: watch::Sender<Progress>,
}

/// Where this instance stands with the pool.
#[derive(Default)]
struct Standing {
    /// The digest that the pool has, as far as is known.
    said: String,
    /// The epoch of its last answer.
    known: u64,
    /// It was told something, and has never answered.
    unanswered: bool,
}

impl Register {
    /// Says what this instance serves until `stop`, then that it leaves: others take over at once, and if there are none, its
    /// generations stay the last ones. `done` is told when that is said.
    pub(super) async fn run(mut self, stop: CancellationToken, done: oneshot::Sender<()>) {
        let mut beats: u64 = 0;
        let mut standing = Standing::default();
        let mut pause = Duration::ZERO;
        // Without --model-control-mode poll or explicit nobody is left to change anything; the heartbeat goes on.
        let mut may_change = true;
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(pause) => {}
                changed = self.records.changed(), if may_change => may_change = changed.is_ok(),
            }
            pause = match self.beat(false, &mut standing).await {
                Ok(()) => HEARTBEAT,
                Err(error) => {
                    self.server
                        .complain(&format!("what is served here can't be said to the others: {error}"));
                    self.told.send_modify(|told| told.trouble = Some(error.to_string().into()));
                    AGAIN
                }
            };
            if beats.is_multiple_of(BEATS_TO_SWEEP)
                && let Err(error) = self.sweep().await
            {
                tracing::debug!("sweep: {error}");
            }
            beats += 1;
        }
        if let Err(error) = self.beat(true, &mut standing).await {
            self.server.complain(&format!("the others were not told that this server leaves: {error}"));
        }
        // The end of the program may not wait for it.
        let _ = done.send(());
    }

    async fn beat(&mut self, left: bool, standing: &mut Standing) -> Result<(), PoolError> {
        let Numbered { number, record } = self.records.borrow_and_update().clone();
        let text = script::text(&record);
        let digest = script::digest(&text);
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
        let answer = script::say(&self.server.generations, &word).await;
        match &answer {
            Ok(answer) => (standing.known, standing.unanswered) = (answer.epoch, false),
            // Nothing was sent.
            Err(PoolError::Down(_)) => {}
            Err(_) => standing.unanswered |= known == 0,
        }
        answer
    }

    async fn sweep(&self) -> Result<(), PoolError> {
        let (now_ms, heard) = script::peek(&self.server.generations).await?;
        let gone = outdated(&heard, now_ms);
        if gone.is_empty() { Ok(()) } else { script::sweep(&self.server.generations, &gone).await }
    }
}

/// Who keeps a gate's table.
pub(crate) struct Follow {
    pub(crate) server: Server,
    /// This gate's name among the others.
    pub(crate) gate: String,
    pub(crate) table: Arc<LiveTable>,
    pub(crate) proxies: Arc<Proxies>,
}

impl Follow {
    /// Keeps the table as Redis has it, until `stop`.
    pub(crate) async fn run(self, stop: CancellationToken) {
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
                    self.server.complain(&format!("the live generations can't be read: {error}"));
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
        let read = script::read(&self.server.generations, &reader).await?;
        self.proxies.said(&proxies, asked);
        let models = read.heard.map(|heard| live_models(&heard, read.now_ms));
        self.table.set(read.epoch, models, asked, &known);
        *signature = read.signature;
        Ok(())
    }
}
