//! What the stages need from the proxy: one trait, implemented by the cdylib over proxy-wasm and by a double in the tests.

#[cfg(test)]
pub(crate) mod double;

/// A header list as the proxy gives it: lower-case names, values of any bytes, in order, repeated names repeated.
pub type Headers = Vec<(String, Vec<u8>)>;

/// The first value of header `name`.
pub fn first<'a>(headers: &'a Headers, name: &'a str) -> Option<&'a [u8]> {
    values(headers, name).next()
}

/// All values of header `name`.
pub fn values<'a>(headers: &'a Headers, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    headers.iter().filter(move |(n, _)| n == name).map(|(_, v)| v.as_slice())
}

/// The kinds of metric that the proxy knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
}

/// The proxy, as seen from one callback. Calls act on the callback's own context unless they name another.
///
/// A call that the proxy refuses is `None`, `false` or without effect: the stages then let the request through.
pub trait Host {
    /// Wall clock, in milliseconds since the Unix epoch.
    fn now_ms(&self) -> u64;
    /// The request's headers, in one call.
    fn request_headers(&self) -> Headers;
    /// Sets a request header, replacing all values of that name.
    fn set_request_header(&self, name: &str, value: &str);
    /// Removes all values of a request header.
    fn remove_request_header(&self, name: &str);
    /// The first `size` bytes of the buffered request body.
    fn request_body(&self, size: usize) -> Option<Vec<u8>>;
    /// The response's headers, in one call.
    fn response_headers(&self) -> Headers;
    /// Appends a response header value.
    fn add_response_header(&self, name: &str, value: &str);
    /// `size` bytes of the response body's current chunk.
    fn response_chunk(&self, size: usize) -> Option<Vec<u8>>;
    /// A property of the stream (an Envoy attribute).
    fn property(&self, path: &[&str]) -> Option<Vec<u8>>;
    /// Answers the request of `context` here and now.
    fn reply(&self, context: u32, status: u32, headers: Vec<(&str, &str)>, body: &[u8]);
    /// Lets the paused request of `context` go on to the upstream.
    fn resume(&self, context: u32);
    /// Sends `GET path` with `headers` to `cluster`; the answer comes to this context under the returned token.
    fn call(&self, cluster: &str, path: &str, headers: &[(&str, &str)], timeout_ms: u64) -> Option<u32>;
    /// The `:status` of the callout's answer; `None` when it failed or timed out.
    fn call_status(&self) -> Option<u16>;
    /// The body of the callout's answer.
    fn call_body(&self, size: usize) -> Vec<u8>;
    /// Shared data under `key`, with its compare-and-swap number.
    fn shared_get(&self, key: &str) -> Option<(Vec<u8>, u32)>;
    /// Writes shared data; with a `cas` number only if nobody wrote since. `false` when somebody did.
    fn shared_set(&self, key: &str, value: &[u8], cas: Option<u32>) -> bool;
    /// Asks for a callback of this worker's root context, soon.
    fn wake(&self);
    /// Defines a metric; its number, for [`Host::add_metric`] and [`Host::set_metric`].
    fn define_metric(&self, kind: MetricKind, name: &str) -> Option<u32>;
    /// Adds to a counter.
    fn add_metric(&self, metric: u32, amount: u64);
    /// Sets a gauge.
    fn set_metric(&self, metric: u32, value: u64);
    /// Logs a warning.
    fn warn(&self, message: &str);
}
