//! The proxy's host calls behind the core's `Host`: every call that the SDK can refuse or that this proxy can lack becomes
//! `None`, `false` or without effect, and only byte values are read (the SDK's text variants trap on what is not UTF-8).

use forebay_filter_core::host::{Headers, Host, MetricKind};
use proxy_wasm::hostcalls;
use proxy_wasm::types::{BufferType, MapType, MetricType};
use std::time::{Duration, UNIX_EPOCH};

/// The proxy, from a callback of `context`.
pub(crate) struct Envoy {
    /// The context whose callback this is.
    pub(crate) context: u32,
    /// This worker's own queue, which wakes its root context.
    pub(crate) queue: Option<u32>,
}

/// The body size of a callout that was answered. One that failed has no headers, and asking for them would trap.
pub(crate) fn answered(headers: usize, body_size: usize) -> Option<usize> {
    (headers > 0).then_some(body_size)
}

impl Envoy {
    /// Acts on another context, and comes back. Only contexts of live streams may be named: the proxy traps on others.
    fn within<T>(&self, context: u32, act: impl FnOnce() -> T) -> T {
        if context == self.context {
            return act();
        }
        let _ = hostcalls::set_effective_context(context);
        let result = act();
        let _ = hostcalls::set_effective_context(self.context);
        result
    }
}

impl Host for Envoy {
    fn now_ms(&self) -> u64 {
        let since = hostcalls::get_current_time().ok().and_then(|now| now.duration_since(UNIX_EPOCH).ok());
        since.and_then(|since| u64::try_from(since.as_millis()).ok()).unwrap_or(0)
    }

    fn request_headers(&self) -> Headers {
        hostcalls::get_map_bytes(MapType::HttpRequestHeaders).unwrap_or_default()
    }

    fn set_request_header(&self, name: &str, value: &str) {
        let _ = hostcalls::set_map_value(MapType::HttpRequestHeaders, name, Some(value));
    }

    fn remove_request_header(&self, name: &str) {
        let _ = hostcalls::remove_map_value(MapType::HttpRequestHeaders, name);
    }

    fn request_body(&self, size: usize) -> Option<Vec<u8>> {
        hostcalls::get_buffer(BufferType::HttpRequestBody, 0, size).ok()?
    }

    fn response_headers(&self) -> Headers {
        hostcalls::get_map_bytes(MapType::HttpResponseHeaders).unwrap_or_default()
    }

    fn add_response_header(&self, name: &str, value: &str) {
        let _ = hostcalls::add_map_value(MapType::HttpResponseHeaders, name, value);
    }

    fn response_chunk(&self, size: usize) -> Option<Vec<u8>> {
        hostcalls::get_buffer(BufferType::HttpResponseBody, 0, size).ok()?
    }

    fn property(&self, path: &[&str]) -> Option<Vec<u8>> {
        hostcalls::get_property(path.to_vec()).ok()?
    }

    fn reply(&self, context: u32, status: u32, headers: Vec<(&str, &str)>, body: &[u8]) {
        let _ = self.within(context, || hostcalls::send_http_response(status, headers, Some(body)));
    }

    fn resume(&self, context: u32) {
        let _ = self.within(context, hostcalls::resume_http_request);
    }

    fn call(&self, cluster: &str, path: &str, headers: &[(&str, &str)], timeout_ms: u64) -> Option<u32> {
        let mut all = vec![(":method", "GET"), (":path", path), (":authority", cluster)];
        all.extend_from_slice(headers);
        let timeout = Duration::from_millis(timeout_ms);
        hostcalls::dispatch_http_call(cluster, all, None, Vec::new(), timeout).ok()
    }

    fn call_status(&self) -> Option<u16> {
        let status = hostcalls::get_map_value_bytes(MapType::HttpCallResponseHeaders, ":status").ok()??;
        std::str::from_utf8(&status).ok()?.parse().ok()
    }

    fn call_body(&self, size: usize) -> Vec<u8> {
        hostcalls::get_buffer(BufferType::HttpCallResponseBody, 0, size).ok().flatten().unwrap_or_default()
    }

    fn shared_get(&self, key: &str) -> Option<(Vec<u8>, u32)> {
        let (value, cas) = hostcalls::get_shared_data(key).ok()?;
        Some((value?, cas.unwrap_or(0)))
    }

    fn shared_set(&self, key: &str, value: &[u8], cas: Option<u32>) -> bool {
        hostcalls::set_shared_data(key, Some(value), cas).is_ok()
    }

    fn wake(&self) {
        if let Some(queue) = self.queue {
            let _ = hostcalls::enqueue_shared_queue(queue, None);
        }
    }

    fn define_metric(&self, kind: MetricKind, name: &str) -> Option<u32> {
        let kind = match kind {
            MetricKind::Counter => MetricType::Counter,
            MetricKind::Gauge => MetricType::Gauge,
        };
        hostcalls::define_metric(kind, name).ok()
    }

    fn add_metric(&self, metric: u32, amount: u64) {
        if let Some(amount) = i64::try_from(amount).ok().filter(|amount| *amount > 0) {
            let _ = hostcalls::increment_metric(metric, amount);
        }
    }

    fn set_metric(&self, metric: u32, value: u64) {
        let _ = hostcalls::record_metric(metric, value);
    }

    fn warn(&self, message: &str) {
        log::warn!("{message}");
    }
}
