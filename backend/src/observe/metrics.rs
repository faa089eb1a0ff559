//! What is counted, by name: Triton's names where Triton counts the same, `forebay_*` otherwise. A model's own counters
//! are in `statistics`. Next: `/metrics` in Prometheus' text form.

mod series;
pub(crate) mod text;

use std::time::Duration;

use metrics::{Counter, Histogram, counter, describe_counter, describe_gauge, describe_histogram, gauge};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

use crate::time::steps::Steps;

pub(crate) use series::Series;
#[cfg(test)]
pub(crate) use series::text as series;

/// Bounds of the buckets of durations, in seconds: from a hit in memory to a slow model.
const SECONDS: [f64; 13] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0];

/// The same of what may take as long as a node takes to come up.
const LONG_SECONDS: [f64; 10] = [0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0, 300.0];

/// Bounds of the buckets of batch sizes.
const ROWS: [f64; 9] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

/// What `/metrics` tells.
#[derive(Clone)]
pub(crate) struct Metrics {
    /// Of the process; those of models are in [`Series`].
    process: PrometheusHandle,
}

/// Makes the process count. Once a process.
///
/// # Errors
/// When it counts already.
pub(crate) fn install() -> Result<Metrics, BuildError> {
    let process = builder()?.install_recorder()?;
    describe();
    gauge!("forebay_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1);
    Ok(Metrics { process })
}

fn builder() -> Result<PrometheusBuilder, BuildError> {
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?
        .set_buckets_for_metric(Matcher::Prefix("forebay_hold_".to_owned()), &LONG_SECONDS)?
        .set_buckets_for_metric(Matcher::Suffix("_rows".to_owned()), &ROWS)
}

impl Metrics {
    /// All of it, in Prometheus' text form.
    pub(crate) fn render(&self) -> String {
        series::merge(std::iter::once(self.process.render()).chain(series::render_each()))
    }
}

/// Tells how long the start took, step by step.
pub(crate) fn started(steps: &Steps) {
    for (step, took) in steps.ended() {
        gauge!("forebay_start_seconds", "step" => *step).set(took.as_secs_f64());
    }
    tracing::info!("started: {steps}");
}

/// How often what histograms collected is summed up: until then each event takes its room.
const UPKEEP: Duration = Duration::from_secs(5);

/// Sums up what histograms collect, for ever: nobody may be asking for `/metrics`.
pub(crate) async fn keep_up(metrics: Metrics) {
    let mut ticks = tokio::time::interval(UPKEEP);
    loop {
        ticks.tick().await;
        metrics.process.run_upkeep();
        series::keep_up();
    }
}

/// Sets what CUDA's driver tells of its GPUs, where there is one. What is used is known only where this process has a context,
/// which takes memory itself.
#[cfg(feature = "tensorrt")]
pub(crate) fn publish_gpus() {
    use metrics::gauge;

    let Ok(driver) = forebay_bindings::cuda::Driver::load() else { return };
    for gpu in 0..driver.count().unwrap_or(0) {
        let Ok(uuid) = driver.uuid(gpu) else { continue };
        let label = [("gpu_uuid", uuid)];
        if let Ok(total) = driver.total_memory(gpu) {
            gauge!("nv_gpu_memory_total_bytes", &label).set(total as f64);
        }
        if let Ok(Some(memory)) = driver.memory(gpu) {
            gauge!("nv_gpu_memory_used_bytes", &label).set((memory.total - memory.free) as f64);
        }
    }
}

/// A build without TensorRT knows no driver.
#[cfg(not(feature = "tensorrt"))]
pub(crate) fn publish_gpus() {}

fn describe() {
    describe_of_variants();
    describe_of_starts();
    describe_of_pools();
    describe_counter!("nv_inference_request_success", "Requests answered with a result");
    describe_counter!("nv_inference_request_failure", "Requests answered with an error, by reason");
    describe_counter!("nv_inference_count", "Inferences done, by rows; hits of the cache are not");
    describe_counter!("nv_inference_exec_count", "Executions of the model");
    describe_counter!("nv_inference_request_duration_us", "Time from a decoded request to its result");
    describe_counter!("nv_inference_queue_duration_us", "Time in the queue");
    describe_counter!("nv_inference_compute_infer_duration_us", "Time in the engine");
    describe_counter!("nv_inference_compute_input_duration_us", "Time of joining the inputs of batches");
    describe_counter!("nv_inference_compute_output_duration_us", "Time of cutting the outputs of batches");
    describe_gauge!("forebay_build_info", "1; the label says which version this is");
    describe_gauge!("nv_inference_pending_request_count", "Requests that wait in the queue");
    describe_gauge!("forebay_requests_in_progress", "Requests that came and are not answered yet");
    describe_counter!("nv_cache_num_hits_per_model", "Requests answered from the pool by this server");
    describe_counter!("nv_cache_num_misses_per_model", "Lookups of this server that found nothing");
    describe_counter!(
        "nv_cache_hit_duration_per_model",
        "Time of lookups that found something, in microseconds"
    );
    describe_counter!(
        "nv_cache_miss_duration_per_model",
        "Time of lookups that found nothing, in microseconds"
    );
    describe_counter!(
        "forebay_requests_abandoned",
        "Requests that left the queue because nobody waited any more"
    );
    describe_counter!("forebay_requests_collapsed", "Requests answered with what an equal one computed");
    describe_gauge!("forebay_model_memory_bytes", "Resident memory that loading the model added");
    describe_gauge!(
        "forebay_model_gpu_memory_bytes",
        "Memory of a GPU that a model holds, but for CUDA's own"
    );
    describe_gauge!("nv_gpu_memory_total_bytes", "Memory that a GPU has");
    describe_gauge!("nv_gpu_memory_used_bytes", "Memory of a GPU that is used, by all processes");
    describe_counter!("forebay_gpu_losses", "Errors by which all that was on a GPU was lost");
    describe_counter!("forebay_gpu_recoveries", "Lost GPUs brought back");
    describe_counter!("forebay_gpu_failed_recoveries", "Attempts that didn't bring a GPU back");
    describe_gauge!(
        "forebay_gpu_usable",
        "1 for a GPU that runs models, 0 for one that was lost and isn't back"
    );
    describe_gauge!("forebay_waiters", "Requests that wait for what an equal one computes");
    describe_counter!("forebay_requests_expired", "Requests that left the queue because their time was over");
    describe_histogram!("forebay_request_seconds", "Time from a decoded request to its result");
    describe_histogram!("forebay_queue_seconds", "Time in the queue");
    describe_histogram!("forebay_compute_seconds", "Time of one execution in the engine");
    describe_histogram!("forebay_batch_rows", "Rows of one execution");
    describe_counter!(
        "forebay_proxy_hits",
        "Requests that proxies answered without the backend, as they tell; each is counted by one gate"
    );
    describe_counter!("forebay_proxy_saved_us", "Compute time that those hits saved");
    describe_counter!(
        "forebay_proxy_dropped_reports",
        "Reports that are in no sum: more of the proxies' VMs report than are kept count of"
    );
    describe_gauge!(
        "forebay_models",
        "Versions that are ready, and versions and models that are not though they should be, by state"
    );
    describe_gauge!(
        "forebay_certificate_end_seconds",
        "When the certificate that clients are shown ends, in seconds since 1970"
    );
    describe_counter!(
        "forebay_computed_us",
        "Compute time of what no cache answered, each run of a model once however many requests it had: the sum of costs"
    );
    describe_counter!("forebay_saved_us", "Compute time that hits and collapsed requests saved");
    describe_gauge!(
        "forebay_body_bytes",
        "Bytes that requests hold, from when they come to the end of computing"
    );
    describe_gauge!("forebay_body_budget_bytes", "Bytes that they may hold together");
    describe_counter!("forebay_bodies_refused", "Bodies and messages not read to their end, by reason");
    describe_counter!("forebay_connections_refused", "Connections closed at once because all were taken");
    describe_gate();
    describe_holding();
    describe_records();
}

fn describe_of_pools() {
    describe_counter!("forebay_pool_dropped_writes", "Results not written to the pool, by tier and reason");
    describe_counter!(
        "forebay_lease_waits",
        "Waits for a result that another server computes, by how they ended"
    );
    describe_counter!("forebay_pool_failed_lookups", "Lookups that failed open, by tier and reason");
    describe_counter!(
        "forebay_pool_bad_entries",
        "Entries that failed their check and count as misses, by tier"
    );
    describe_counter!(
        "forebay_pool_lost_connections",
        "Connections to the pool that were lost, by tier and what for"
    );
    describe_counter!(
        "forebay_pool_replica_lookups",
        "Lookups that replicas were there for, by outcome: answered; asked_again, failed and none, which the master answered"
    );
    describe_gauge!(
        "forebay_pool_replicas",
        "Replicas of the pool, by whether lookups go to them: fit, unfit"
    );
    describe_gauge!(
        "forebay_pool_clock_skew_seconds",
        "How far the pool's clock, by which entries are stamped and judged, is ahead of this machine's"
    );
}

fn describe_gate() {
    describe_gauge!("forebay_generations_known", "1 where this gate can say which generations are live");
    describe_gauge!("forebay_proxies", "Proxies that poll this gate");
    describe_gauge!("forebay_proxies_behind", "Of those, the ones without the newest table of generations");
    describe_gauge!("forebay_replicas", "Servers of a service that are alive, as they said it to the pool");
    describe_counter!(
        "forebay_proxy_requests",
        "What became of requests in proxies, and why, as they tell; each is counted by one gate"
    );
    describe_counter!(
        "forebay_proxy_latency_ms_bucket",
        "Answers that took up to so many milliseconds in a proxy, from a complete request to the begin of its answer, by what answered"
    );
    describe_gauge!("forebay_gpu_hour_price", "What a GPU hour costs, where it is said (--price)");
    describe_counter!(
        "forebay_gate_lookups",
        "Lookups at the gate, by what the pool has: fresh (hit), stale and of use, nothing"
    );
    describe_counter!(
        "forebay_bypass_refused",
        "Requests that passed by the cache more often than --bypass-quota lets"
    );
    describe_counter!("forebay_purges", "Purges that operators asked of this gate");
    describe_histogram!("forebay_gate_lookup_seconds", "Time of a lookup at the gate");
    describe_of_key_traces();
}

fn describe_of_key_traces() {
    describe_counter!("forebay_key_trace_rows", "Requests of sampled keys that were written to a trace");
    describe_counter!(
        "forebay_key_trace_dropped",
        "Requests that proxies told of and that are in no trace, by reason: late, ahead, rate, models, room, disk"
    );
    describe_counter!("forebay_key_trace_removed", "Traces of keys that were dropped, by reason: bytes");
    describe_gauge!("forebay_key_trace_failing", "1 while the folder of traces of keys can't be written");
}

fn describe_holding() {
    describe_gauge!("forebay_held_requests", "Requests that wait at this gate for a backend");
    describe_gauge!("forebay_held_elsewhere", "Requests that wait at the service's other gates");
    describe_gauge!("forebay_held_bytes", "Bytes of their bodies");
    describe_counter!("forebay_hold_wakes", "Times that a backend was wanted and none was there");
    describe_histogram!("forebay_hold_wake_seconds", "Time from then until one was ready for a model");
    describe_counter!(
        "forebay_hold_wake_calls",
        "Times that this gate asked Kubernetes for a backend, by result: woken, there, refused, late, failed"
    );
    describe_histogram!("forebay_hold_seconds", "Time from a request that came to be held to its answer");
    describe_counter!("forebay_hold_hits", "Requests that came to be held and were answered by the pool");
    describe_counter!(
        "forebay_hold_collapsed",
        "Requests that were held and got what an equal one was answered"
    );
    describe_counter!("forebay_hold_saved_us", "Compute time that those hits and collapsed requests saved");
    describe_counter!(
        "forebay_hold_refused",
        "Requests that came to be held and got no answer, by reason: full, late, unanswered, asleep, broken, ends, only_if_cached, body"
    );
}

fn describe_records() {
    describe_counter!("forebay_record_written", "Requests whose inputs were recorded");
    describe_counter!(
        "forebay_record_dropped",
        "Requests that were to be recorded and are not, by reason: queue, too_large, disk"
    );
    describe_counter!(
        "forebay_record_removed",
        "Segments of records that were dropped, by reason: age, bytes"
    );
    describe_gauge!("forebay_record_bytes", "Bytes of all records in the folder");
    describe_counter!(
        "forebay_replay_requests",
        "Requests of a model that its new versions were to compute again before they took requests, by what came of it"
    );
    describe_gauge!(
        "forebay_replay_surge",
        "Seconds of computing a second that are left after a model's last replay; NaN: nobody knows"
    );
    describe_gauge!("forebay_record_failing", "1 while the folder of records can't be read or written");
}

fn describe_of_starts() {
    describe_gauge!(
        "forebay_start_seconds",
        "How long the start took, by step: settings, engines, ports, models"
    );
    describe_gauge!(
        "forebay_load_seconds",
        "How long it took to load a version, by step: read, open (parsed, optimised, its sessions made), warm"
    );
}

/// Those of versions that were made of other ones.
fn describe_of_variants() {
    describe_gauge!(
        "forebay_variants",
        "Versions that were made of another one: served where they were judged, unjudged where they were not, out where their \
         original answers; by model, version and state"
    );
    describe_counter!("forebay_shadow_compared", "Requests whose result was compared with the original's");
    describe_counter!("forebay_shadow_disagreed", "Of those, the ones that disagreed");
    describe_counter!("forebay_shadow_dropped", "Requests not compared because the shadow's queue was full");
    describe_counter!("forebay_shadow_failed", "Requests not compared because the original failed");
    describe_gauge!(
        "forebay_shadow_broken",
        "1 where requests disagree more often than a variant's budget says (a test that may be looked at at any time, level 0.05)"
    );
}

/// The counters of the gate's lookups.
pub(crate) struct GateMetrics {
    pub(crate) hits: Counter,
    pub(crate) stale: Counter,
    pub(crate) misses: Counter,
    pub(crate) seconds: Histogram,
}

impl GateMetrics {
    pub(crate) fn new() -> Self {
        Self {
            hits: counter!("forebay_gate_lookups", "result" => "hit"),
            stale: counter!("forebay_gate_lookups", "result" => "stale"),
            misses: counter!("forebay_gate_lookups", "result" => "miss"),
            seconds: metrics::histogram!("forebay_gate_lookup_seconds"),
        }
    }
}
