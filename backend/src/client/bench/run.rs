//! One measurement: connections are opened, all threads begin at once, each sends by its pace, and one tally leaves.

mod sender;

use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::draw::Law;
use super::progress::Progress;
use super::tally::Tally;
use super::turns::Rate;
use crate::client::AskError;
use crate::client::connection::{ConnectionError, Server};
use crate::client::request::Request;
use sender::{Cue, Sending};

/// From when all are connected to the begin: time for every thread to hear of it.
const TAKE_BREATH: Duration = Duration::from_millis(5);

/// What is measured.
pub(super) struct Plan<'a> {
    pub(super) server: &'a Server,
    pub(super) request: &'a Request,
    pub(super) law: &'a Law,
    /// Has each request an id of its own?
    pub(super) has_ids: bool,
    pub(super) connections: u32,
    pub(super) threads: u32,
    /// None: a closed loop.
    pub(super) rate: Option<Rate>,
    pub(super) warmup: Duration,
    pub(super) duration: Duration,
}

/// What came of it.
pub(super) struct Measured {
    pub(super) tally: Tally,
    /// From the end of the warm-up to the last answer, or to the end.
    pub(super) elapsed: Duration,
    pub(super) client: ClientTime,
}

/// The client's own part.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ClientTime {
    /// CPU time of all threads that sent; `None` where the system doesn't tell.
    pub(super) cpu: Option<Duration>,
    /// How long they ran, all together.
    pub(super) ran: Duration,
}

/// A thread's share of it, when it is over.
type Ended = Result<(Tally, ClientTime), AskError>;

/// Measures.
///
/// # Errors
/// A connection can't be opened, or the system gives no thread.
pub(super) fn measure(
    plan: &Plan<'_>,
    progress: &Progress,
    is_stopped: &AtomicBool,
) -> Result<Measured, AskError> {
    std::thread::scope(|scope| {
        let (ready, are_ready) = channel();
        let (ended, have_ended) = channel();
        let mut begins = Vec::new();
        for index in 0..plan.threads {
            let (begin, when) = oneshot::channel();
            begins.push(begin);
            let (ready, ended): (Sender<()>, Sender<Ended>) = (ready.clone(), ended.clone());
            let sending = Sending { plan, index, progress, is_stopped };
            scope.spawn(move || {
                // Nobody listens any more when another thread failed.
                let _ = ended.send(sending.run(ready, when));
            });
        }
        drop((ready, ended));
        // A thread that fails drops its sender; those that are ready then hear nothing and end.
        let count = are_ready.iter().take(begins.len()).count();
        if count < begins.len() {
            drop(begins);
            return Err(first_error(&have_ended));
        }
        let begin = Instant::now() + TAKE_BREATH;
        let cue = Cue { begin, from: begin + plan.warmup, end: begin + plan.warmup + plan.duration };
        for one in begins {
            let _ = one.send(cue);
        }
        collect(&have_ended, cue, progress)
    })
}

fn first_error(have_ended: &Receiver<Ended>) -> AskError {
    let errors = have_ended.iter().filter_map(Result::err);
    let fallback = || ConnectionError::Closed(std::io::ErrorKind::Interrupted.into()).into();
    errors.reduce(|first, _| first).unwrap_or_else(fallback)
}

/// Shows how it goes until all threads have ended.
fn collect(have_ended: &Receiver<Ended>, cue: Cue, progress: &Progress) -> Result<Measured, AskError> {
    let mut all = Tally::new();
    let mut client = ClientTime::default();
    loop {
        match have_ended.recv_timeout(Progress::EVERY) {
            Ok(ended) => {
                let (tally, time) = ended?;
                all.join(tally);
                client.ran += time.ran;
                client.cpu = time.cpu.map(|cpu| cpu + client.cpu.unwrap_or_default());
            }
            Err(RecvTimeoutError::Timeout) => progress.show(cue.begin),
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    let until = all.last.map_or(cue.end, |last| last.max(cue.end.min(Instant::now())));
    Ok(Measured { tally: all, elapsed: until.saturating_duration_since(cue.from), client })
}

#[cfg(test)]
mod tests;
