//! What runs sessions, a thread or a task: the next batch out of the queue -> a free session -> each request's own result,
//! taken by the work's `done`. A panic or an error ends the requests it belongs to, nothing else.

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, MutexGuard};
use std::time::{Duration, Instant};

use tokio::task::yield_now;

use super::batch::{self, Joined};
use super::queue::{Next, Taken};
use super::{Computed, RunError, SLICE, Shared, State, Work};
use crate::engine::{Run, Session};
use crate::observe::statistics::Compute;
use crate::observe::trace::Stage;

pub(super) struct Worker {
    shared: Arc<Shared>,
    batch: Vec<Taken<Box<dyn Work>>>,
    /// The model gave outputs that can't be cut: its requests run alone from then on.
    joins: bool,
}

impl Worker {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, batch: Vec::new(), joins: true }
    }

    /// Works until the schedule is closed and nothing waits.
    pub(super) fn work(mut self) {
        let mut done = None;
        while let Some(mut session) = self.wait(done) {
            self.run(session.as_mut());
            done = self.keep(session);
        }
    }

    /// Works until nothing waits, with a stop for other tasks after each [`SLICE`], or until runs are long: then the threads
    /// go on.
    pub(super) async fn work_as_task(mut self) {
        yield_now().await;
        let mut since = Instant::now();
        let mut free = self.begin();
        while let Some(mut session) = free.and_then(|session| self.next(session)) {
            self.run(session.as_mut());
            if since.elapsed() >= SLICE {
                yield_now().await;
                since = Instant::now();
            }
            free = self.keep(session);
        }
    }

    /// The session, unless it was lost.
    fn keep(&self, session: Box<dyn Session>) -> Option<Box<dyn Session>> {
        if session.lost().is_none() {
            return Some(session);
        }
        self.shared.lose(vec![session]);
        None
    }

    fn begin(&self) -> Option<Box<dyn Session>> {
        let mut state = self.shared.lock();
        state.tasks -= 1;
        self.shared.take_free(state).1
    }

    /// Fills `batch` for the session, or brings it back.
    fn next(&mut self, session: Box<dyn Session>) -> Option<Box<dyn Session>> {
        let shared = self.shared.clone();
        let mut state = shared.lock();
        if shared.is_short() {
            let filled;
            (state, filled) = self.fill(&shared, state);
            if filled.is_break() {
                return Some(session);
            }
        }
        state.free.push(session);
        if state.closed {
            shared.wake.notify_all();
        } else if !state.queue.is_empty() && state.tell_one() {
            shared.wake.notify_one();
        }
        None
    }

    /// Brings back the session that is done, and fills `batch` for the one that it gives; `None` when there will be nothing.
    fn wait(&mut self, done: Option<Box<dyn Session>>) -> Option<Box<dyn Session>> {
        let shared = self.shared.clone();
        let mut state = shared.lock();
        state.free.extend(done);
        loop {
            let mut until = None;
            let free;
            (state, free) = shared.take_free(state);
            if let Some(session) = free {
                let filled;
                (state, filled) = self.fill(&shared, state);
                let ControlFlow::Continue(next) = filled else {
                    let more = !state.queue.is_empty() && !state.free.is_empty();
                    if more && state.tell_one() {
                        shared.wake.notify_one();
                    }
                    return Some(session);
                };
                state.free.push(session);
                if next.is_none() && state.closed {
                    // There may be fewer sessions than threads.
                    shared.wake.notify_all();
                    return None;
                }
                until = next;
            } else if state.closed && state.is_away() {
                return None;
            }
            state = shared.wait(state, until.map(|at| at.saturating_duration_since(Instant::now())));
        }
    }

    /// Fills `batch` and breaks, or continues with when there may be something. What is too late is refused.
    fn fill<'a>(
        &mut self,
        shared: &'a Shared,
        mut state: MutexGuard<'a, State>,
    ) -> (MutexGuard<'a, State>, ControlFlow<(), Option<Instant>>) {
        loop {
            let next = state.queue.next(Instant::now(), &mut self.batch);
            shared.tell_waiting(&mut state);
            match next {
                Next::Run => return (state, ControlFlow::Break(())),
                Next::Idle => return (state, ControlFlow::Continue(None)),
                Next::Wait(until) => return (state, ControlFlow::Continue(Some(until))),
                Next::Expired(taken) => {
                    drop(state);
                    shared.statistics.expired();
                    shared.deliver(taken.number, taken.waiting.item, Err(RunError::Expired));
                    state = shared.lock();
                }
            }
        }
    }

    /// Runs the batch.
    fn run(&mut self, session: &mut dyn Session) {
        let now = Instant::now();
        for taken in &self.batch {
            let waited = now.saturating_duration_since(taken.waiting.since);
            self.shared.statistics.queued(waited);
            tell(&*taken.waiting.item, taken.waiting.since, &[(Stage::Queue, waited)]);
        }
        if self.batch.len() > 1 && self.joins && self.run_together(session) {
            return;
        }
        for Taken { number, waiting } in self.batch.drain(..) {
            let result = run_alone(&self.shared, session, &*waiting.item, waiting.rows);
            self.shared.deliver(number, waiting.item, result);
        }
    }

    /// Runs the batch as one; false when its requests must run alone: one of them is wrong, or the model doesn't batch.
    fn run_together(&mut self, session: &mut dyn Session) -> bool {
        let began = Instant::now();
        let rows: Vec<u64> = self.batch.iter().map(|taken| taken.waiting.rows).collect();
        let total: u64 = rows.iter().sum();
        let joined = Joined::new(self.batch.iter().map(|taken| &*taken.waiting.item), total);
        let outputs = self.batch[0].waiting.item.outputs();
        let Ok(Ok(run)) = catch_unwind(AssertUnwindSafe(|| session.run(&joined.inputs(), outputs))) else {
            return false;
        };
        let ran = began.elapsed();
        let specs = &session.signature().outputs;
        let Some(parts) = batch::cut(&rows, &run.outputs, |output| specs[output].datatype) else {
            self.joins = false;
            tracing::warn!(
                "the model's outputs don't have the batch's size: its requests run alone from now on"
            );
            return false;
        };
        let output = began.elapsed().saturating_sub(ran);
        let compute = Compute { output, ..compute(&run, ran) };
        self.shared.statistics.executed(total, self.batch.len(), &compute);
        for taken in &self.batch {
            tell(&*taken.waiting.item, began, &stages(&compute));
        }
        for (taken, outputs) in self.batch.drain(..).zip(parts) {
            let share = taken.waiting.rows as f64 / total as f64;
            let computed = Computed { outputs, cost: ran.mul_f64(share) };
            self.shared.deliver(taken.number, taken.waiting.item, Ok(computed));
        }
        true
    }
}

fn run_alone(
    shared: &Shared,
    session: &mut dyn Session,
    work: &dyn Work,
    rows: u64,
) -> Result<Computed, RunError> {
    let began = Instant::now();
    let ran = catch_unwind(AssertUnwindSafe(|| session.run(&work.inputs(), work.outputs())));
    let took = began.elapsed();
    shared.took(took);
    let run = ran.map_err(|_| RunError::Panicked)??;
    let compute = compute(&run, took);
    shared.statistics.executed(rows, 1, &compute);
    tell(work, began, &stages(&compute));
    Ok(Computed { outputs: run.outputs, cost: took })
}

/// Tells a request's trace of stages that took so long, the first of which began then.
fn tell(work: &dyn Work, began: Instant, stages: &[(Stage, Duration)]) {
    if let Some(trace) = work.trace() {
        trace.stages(began, stages);
    }
}

fn stages(compute: &Compute) -> [(Stage, Duration); 3] {
    let Compute { input, infer, output } = *compute;
    [(Stage::ComputeInput, input), (Stage::ComputeInfer, infer), (Stage::ComputeOutput, output)]
}

/// Where the time of a run went that took so long.
fn compute(run: &Run, took: Duration) -> Compute {
    let infer = took.saturating_sub(run.gathering);
    Compute { input: run.gathering, infer, output: Duration::ZERO }
}
