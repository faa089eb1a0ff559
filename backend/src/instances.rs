//! Checked requests -> a bounded queue -> sessions on threads of their own -> computed tensors. Next: the work's own
//! `done`, on the session's thread.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};

use crate::engine::{EngineError, InputTensor, OutputTensor, Session};
use crate::metrics::ModelMetrics;

/// How much may wait for one version of a model.
#[derive(Debug, Clone, Copy)]
pub(crate) struct QueueLimits {
    pub(crate) requests: usize,
    pub(crate) bytes: usize,
}

/// A request that is not taken.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum QueueError {
    #[error("the queue of the model is full: {limit} requests wait already")]
    Requests { limit: usize },
    #[error("the queue of the model is full: with this request more than {limit} bytes would wait")]
    Bytes { limit: usize },
    #[error("the model has no session left")]
    NoSession,
}

/// What a session computed, and what it took.
#[derive(Debug)]
pub(crate) struct Computed {
    pub(crate) outputs: Vec<OutputTensor>,
    pub(crate) compute: Duration,
}

/// Why a session gave no result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error("the session panicked")]
    Panicked,
}

/// One request on its way through the queue.
pub(crate) trait Work: Send {
    /// Nobody waits for it any more: it is skipped, unless it runs already.
    fn is_abandoned(&self) -> bool;
    /// What to compute on.
    fn inputs(&self) -> Vec<InputTensor<'_>>;
    /// Which outputs to compute.
    fn outputs(&self) -> &[usize];
    /// Takes the result, on the session's thread.
    fn done(self: Box<Self>, result: Result<Computed, RunError>);
}

struct Queued {
    work: Box<dyn Work>,
    bytes: usize,
    since: Instant,
}

/// The sessions of one version of a model and the queue before them. Dropping it lets the sessions finish what waits
/// and end.
pub(crate) struct Instances {
    sender: Sender<Queued>,
    waiting: Arc<Waiting>,
    limits: QueueLimits,
}

#[derive(Default)]
struct Waiting {
    requests: AtomicUsize,
    bytes: AtomicUsize,
}

impl Instances {
    /// Starts one thread a session.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(crate) fn start(
        name: &str,
        sessions: Vec<Box<dyn Session>>,
        limits: QueueLimits,
        metrics: &Arc<ModelMetrics>,
    ) -> std::io::Result<Self> {
        let (sender, receiver) = crossbeam_channel::unbounded();
        let waiting = Arc::new(Waiting::default());
        for session in sessions {
            let worker = Worker {
                session,
                receiver: receiver.clone(),
                waiting: waiting.clone(),
                metrics: metrics.clone(),
            };
            std::thread::Builder::new().name(format!("session {name}")).spawn(move || worker.work())?;
        }
        Ok(Self { sender, waiting, limits })
    }

    /// Queues one request; `bytes` are those of its tensors.
    ///
    /// # Errors
    /// When the queue is full: nothing of the request is kept then.
    pub(crate) fn submit(&self, work: Box<dyn Work>, bytes: usize) -> Result<(), QueueError> {
        let reserve = |counter: &AtomicUsize, amount: usize, limit: usize| {
            let within = |now: usize| now.checked_add(amount).filter(|sum| *sum <= limit);
            counter.fetch_update(Ordering::Relaxed, Ordering::Relaxed, within).is_ok()
        };
        if !reserve(&self.waiting.requests, 1, self.limits.requests) {
            return Err(QueueError::Requests { limit: self.limits.requests });
        }
        if !reserve(&self.waiting.bytes, bytes, self.limits.bytes) {
            self.waiting.requests.fetch_sub(1, Ordering::Relaxed);
            return Err(QueueError::Bytes { limit: self.limits.bytes });
        }
        let queued = Queued { work, bytes, since: Instant::now() };
        self.sender.send(queued).map_err(|_| QueueError::NoSession)
    }
}

struct Worker {
    session: Box<dyn Session>,
    receiver: Receiver<Queued>,
    waiting: Arc<Waiting>,
    metrics: Arc<ModelMetrics>,
}

impl Worker {
    fn work(mut self) {
        while let Ok(Queued { work, bytes, since }) = self.receiver.recv() {
            self.waiting.requests.fetch_sub(1, Ordering::Relaxed);
            self.waiting.bytes.fetch_sub(bytes, Ordering::Relaxed);
            if work.is_abandoned() {
                self.metrics.abandoned.increment(1);
                continue;
            }
            self.run(work, since);
        }
    }

    fn run(&mut self, work: Box<dyn Work>, since: Instant) {
        let started = Instant::now();
        self.metrics.queue_us.increment(micros(started - since));
        // A panic ends this request, not the thread: the next one finds its session.
        let session = &mut self.session;
        let outcome = catch_unwind(AssertUnwindSafe(|| session.run(&work.inputs(), work.outputs())));
        let compute = started.elapsed();
        self.metrics.compute_us.increment(micros(compute));
        let result = match outcome {
            Ok(Ok(outputs)) => {
                self.metrics.executions.increment(1);
                Ok(Computed { outputs, compute })
            }
            Ok(Err(error)) => Err(RunError::Engine(error)),
            Err(_) => Err(RunError::Panicked),
        };
        // What stores and answers is not worth a thread either.
        if catch_unwind(AssertUnwindSafe(|| work.done(result))).is_err() {
            tracing::error!("a result was lost: taking it panicked");
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
