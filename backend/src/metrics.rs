//! What is counted. Triton's names where Triton counts the same, `forebay_*` otherwise; counters of a model are
//! looked up once, when it is loaded. Next: `/metrics` in Prometheus' text form.

use metrics::{Counter, Gauge, Histogram, counter, describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

/// Bounds of the buckets of durations, in seconds: from a hit in memory to a slow model.
const SECONDS: [f64; 13] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0];

/// Makes the process count. Once a process.
///
/// # Errors
/// When it counts already.
pub(crate) fn install() -> Result<PrometheusHandle, BuildError> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?
        .install_recorder()?;
    describe();
    Ok(handle)
}

fn describe() {
    describe_counter!("nv_inference_request_success", "Requests answered with a result");
    describe_counter!("nv_inference_request_failure", "Requests answered with an error, by reason");
    describe_counter!("nv_inference_count", "Inferences done; hits of the cache are not");
    describe_counter!("nv_inference_exec_count", "Executions of the model");
    describe_counter!("nv_inference_request_duration_us", "Time from a decoded request to its result");
    describe_counter!("nv_inference_queue_duration_us", "Time in the queue");
    describe_counter!("nv_inference_compute_infer_duration_us", "Time in the engine");
    describe_gauge!("nv_inference_pending_request_count", "Requests that wait or are computed");
    describe_counter!("nv_cache_num_hits_per_model", "Requests answered from the pool by this server");
    describe_counter!("nv_cache_num_misses_per_model", "Lookups of this server that found nothing");
    describe_counter!("forebay_requests_abandoned", "Requests skipped because nobody waited any more");
    describe_counter!("forebay_pool_dropped_writes", "Results not written to the pool, by reason");
    describe_counter!("forebay_pool_failed_lookups", "Lookups that failed open, by reason");
    describe_counter!("forebay_pool_bad_entries", "Entries that failed their check and count as misses");
    describe_counter!("forebay_pool_saved_us", "Compute time that hits saved");
    describe_counter!("forebay_gate_lookups", "Lookups at the gate, by result");
    describe_histogram!("forebay_gate_lookup_seconds", "Time of a lookup at the gate");
}

/// The counters of one version of a model.
pub(crate) struct ModelMetrics {
    pub(crate) success: Counter,
    pub(crate) failure_rejected: Counter,
    pub(crate) failure_canceled: Counter,
    pub(crate) failure_engine: Counter,
    pub(crate) failure_request: Counter,
    pub(crate) inferences: Counter,
    pub(crate) executions: Counter,
    pub(crate) request_us: Counter,
    pub(crate) queue_us: Counter,
    pub(crate) compute_us: Counter,
    pub(crate) pending: Gauge,
    pub(crate) hits: Counter,
    pub(crate) misses: Counter,
    pub(crate) saved_us: Counter,
    pub(crate) abandoned: Counter,
}

impl ModelMetrics {
    /// Handles for one version of a model, under Triton's labels.
    pub(crate) fn new(model: &str, version: &str) -> Self {
        let labels = || [("model", model.to_owned()), ("version", version.to_owned())];
        let failure = |reason: &'static str| {
            let [model, version] = labels();
            counter!("nv_inference_request_failure", &[model, version, ("reason", reason.to_owned())])
        };
        Self {
            success: counter!("nv_inference_request_success", &labels()),
            failure_rejected: failure("REJECTED"),
            failure_canceled: failure("CANCELED"),
            failure_engine: failure("BACKEND"),
            failure_request: failure("OTHER"),
            inferences: counter!("nv_inference_count", &labels()),
            executions: counter!("nv_inference_exec_count", &labels()),
            request_us: counter!("nv_inference_request_duration_us", &labels()),
            queue_us: counter!("nv_inference_queue_duration_us", &labels()),
            compute_us: counter!("nv_inference_compute_infer_duration_us", &labels()),
            pending: metrics::gauge!("nv_inference_pending_request_count", &labels()),
            hits: counter!("nv_cache_num_hits_per_model", &labels()),
            misses: counter!("nv_cache_num_misses_per_model", &labels()),
            saved_us: counter!("forebay_pool_saved_us", &labels()),
            abandoned: counter!("forebay_requests_abandoned", &labels()),
        }
    }
}

/// The counters of the gate's lookups.
pub(crate) struct GateMetrics {
    pub(crate) hits: Counter,
    pub(crate) misses: Counter,
    pub(crate) seconds: Histogram,
}

impl GateMetrics {
    pub(crate) fn new() -> Self {
        Self {
            hits: counter!("forebay_gate_lookups", "result" => "hit"),
            misses: counter!("forebay_gate_lookups", "result" => "miss"),
            seconds: metrics::histogram!("forebay_gate_lookup_seconds"),
        }
    }
}
