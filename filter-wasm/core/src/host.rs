//! What the stages ask of the proxy: reads of the callback's own stream, the proxy's shared data, its clock and its metrics. One
//! trait, implemented by the glue over proxy-wasm and by a double in the tests.
//!
//! Nothing here acts on a stream: what does is returned, as [`crate::acts::Acts`].

#[cfg(test)]
pub(crate) mod double;
mod headers;

pub use headers::Headers;

/// Whose headers and body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Of {
    /// The request's; its body as far as it is buffered.
    Request,
    /// The response's; of its body the chunk that passes by.
    Response,
    /// The response's trailers.
    ResponseTrailers,
    /// The answer's to the callout that is being told of.
    Call,
    /// That answer's trailers.
    CallTrailers,
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
    /// Defines a metric; its number, for [`Host::add_metric`].
    fn define_metric(&self, kind: MetricKind, name: &str) -> Option<u32>;
    /// Adds to a counter, or to a gauge an amount that may be negative.
    fn add_metric(&self, metric: u32, amount: i64);
    /// Logs a warning.
    fn warn(&self, message: &str);
}
