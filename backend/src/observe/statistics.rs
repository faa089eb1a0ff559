//! What one version of a model did: each event is counted once here, for Triton's statistics (`snapshot`) and for
//! `/metrics` alike.

mod count;
mod snapshot;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use forebay_bindings::cuda::Account;
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use super::logs::Seldom;
use super::metrics::Series;
use crate::class::Class;
use crate::time::clock::now_ms;
use crate::time::steps::Steps;
pub(crate) use count::Gauged;
use count::{Count, Timed};

/// Why a request got no result, in Triton's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The queue was full, or the request waited too long.
    Rejected,
    /// Its client left, or its deadline passed.
    Canceled,
    /// The engine failed.
    Backend,
    /// The request was wrong.
    Other,
}

impl From<Class> for Failure {
    fn from(class: Class) -> Self {
        match class {
            Class::Rejected | Class::Full | Class::Often => Self::Rejected,
            Class::Late | Class::Left => Self::Canceled,
            Class::Away | Class::Failed => Self::Backend,
            _ => Self::Other,
        }
    }
}

/// Where the time of one execution went.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Compute {
    /// Gathering inputs in the session's memory.
    pub(crate) input: Duration,
    /// In the engine, but for that.
    pub(crate) infer: Duration,
    /// Cutting the outputs of a batch.
    pub(crate) output: Duration,
}

/// The counters of one version of a model.
pub(crate) struct Statistics {
    labels: [(&'static str, String); 2],
    /// Where `/metrics` has them.
    series: Series,
    /// Resident memory that loading it added, all sessions together. Of what was free in the process it tells nothing.
    memory_bytes: u64,
    memory: Gauge,
    /// Where memory of GPUs is counted that it holds, by the GPU's number.
    gpus: Mutex<BTreeMap<i32, Account>>,
    overload: Seldom,
    success: Timed,
    fail: Timed,
    failures: [Counter; 4],
    queue: Timed,
    compute_input: Timed,
    compute_infer: Timed,
    compute_output: Timed,
    hit: Timed,
    miss: Timed,
    inferences: Count,
    executions: Count,
    last_ms: AtomicU64,
    /// By rows.
    batches: Mutex<BTreeMap<u64, Batches>>,
    pending: Gauge,
    in_progress: Gauge,
    /// Costs of what was computed, kept or not.
    computed_us: Counter,
    saved_us: Counter,
    collapsed: Counter,
    /// Requests that wait for another one's result.
    pub(crate) waiters: Gauge,
    abandoned: Counter,
    expired: Counter,
    request_seconds: Histogram,
    queue_seconds: Histogram,
    compute_seconds: Histogram,
    batch_rows: Histogram,
}

/// Executions of batches of one size.
#[derive(Debug, Clone, Copy, Default)]
struct Batches {
    count: u64,
    compute: Compute,
}

impl Statistics {
    /// Counters for one version of a model, under Triton's labels.
    pub(crate) fn new(model: &str, version: &str) -> Self {
        let labels = [("model", model.to_owned()), ("version", version.to_owned())];
        let series = Series::of(model, version);
        series.count(|| Self::within(labels, series.clone()))
    }

    fn within(labels: [(&'static str, String); 2], series: Series) -> Self {
        let count = |name: &'static str| counter!(name, &labels);
        let failure = |reason: &'static str| {
            let [model, version] = labels.clone();
            counter!("nv_inference_request_failure", &[model, version, ("reason", reason.to_owned())])
        };
        Self {
            success: Timed::new(
                count("nv_inference_request_success"),
                count("nv_inference_request_duration_us"),
            ),
            fail: Timed::new(Counter::noop(), Counter::noop()),
            failures: ["REJECTED", "CANCELED", "BACKEND", "OTHER"].map(failure),
            queue: Timed::new(Counter::noop(), count("nv_inference_queue_duration_us")),
            compute_input: Timed::new(Counter::noop(), count("nv_inference_compute_input_duration_us")),
            compute_infer: Timed::new(Counter::noop(), count("nv_inference_compute_infer_duration_us")),
            compute_output: Timed::new(Counter::noop(), count("nv_inference_compute_output_duration_us")),
            hit: Timed::new(count("nv_cache_num_hits_per_model"), count("nv_cache_hit_duration_per_model")),
            miss: Timed::new(
                count("nv_cache_num_misses_per_model"),
                count("nv_cache_miss_duration_per_model"),
            ),
            inferences: Count::new(count("nv_inference_count")),
            executions: Count::new(count("nv_inference_exec_count")),
            last_ms: AtomicU64::new(0),
            batches: Mutex::new(BTreeMap::new()),
            pending: gauge!("nv_inference_pending_request_count", &labels),
            in_progress: gauge!("forebay_requests_in_progress", &labels),
            computed_us: count("forebay_computed_us"),
            saved_us: count("forebay_saved_us"),
            collapsed: count("forebay_requests_collapsed"),
            waiters: gauge!("forebay_waiters", &labels),
            abandoned: count("forebay_requests_abandoned"),
            expired: count("forebay_requests_expired"),
            request_seconds: histogram!("forebay_request_seconds", &labels),
            queue_seconds: histogram!("forebay_queue_seconds", &labels),
            compute_seconds: histogram!("forebay_compute_seconds", &labels),
            batch_rows: histogram!("forebay_batch_rows", &labels),
            memory_bytes: 0,
            memory: gauge!("forebay_model_memory_bytes", &labels),
            gpus: Mutex::default(),
            overload: Seldom::default(),
            labels,
            series,
        }
    }

    /// The same, of a version that took so much memory.
    pub(crate) fn holding(mut self, bytes: u64) -> Self {
        self.memory_bytes = bytes;
        self.memory.increment(bytes as f64);
        self
    }

    /// The same, of a version whose load took so long.
    pub(crate) fn loaded_in(self, steps: &Steps) -> Self {
        for (step, took) in steps.ended() {
            let [model, version] = self.labels.clone();
            let labels = [model, version, ("step", (*step).to_owned())];
            self.series.count(|| gauge!("forebay_load_seconds", &labels)).set(took.as_secs_f64());
        }
        self
    }

    /// What it holds of GPUs, by their numbers, from now on.
    pub(crate) fn hold_on_gpus(&self, held: impl IntoIterator<Item = (i32, Account)>) {
        self.gpus().extend(held);
    }

    /// Bytes that it holds of each GPU, by the GPU's number.
    pub(crate) fn gpu_bytes(&self) -> Vec<(i32, usize)> {
        self.gpus().iter().map(|(gpu, account)| (*gpu, account.bytes())).collect()
    }

    /// Tells `/metrics` of them.
    pub(crate) fn publish_gpu_bytes(&self) {
        for (gpu, bytes) in self.gpu_bytes() {
            self.gpu_gauge(gpu).set(bytes as f64);
        }
    }

    fn gpu_gauge(&self, gpu: i32) -> Gauge {
        let [model, version] = self.labels.clone();
        self.series
            .count(|| gauge!("forebay_model_gpu_memory_bytes", &[model, version, ("gpu", gpu.to_string())]))
    }

    fn gpus(&self) -> MutexGuard<'_, BTreeMap<i32, Account>> {
        self.gpus.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request came in. One that is dropped before it is told how it ended was given up by its client.
    pub(crate) fn arrived(&self) -> Arrived<'_> {
        let counted = Gauged::by_one(&self.in_progress);
        Arrived { statistics: self, began: Instant::now(), ended: false, _in_progress: counted }
    }

    /// So many requests wait in the queue, and so many did before.
    pub(crate) fn waiting_changed(&self, before: usize, now: usize) {
        // Two generations of a version count in one gauge.
        match now.checked_sub(before) {
            Some(0) => {}
            Some(more) => self.pending.increment(more as f64),
            None => self.pending.decrement((before - now) as f64),
        }
    }

    /// A request got its result, by a session or the pool.
    fn succeeded(&self, took: Duration) {
        self.success.add(1, took);
        self.request_seconds.record(took);
        self.last_ms.store(now_ms(), Ordering::Relaxed);
    }

    /// A request got an error.
    fn failed(&self, why: Failure, took: Duration) {
        self.fail.add(1, took);
        self.failures[why as usize].increment(1);
        if why == Failure::Rejected
            && let Some(left_out) = self.overload.due("")
        {
            let [(_, model), (_, version)] = &self.labels;
            tracing::warn!(model, version, left_out, "overload: a request is refused");
        }
    }

    /// A request left the queue to be run.
    pub(crate) fn queued(&self, waited: Duration) {
        self.queue.add(1, waited);
        self.queue_seconds.record(waited);
    }

    /// A request left the queue because nobody waited for it any more.
    pub(crate) fn abandoned(&self) {
        self.abandoned.increment(1);
    }

    /// A request left the queue because its time was over.
    pub(crate) fn expired(&self) {
        self.expired.increment(1);
    }

    /// The model ran once, on so many rows of so many requests. Each request waited for all of it, and has a share of it for its cost.
    pub(crate) fn executed(&self, rows: u64, requests: usize, compute: &Compute) {
        self.executions.add(1);
        self.inferences.add(rows);
        let requests = u32::try_from(requests).unwrap_or(u32::MAX);
        let all = |time: Duration| time.saturating_mul(requests);
        self.compute_input.add(requests, all(compute.input));
        self.compute_infer.add(requests, all(compute.infer));
        self.compute_output.add(requests, all(compute.output));
        let cost = compute.input.saturating_add(compute.infer).as_micros();
        self.computed_us.increment(u64::try_from(cost).unwrap_or(u64::MAX));
        self.compute_seconds.record(compute.infer);
        self.batch_rows.record(rows as f64);
        let mut batches = self.batches.lock().unwrap_or_else(PoisonError::into_inner);
        let batches = batches.entry(rows).or_default();
        batches.count += 1;
        batches.compute.input += compute.input;
        batches.compute.infer += compute.infer;
        batches.compute.output += compute.output;
    }

    /// The pool answered, which saved `saved_us` of computing.
    pub(crate) fn hit(&self, took: Duration, saved_us: u64) {
        self.hit.add(1, took);
        self.saved_us.increment(saved_us);
    }

    /// Another request's result answered, which saved `saved_us` of computing.
    pub(crate) fn collapsed(&self, saved_us: u64) {
        self.collapsed.increment(1);
        self.saved_us.increment(saved_us);
    }

    /// The pool was asked and had nothing.
    pub(crate) fn missed(&self, took: Duration) {
        self.miss.add(1, took);
    }
}

/// A request on its way.
pub(crate) struct Arrived<'a> {
    statistics: &'a Statistics,
    began: Instant,
    ended: bool,
    _in_progress: Gauged<'a>,
}

impl Arrived<'_> {
    /// It got its result, by a session or the pool.
    pub(crate) fn succeeded(mut self) {
        self.ended = true;
        self.statistics.succeeded(self.began.elapsed());
    }

    /// It got an error.
    pub(crate) fn failed(mut self, why: Failure) {
        self.ended = true;
        self.statistics.failed(why, self.began.elapsed());
    }
}

impl Drop for Arrived<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.statistics.failed(Failure::Canceled, self.began.elapsed());
        }
    }
}

impl Drop for Statistics {
    fn drop(&mut self) {
        self.memory.decrement(self.memory_bytes as f64);
        for gpu in self.gpus().keys() {
            self.gpu_gauge(*gpu).set(0.0);
        }
    }
}

#[cfg(test)]
mod tests;
