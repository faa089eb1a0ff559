//! A gate's part in a registry that many share: what was said there, again and again -> its table of what is live, without what was
//! purged; which of its proxies have which table goes back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use forebay_protocol::generations::LiveModel;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::say_lost;
use crate::cache::live::heard::{live_models, replicas};
use crate::cache::live::proxies::Proxies;
use crate::cache::live::purges::Purged;
use crate::cache::live::registry::steps::{Reader, Steps};
use crate::cache::live::table::LiveTable;
use crate::cache::pool::PoolError;

/// How often the gate reads: it adds this to the time that a load takes to be known.
const READ: Duration = Duration::from_millis(100);
/// Between two reads, whatever there is to ask.
const SHORTEST_READ: Duration = Duration::from_millis(10);

/// Who keeps a gate's table.
pub(super) struct Follow<S> {
    pub(super) steps: Arc<S>,
    /// This gate's name among the others.
    pub(super) gate: String,
    pub(super) table: Arc<LiveTable>,
    pub(super) proxies: Arc<Proxies>,
    pub(super) purged: Arc<Purged>,
    /// What is live as the servers said it, without what was purged.
    pub(super) heard: Vec<LiveModel>,
}

impl<S: Steps> Follow<S> {
    /// Keeps the table as the registry has it, until `stop`.
    pub(super) async fn run(mut self, stop: CancellationToken) {
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

    async fn read(&mut self, signature: &mut String) -> Result<(), PoolError> {
        let asked = Instant::now();
        let (known, proxies) = (self.table.untraced(), self.proxies.to_say(asked));
        let reader = Reader {
            gate: &self.gate,
            epoch: self.table.epoch(),
            signature,
            purged: self.purged.now().mark(),
            known: &known,
            proxies: &proxies,
        };
        let read = self.steps.read(&reader).await?;
        self.proxies.said(&proxies, asked);
        let is_news = read.heard.is_some() || read.purges.is_some();
        if let Some(heard) = &read.heard {
            self.table.set_replicas(replicas(heard, read.now_ms));
            self.heard = live_models(heard, read.now_ms);
        }
        let lost = self.purged.heard(read.purges, asked);
        let models = is_news.then(|| self.purged.now().fold(self.heard.clone()));
        if is_news {
            self.table.set_dropped(self.purged.now().dropped());
        }
        self.table.set(read.epoch, models, asked, &known);
        *signature = read.signature;
        say_lost(&*self.steps, lost).await
    }
}
