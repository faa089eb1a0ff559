//! What the stages ask of the proxy: reads of the callback's own stream, the proxy's shared data, its clock and its metrics. One
//! trait, implemented by the glue over proxy-wasm and by a double in the tests.
//!
//! Nothing here acts on a stream: what does is returned, as [`crate::acts::Acts`].

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

/// The number that header `name` is, if it is one.
pub fn number<T: std::str::FromStr>(headers: &Headers, name: &str) -> Option<T> {
    std::str::from_utf8(first(headers, name)?).ok()?.parse().ok()
}

/// Whose headers and body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Of {
    /// The request's; its body as far as it is buffered.
    Request,
    /// The response's; of its body the chunk that passes by.
    Response,
    /// The answer's to the callout that is being told of.
    Call,
}

/// The kinds of metric that the proxy knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
}

/// The proxy, as seen from one callback.
///
/// A call that the proxy refuses is `None`, `false`, empty or without effect: the stages then let the request through.
pub trait Host {
    /// Wall clock, in milliseconds since the Unix epoch.
    fn now_ms(&self) -> u64;
    /// Headers, in one call.
    fn headers(&self, of: Of) -> Headers;
    /// The first `size` bytes of a body.
    fn body(&self, of: Of, size: usize) -> Option<Vec<u8>>;
    /// A property of the stream (an Envoy attribute).
    fn property(&self, path: &[&str]) -> Option<Vec<u8>>;
    /// Shared data under `key`, with its compare-and-swap number.
    fn shared_get(&self, key: &str) -> Option<(Vec<u8>, u32)>;
    /// Writes shared data; with a `cas` number only if nobody wrote since. `false` when somebody did.
    fn shared_set(&self, key: &str, value: &[u8], cas: Option<u32>) -> bool;
    /// Defines a metric; its number, for [`Host::add_metric`] and [`Host::set_metric`].
    fn define_metric(&self, kind: MetricKind, name: &str) -> Option<u32>;
    /// Adds to a counter.
    fn add_metric(&self, metric: u32, amount: u64);
    /// Sets a gauge.
    fn set_metric(&self, metric: u32, value: u64);
    /// Logs a warning.
    fn warn(&self, message: &str);
}
