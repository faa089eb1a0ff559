//! Checked requests -> a bounded queue -> batches -> sessions on threads of their own -> computed tensors. The threads
//! share the queue: a request goes from its task to a session's thread and back without a stop between. Where runs are
//! short, a task of the runtime takes the thread's place. Next: the work's own `done`, where it was computed.

pub(crate) mod answers;
pub(crate) mod batch;
pub(crate) mod batching;
pub(crate) mod busy_poll;
pub(crate) mod flight;
pub(crate) mod given;
mod loss;
mod order;
mod queue;
mod ticket;
mod worker;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use crate::class::Class;
use crate::engine::gpu::Gpu;
use crate::engine::{EngineError, InputTensor, OutputTensor, Session};
use crate::observe::logs::seldom;
use crate::observe::statistics::Statistics;
use crate::observe::trace::Trace;
use crate::upstream::UpstreamError;
use batching::Batching;
use order::Order;
use queue::{Queue, Waiting};
pub(crate) use ticket::Ticket;
use worker::Worker;

/// Runs as short as this are done by a task of the runtime: a thread has to be woken and to wake the task again, which costs
/// as much as a short run itself (`vad` at 16 connections, 70 us in process: 143 us of CPU by a thread, 94 by a task).
const SHORT_RUN: Duration = Duration::from_micros(200);
/// For so long a task runs what waits before other tasks of its thread have a turn: a third of the kernel's own slice. The
/// longer, the more is computed while the processor has it at hand (0.2 ms: 117 us of CPU a request, 1 ms: 94, 2 ms: 95).
const SLICE: Duration = Duration::from_millis(1);

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
    #[error("Exceeds maximum queue size: {limit} requests of this priority wait already")]
    Level { limit: usize },
    #[error("{reason}; try again later")]
    Away { reason: String },
}

impl QueueError {
    pub(crate) fn class(&self) -> Class {
        match self {
            Self::Requests { .. } | Self::Bytes { .. } | Self::Level { .. } => Class::Rejected,
            Self::Away { .. } => Class::Away,
        }
    }
}

/// What a session computed for one request.
#[derive(Debug)]
pub(crate) struct Computed {
    pub(crate) outputs: Vec<OutputTensor>,
    /// The request's share of the session's time.
    pub(crate) cost: Duration,
}

/// Why a session gave no result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error("the session panicked")]
    Panicked,
    /// In Triton's words.
    #[error("Request timeout expired")]
    Expired,
    /// In front of an upstream, in its words.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
}

impl RunError {
    pub(crate) fn class(&self) -> Class {
        match self {
            Self::Engine(error) => error.class(),
            Self::Panicked => Class::Failed,
            Self::Expired => Class::Rejected,
            Self::Upstream(error) => error.class(),
        }
    }
}

/// One request on its way through the queue.
pub(crate) trait Work: Send {
    /// What to compute on; in the signature's order where it has `shapes`.
    fn inputs(&self) -> Vec<InputTensor<'_>>;
    /// Which outputs to compute.
    fn outputs(&self) -> &[usize];
    /// What its stages are told, if it may be traced.
    fn trace(&self) -> Option<&Trace> {
        None
    }
    /// Takes the result, on the session's thread.
    fn done(self: Box<Self>, result: Result<Computed, RunError>);
}

/// How one request is to be scheduled.
#[derive(Debug, Default)]
pub(crate) struct Demand {
    /// Bytes of its tensors.
    pub(crate) bytes: usize,
    /// Rows of the batch that it is; 1 where the model has no batches.
    pub(crate) rows: u64,
    /// From [`batch::shapes`]; `None` for a request that must run alone.
    pub(crate) shapes: Option<Box<[i64]>>,
    /// 1 is the most urgent; 0 is the model's default.
    pub(crate) priority: u64,
    /// How long it wants to wait at most.
    pub(crate) timeout: Option<Duration>,
    /// Since when it waits, where that is longer than it is in this queue.
    pub(crate) since: Option<Instant>,
    /// When nobody waits for the result any more.
    pub(crate) deadline: Option<Instant>,
}

/// The sessions of one version of a model and the queue before them. Dropping it lets the sessions finish what waits
/// and end.
pub(crate) struct Schedule {
    shared: Arc<Shared>,
    batches: bool,
}

struct Shared {
    state: Mutex<State>,
    /// Something came, or the schedule closed.
    wake: Condvar,
    /// Of a model that keeps its answers in order.
    order: Option<Mutex<Order<Finished>>>,
    /// How long a run takes lately, in nanoseconds; 0 until it is known.
    recent_ns: AtomicU64,
    statistics: Arc<Statistics>,
}

struct State {
    queue: Queue<Box<dyn Work>>,
    /// How many requests `/metrics` was told that wait.
    told_waiting: usize,
    /// Sessions that don't run. Whoever brings one back looks whether something waits.
    free: Vec<Box<dyn Session>>,
    /// How many sessions there shall be.
    sessions: usize,
    /// For each that isn't there, the GPU that it was lost with.
    away: Vec<Arc<Gpu>>,
    /// Threads that wait.
    idle: usize,
    /// Those of them that were told to look: until they run, one more word costs a system call and changes nothing.
    told: usize,
    /// Tasks that will look, and didn't yet.
    tasks: usize,
    closed: bool,
}

type Finished = (Box<dyn Work>, Result<Computed, RunError>);

impl Schedule {
    /// Starts one thread a session.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(crate) fn start(
        name: &str,
        sessions: Vec<Box<dyn Session>>,
        batching: Batching,
        limits: QueueLimits,
        statistics: Arc<Statistics>,
    ) -> std::io::Result<Self> {
        let batches = batching.batches();
        let order = batching.keeps_order.then(|| Mutex::new(Order::new()));
        let threads = sessions.len();
        let queue = Queue::new(batching, limits);
        let state = State {
            queue,
            told_waiting: 0,
            free: sessions,
            sessions: threads,
            away: Vec::new(),
            idle: 0,
            told: 0,
            tasks: 0,
            closed: false,
        };
        let shared = Shared {
            state: Mutex::new(state),
            wake: Condvar::new(),
            order,
            recent_ns: AtomicU64::new(0),
            statistics,
        };
        let schedule = Self { shared: Arc::new(shared), batches };
        for _ in 0..threads {
            let worker = Worker::new(schedule.shared.clone());
            std::thread::Builder::new().name(format!("session {name}")).spawn(move || worker.work())?;
        }
        Ok(schedule)
    }

    /// Whether requests may run together: only then are their `shapes` of use.
    pub(crate) fn batches(&self) -> bool {
        self.batches
    }

    /// Whether a session is computing.
    pub(crate) fn computes(&self) -> bool {
        let state = self.shared.lock();
        state.free.len() + state.away.len() < state.sessions
    }

    /// Queues one request.
    ///
    /// # Errors
    /// When the queue is full, or no session is there: nothing of the request is kept then.
    pub(crate) fn submit(&self, work: Box<dyn Work>, demand: Demand) -> Result<Ticket<'_>, QueueError> {
        let Demand { bytes, rows, shapes, priority, timeout, since, deadline } = demand;
        let since = since.unwrap_or_else(Instant::now);
        let waiting = Waiting { item: work, bytes, rows, shapes, since, deadline, timeout, priority };
        let mut state = self.shared.lock();
        state.check_away()?;
        let place = state.queue.push(waiting)?;
        self.shared.tell_waiting(&mut state);
        if let Some(order) = &self.shared.order {
            locked(order).enter(place.number);
        }
        self.call_one(state);
        Ok(Ticket { shared: &self.shared, place, is_open: true })
    }

    /// Has a session run what waits: on its thread, or, where runs are short, by a task. The task begins when those that are
    /// ready now had their turn, so what came together is computed together, and answered together.
    fn call_one(&self, mut state: MutexGuard<'_, State>) {
        if state.free.len() <= state.tasks {
            // Whoever brings a session back looks for more.
            return;
        }
        let runtime = Handle::try_current().ok().filter(|_| !self.batches && self.shared.is_short());
        if let Some(runtime) = runtime {
            state.tasks += 1;
            drop(state);
            runtime.spawn(Worker::new(self.shared.clone()).work_as_task());
        } else if state.tell_one() {
            drop(state);
            self.shared.wake.notify_one();
        }
    }
}

impl Drop for Schedule {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.wake.notify_all();
    }
}

impl State {
    /// Whether a session is to be woken that wasn't told yet.
    fn tell_one(&mut self) -> bool {
        let tells = self.idle > self.told;
        self.told += usize::from(tells);
        tells
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        locked(&self.state)
    }

    /// Tells `/metrics` how many requests wait, after it changed.
    fn tell_waiting(&self, state: &mut State) {
        let waiting = state.queue.requests();
        let before = std::mem::replace(&mut state.told_waiting, waiting);
        self.statistics.waiting_changed(before, waiting);
    }

    /// Waits for something to come, at most so long.
    fn wait<'a>(&self, mut state: MutexGuard<'a, State>, most: Option<Duration>) -> MutexGuard<'a, State> {
        state.idle += 1;
        let mut state = match most {
            None => self.wake.wait(state).unwrap_or_else(PoisonError::into_inner),
            Some(most) => self.wake.wait_timeout(state, most).unwrap_or_else(PoisonError::into_inner).0,
        };
        state.idle -= 1;
        // One that wakes by itself looks as well as the one that was told, which then looks in vain.
        state.told = state.told.saturating_sub(1);
        state
    }

    /// Whether runs are short lately.
    fn is_short(&self) -> bool {
        let recent = Duration::from_nanos(self.recent_ns.load(Ordering::Relaxed));
        !recent.is_zero() && recent <= SHORT_RUN
    }

    /// Remembers how long a run took: the mean of about the last eight. Who overwrites whom doesn't matter.
    fn took(&self, run: Duration) {
        let run = u64::try_from(run.as_nanos()).unwrap_or(u64::MAX).max(1);
        let recent = match self.recent_ns.load(Ordering::Relaxed) {
            0 => run,
            recent => recent - recent / 8 + run / 8,
        };
        self.recent_ns.store(recent, Ordering::Relaxed);
    }

    /// Hands a result over, at once or when those before it are.
    fn deliver(&self, number: u64, work: Box<dyn Work>, result: Result<Computed, RunError>) {
        match &self.order {
            None => hand_over((work, result)),
            Some(order) => {
                // Held until all are handed over: another thread's answers come after these.
                let mut order = locked(order);
                order.finish(number, (work, result)).into_iter().for_each(hand_over);
            }
        }
    }
}

/// What stores and answers is not worth a thread.
fn hand_over((work, result): Finished) {
    if catch_unwind(AssertUnwindSafe(|| work.done(result))).is_err() {
        seldom!(error, "a result was lost: taking it panicked");
    }
}

/// The state is whole after a panic too: no change of it is left half done.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
