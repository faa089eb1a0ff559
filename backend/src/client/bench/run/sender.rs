//! A thread that sends: its connections take turns in one task, so that none of them costs a thread's wake.

use std::cell::RefCell;
use std::io;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use futures_util::stream::{FuturesUnordered, TryStreamExt as _};
use tokio::sync::oneshot;
use tokio::task::coop::unconstrained;

use super::{ClientTime, Ended, Plan};
use crate::client::AskError;
use crate::client::bench::draw::Draws;
use crate::client::bench::progress::Progress;
use crate::client::bench::tally::{Tally, Times};
use crate::client::bench::turns::{Arrivals, Turns};
use crate::client::connection::{Answer, Connection, ConnectionError};
use crate::client::request::Request;

/// After a connection couldn't be opened.
const PAUSE: Duration = Duration::from_millis(50);

/// When all begin.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cue {
    pub(super) begin: Instant,
    /// What is due before is warm-up.
    pub(super) from: Instant,
    pub(super) end: Instant,
}

/// A thread's part of a measurement.
pub(super) struct Sending<'a> {
    pub(super) plan: &'a Plan<'a>,
    pub(super) index: u32,
    pub(super) progress: &'a Progress,
    pub(super) is_stopped: &'a AtomicBool,
}

/// What a thread's connections share.
struct Shared<'a> {
    sending: &'a Sending<'a>,
    turns: &'a Turns<'a>,
    cue: Cue,
    tally: RefCell<Tally>,
}

impl Sending<'_> {
    /// Opens the connections, says so, waits for the begin, and sends to the end.
    pub(super) fn run(&self, ready: Sender<()>, when: oneshot::Receiver<Cue>) -> Ended {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(own)?;
        runtime.block_on(unconstrained(self.send(ready, when)))
    }

    async fn send(&self, ready: Sender<()>, when: oneshot::Receiver<Cue>) -> Ended {
        let plan = self.plan;
        let numbers = (self.index..plan.connections).step_by(plan.threads as usize);
        let connections = try_join_all(numbers.clone().map(|_| plan.server.connect())).await?;
        let _ = ready.send(());
        drop(ready);
        let Ok(cue) = when.await else { return Ok((Tally::new(), ClientTime::default())) };
        let arrivals = plan.rate.map(|rate| {
            Arrivals::new(
                rate,
                self.index,
                plan.threads,
                plan.law.seed,
                cue.end.saturating_duration_since(cue.begin),
            )
        });
        let patience = plan.server.timeout;
        let turns = Turns::new(cue.begin, cue.end, patience, arrivals, self.is_stopped).map_err(own)?;
        let shared = Shared { sending: self, turns: &turns, cue, tally: RefCell::new(Tally::new()) };
        tokio::time::sleep_until(cue.begin.into()).await;
        let (began, cpu) = (Instant::now(), cpu_time());
        let senders: FuturesUnordered<_> = numbers
            .zip(connections)
            .map(|(number, connection)| shared.send(connection, plan.law.draws(u64::from(number))))
            .collect();
        senders.try_collect::<()>().await.map_err(own)?;
        let cpu = cpu.zip(cpu_time()).map(|(before, after)| after.saturating_sub(before));
        let time = ClientTime { cpu, ran: began.elapsed() };
        let mut tally = shared.tally.into_inner();
        tally.unsent = turns.unsent(cue.from);
        Ok((tally, time))
    }
}

impl Shared<'_> {
    /// Sends over one connection as long as there is something to send.
    async fn send(&self, connection: Connection, mut draws: Draws) -> io::Result<()> {
        let plan = self.sending.plan;
        let mut request = plan.request.clone();
        let mut connection = Some(connection);
        while let Some(due) = self.turns.next().await? {
            if plan.law.is_varied() {
                request.vary(draws.next());
            }
            if plan.has_ids {
                request.name(plan.law.id());
            }
            self.ask(&mut connection, &mut request, due).await;
        }
        Ok(())
    }

    async fn ask(&self, kept: &mut Option<Connection>, request: &mut Request, due: Instant) {
        let server = self.sending.plan.server;
        let sent = Instant::now();
        let mut connection = match kept.take().and_then(|mut kept| kept.is_open().then_some(kept)) {
            Some(connection) => connection,
            None => match server.connect().await {
                Ok(connection) => {
                    self.tally.borrow_mut().reconnected += 1;
                    connection
                }
                Err(error) => {
                    self.count(due, sent, 0, &Err(error));
                    return tokio::time::sleep(PAUSE).await;
                }
            },
        };
        let bytes = request.len();
        let outcome = connection.ask(request, server.timeout).await;
        let failed = outcome.is_err();
        self.count(due, sent, bytes, &outcome);
        if !failed && connection.is_open() {
            *kept = Some(connection);
        }
    }

    /// Counts what became of a request, unless it was due before the measurement.
    fn count(
        &self,
        due: Instant,
        sent: Instant,
        bytes: usize,
        outcome: &Result<Answer<'_>, ConnectionError>,
    ) {
        let times = Times { due, sent, over: Instant::now() };
        let mut tally = self.tally.borrow_mut();
        tally.all += 1;
        self.sending.progress.count(matches!(outcome, Ok(answer) if answer.status.is_good()));
        if due >= self.cue.from {
            tally.add(times, bytes, outcome);
        }
    }
}

/// What the system doesn't give us.
fn own(error: io::Error) -> AskError {
    AskError::System(error)
}

/// CPU time of this thread so far.
fn cpu_time() -> Option<Duration> {
    let schedstat = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(Duration::from_nanos(schedstat.split(' ').next()?.parse().ok()?))
}
