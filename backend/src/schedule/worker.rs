//! A session's thread: the next batch out of the queue -> the session -> each request's own result, taken by the work's
//! `done`. A panic or an error ends the requests it belongs to, never the thread.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use super::batch::Joined;
use super::queue::{Next, Taken};
use super::{Computed, RunError, Shared, Work};
use crate::engine::Session;
use crate::statistics::Compute;

pub(super) struct Worker {
    session: Box<dyn Session>,
    shared: Arc<Shared>,
    batch: Vec<Taken<Box<dyn Work>>>,
    joined: Joined,
    /// The model gave outputs that can't be cut: its requests run alone from then on.
    joins: bool,
}

impl Worker {
    pub(super) fn new(session: Box<dyn Session>, shared: Arc<Shared>) -> Self {
        Self { session, shared, batch: Vec::new(), joined: Joined::default(), joins: true }
    }

    /// Works until the schedule is closed and nothing waits.
    pub(super) fn work(mut self) {
        while self.wait() {
            let now = Instant::now();
            for taken in &self.batch {
                self.shared.statistics.queued(now.saturating_duration_since(taken.waiting.since));
            }
            if !(self.batch.len() > 1 && self.joins && self.run_together()) {
                let mut batch = std::mem::take(&mut self.batch);
                batch.drain(..).for_each(|taken| self.run_alone(taken));
                self.batch = batch;
            }
        }
    }

    /// Fills `batch`; false when there will be none.
    fn wait(&mut self) -> bool {
        let shared = self.shared.clone();
        let mut state = shared.lock();
        loop {
            let now = Instant::now();
            let next = state.queue.next(now, &mut self.batch);
            let until = match next {
                Next::Run => {
                    if !state.queue.is_empty() && state.tell_one() {
                        shared.wake.notify_one();
                    }
                    return true;
                }
                Next::Expired(taken) => {
                    drop(state);
                    self.shared.statistics.expired();
                    shared.deliver(taken.number, taken.waiting.item, Err(RunError::Expired));
                    state = shared.lock();
                    continue;
                }
                Next::Idle if state.closed => return false,
                Next::Idle => None,
                Next::Wait(until) => Some(until.saturating_duration_since(now)),
            };
            state = shared.wait(state, until);
        }
    }

    /// Runs the batch as one; false when its requests must run alone: one of them is wrong, or the model doesn't batch.
    fn run_together(&mut self) -> bool {
        let began = Instant::now();
        self.joined.join(self.batch.iter().map(|taken| (&*taken.waiting.item, taken.waiting.rows)));
        let gathered = Instant::now();
        let outputs = self.batch[0].waiting.item.outputs().to_vec();
        let (session, joined) = (&mut self.session, &self.joined);
        let Ok(Ok(computed)) = catch_unwind(AssertUnwindSafe(|| session.run(&joined.inputs(), &outputs)))
        else {
            return false;
        };
        let inferred = Instant::now();
        let specs = &self.session.signature().outputs;
        let Some(parts) = self.joined.cut(&computed, |output| specs[output].datatype) else {
            self.joins = false;
            tracing::warn!(
                "the model's outputs don't have the batch's size: its requests run alone from now on"
            );
            return false;
        };
        let compute =
            Compute { input: gathered - began, infer: inferred - gathered, output: inferred.elapsed() };
        let rows: u64 = self.batch.iter().map(|taken| taken.waiting.rows).sum();
        self.shared.statistics.executed(rows, self.batch.len(), &compute);
        for (taken, outputs) in self.batch.drain(..).zip(parts) {
            let share = taken.waiting.rows as f64 / rows as f64;
            let computed = Computed { outputs, cost: compute.infer.mul_f64(share), is_part: true };
            self.shared.deliver(taken.number, taken.waiting.item, Ok(computed));
        }
        true
    }

    fn run_alone(&mut self, taken: Taken<Box<dyn Work>>) {
        let Taken { number, waiting } = taken;
        let work = waiting.item;
        let began = Instant::now();
        let session = &mut self.session;
        let outcome = catch_unwind(AssertUnwindSafe(|| session.run(&work.inputs(), work.outputs())));
        let infer = began.elapsed();
        let result = match outcome {
            Ok(Ok(outputs)) => {
                self.shared.statistics.executed(waiting.rows, 1, &Compute { infer, ..Compute::default() });
                Ok(Computed { outputs, cost: infer, is_part: false })
            }
            Ok(Err(error)) => Err(RunError::Engine(error)),
            Err(_) => Err(RunError::Panicked),
        };
        self.shared.deliver(number, work, result);
    }
}
