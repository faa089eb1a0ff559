//! The original beside its variant, for a share of the requests that were computed. What the variant gave enters behind the answer, and
//! never holds it up: it waits in a queue that is bounded in bytes, and is dropped and counted where that is full. One session of the
//! original, on a thread of the lowest priority, computes the same, and both are compared (`compare`). Counts leave: next, `models::fleet`
//! adds up those of all servers, and `evidence` says whether the budget is broken.

pub(crate) mod compare;
pub(crate) mod evidence;

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use forebay_protocol::datatype::DataType;
use forebay_protocol::messages::ModelInferRequest;
use metrics::{Counter, Gauge, counter, gauge};

use crate::engine::{EngineError, InputTensor, OutputTensor, Parts, Session};
use crate::observe::logs::seldom;
use crate::observe::metrics::Series;
use compare::{Compare, Result as Compared, agrees};

/// The lowest priority that a thread may have.
const NICE: i32 = 19;

/// An output that is compared.
#[derive(Debug, Clone)]
pub(crate) struct Watched {
    /// In the variant's signature, and in the original's.
    pub(crate) index: usize,
    pub(crate) original: usize,
    pub(crate) datatype: DataType,
    pub(crate) compare: Compare,
}

/// What is compared, and how often.
#[derive(Debug, Clone)]
pub(crate) struct Terms {
    pub(crate) outputs: Vec<Watched>,
    /// Of requests that are computed.
    pub(crate) share: f64,
    /// The share of requests that may disagree.
    pub(crate) budget: f64,
    /// What may wait.
    pub(crate) queue_bytes: usize,
}

/// How many requests were compared, and how many of them disagreed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) compared: u64,
    pub(crate) disagreed: u64,
}

/// The shadow of one version. Dropping it ends the thread after the run that is on.
pub(crate) struct Shadow {
    shared: Arc<Shared>,
}

struct Shared {
    terms: Terms,
    state: Mutex<State>,
    /// Something came, or it is over.
    wake: Condvar,
    is_broken: AtomicBool,
    compared: Counter,
    disagreed: Counter,
    dropped: Counter,
    failed: Counter,
    broken: Gauge,
    _series: Series,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Job>,
    /// Of all that waits.
    bytes: usize,
    counts: Counts,
    /// What of `counts` was told already.
    told: Counts,
    /// What they were when they first were evidence enough, by themselves. Those that agree later don't undo it.
    broken_at: Option<Counts>,
    closed: bool,
}

/// A request, and what the variant gave.
struct Job {
    request: ModelInferRequest,
    outputs: Vec<OutputTensor>,
    bytes: usize,
}

impl Shadow {
    /// Starts the thread of the original's session.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(crate) fn start(
        model: &str,
        version: &str,
        session: Box<dyn Session>,
        terms: Terms,
    ) -> std::io::Result<Self> {
        let series = Series::of(model, version);
        let labels = [("model", model.to_owned()), ("version", version.to_owned())];
        let shared = series.count(|| Shared {
            terms,
            state: Mutex::default(),
            wake: Condvar::new(),
            is_broken: AtomicBool::new(false),
            compared: counter!("forebay_shadow_compared", &labels),
            disagreed: counter!("forebay_shadow_disagreed", &labels),
            dropped: counter!("forebay_shadow_dropped", &labels),
            failed: counter!("forebay_shadow_failed", &labels),
            broken: gauge!("forebay_shadow_broken", &labels),
            _series: series.clone(),
        });
        // It is there from the beginning, for who watches it.
        shared.broken.increment(0);
        let shared = Arc::new(shared);
        let worker = shared.clone();
        std::thread::Builder::new().name(format!("shadow {model}")).spawn(move || worker.work(session))?;
        Ok(Self { shared })
    }

    /// Whether a request that computed those outputs is one of the share. By chance: what a client sends doesn't decide it.
    pub(crate) fn takes(&self, outputs: &[usize]) -> bool {
        let Terms { outputs: watched, share, .. } = &self.shared.terms;
        rand::random::<f64>() < *share && watched.iter().any(|one| outputs.contains(&one.index))
    }

    /// Queues an answered request with what the variant gave, if there is room.
    pub(crate) fn offer(&self, request: ModelInferRequest, outputs: &[OutputTensor]) {
        let watched = |output: &&OutputTensor| {
            self.shared.terms.outputs.iter().any(|watched| watched.index == output.index)
        };
        let inputs: usize = request.raw_input_contents.iter().map(Bytes::len).sum();
        let given: usize = outputs.iter().filter(watched).map(|output| output.data.len()).sum();
        let bytes = inputs + given;
        {
            let mut state = self.shared.lock();
            if state.bytes + bytes > self.shared.terms.queue_bytes {
                drop(state);
                self.shared.dropped.increment(1);
                return;
            }
            state.bytes += bytes;
        }
        // What waits must not hold on to the memory of a whole batch, nor to the engine's.
        let copy = |output: &OutputTensor| OutputTensor {
            data: Bytes::copy_from_slice(&output.data),
            ..output.clone()
        };
        let outputs = outputs.iter().filter(watched).map(copy).collect();
        self.shared.lock().queue.push_back(Job { request, outputs, bytes });
        self.shared.wake.notify_one();
    }

    /// The share of requests that may disagree.
    pub(crate) fn budget(&self) -> f64 {
        self.shared.terms.budget
    }

    /// What was counted since it started.
    #[cfg(test)]
    fn counts(&self) -> Counts {
        self.shared.lock().counts
    }

    /// What was counted when that alone was evidence enough that its budget is broken, if it was: it is looked at after each request.
    pub(crate) fn broken_at(&self) -> Option<Counts> {
        self.shared.lock().broken_at
    }

    /// What was counted since this was last called.
    pub(crate) fn untold(&self) -> Counts {
        let mut state = self.shared.lock();
        let now = state.counts;
        let before = std::mem::replace(&mut state.told, now);
        Counts { compared: now.compared - before.compared, disagreed: now.disagreed - before.disagreed }
    }

    /// That was not told after all.
    pub(crate) fn take_back(&self, untold: Counts) {
        let mut state = self.shared.lock();
        state.told.compared -= untold.compared;
        state.told.disagreed -= untold.disagreed;
    }

    /// Its budget is broken; whether that is news.
    pub(crate) fn note_broken(&self) -> bool {
        let is_news = !self.shared.is_broken.swap(true, Ordering::Relaxed);
        if is_news {
            self.shared.broken.increment(1);
        }
        is_news
    }
}

impl Drop for Shadow {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.closed = true;
        state.queue.clear();
        self.shared.wake.notify_one();
        drop(state);
        if self.shared.is_broken.load(Ordering::Relaxed) {
            self.shared.broken.decrement(1);
        }
    }
}

impl Shared {
    /// It is whole after a panic too.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self, mut session: Box<dyn Session>) {
        // Of this thread alone, as Linux has it. Where it is refused, the shadow computes like anybody.
        let _ = rustix::process::setpriority_process(None, NICE);
        while let Some(job) = self.next() {
            let bytes = job.bytes;
            let compared = catch_unwind(AssertUnwindSafe(|| self.compare(session.as_mut(), &job)));
            drop(job);
            let mut state = self.lock();
            state.bytes -= bytes;
            match compared {
                Ok(Ok(agrees)) => {
                    state.counts.compared += 1;
                    state.counts.disagreed += u64::from(!agrees);
                    // One that agrees is no evidence.
                    if !agrees
                        && state.broken_at.is_none()
                        && evidence::is_broken(self.terms.budget, state.counts)
                    {
                        state.broken_at = Some(state.counts);
                    }
                    drop(state);
                    self.compared.increment(1);
                    self.disagreed.increment(u64::from(!agrees));
                }
                Ok(Err(error)) => {
                    drop(state);
                    self.failed.increment(1);
                    seldom!(warn, "the original that shadows a variant failed: {error}");
                }
                Err(_) => {
                    drop(state);
                    self.failed.increment(1);
                    seldom!(error, "the original that shadows a variant panicked");
                }
            }
        }
    }

    /// Waits for a job; `None` when it is over.
    fn next(&self) -> Option<Job> {
        let mut state = self.lock();
        loop {
            if state.closed {
                return None;
            }
            if let Some(job) = state.queue.pop_front() {
                return Some(job);
            }
            state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Whether the original gives the same.
    fn compare(&self, session: &mut dyn Session, job: &Job) -> Result<bool, EngineError> {
        let given = |watched: &&Watched| job.outputs.iter().any(|output| output.index == watched.index);
        let watched: Vec<&Watched> = self.terms.outputs.iter().filter(given).collect();
        let indices: Vec<usize> = watched.iter().map(|watched| watched.original).collect();
        let run = session.run(&inputs(&job.request), &indices)?;
        Ok(watched.iter().all(|watched| {
            let of = |outputs: &[OutputTensor], index: usize| {
                outputs.iter().find(|output| output.index == index).cloned()
            };
            let pair = of(&job.outputs, watched.index).zip(of(&run.outputs, watched.original));
            pair.is_some_and(|(variant, original)| {
                let side = |output: &'_ OutputTensor| (output.shape.clone(), output.data.clone());
                let ((shape, data), (original_shape, original_data)) = (side(&variant), side(&original));
                let variant = Compared { shape: &shape, data: &data };
                let original = Compared { shape: &original_shape, data: &original_data };
                agrees(watched.compare, watched.datatype, variant, original)
            })
        }))
    }
}

/// The tensors of a request that was checked.
fn inputs(request: &ModelInferRequest) -> Vec<InputTensor<'_>> {
    let inputs = request.inputs.iter().zip(&request.raw_input_contents);
    inputs
        .filter_map(|(input, data)| {
            let datatype: DataType = input.datatype.parse().ok()?;
            Some(InputTensor { name: &input.name, datatype, shape: &input.shape, data: Parts::One(data) })
        })
        .collect()
}

#[cfg(test)]
mod tests;
