//! Names of the headers that Forebay's parts read and write, in lower case.

/// Content type of JSON.
pub const CONTENT_TYPE_JSON: &str = "application/json";
/// Content type of the binary tensor extension.
pub const CONTENT_TYPE_BINARY: &str = "application/octet-stream";
/// Content type of a plain entry, from the gate.
pub const CONTENT_TYPE_PROTOBUF: &str = "application/x-protobuf";
/// Length of the JSON part of a body with binary tensors, in bytes.
pub const INFERENCE_HEADER_CONTENT_LENGTH: &str = "inference-header-content-length";
/// What became of a request (RFC 9211).
pub const CACHE_STATUS: &str = "cache-status";
/// What may be answered from a cache (RFC 9111). A lookup says `only-if-cached` where its request does: it is waited for then.
pub const CACHE_CONTROL: &str = "cache-control";
/// Seconds since an answer was computed (RFC 9111).
pub const AGE: &str = "age";

/// What every header between Forebay's own parts begins with. A client's are removed.
pub const FOREBAY_PREFIX: &str = "x-forebay-";
/// Generation of the session that computed an answer, 64 hex digits; from the gate on a miss: the live ones, comma-separated.
pub const X_FOREBAY_GENERATION: &str = "x-forebay-generation";
/// Compute time of an answer, in microseconds.
pub const X_FOREBAY_COST_US: &str = "x-forebay-cost-us";
/// Of a load's answer: what kept answers saved and its new versions will have to compute again at first, in seconds of computing a
/// second.
pub const X_FOREBAY_SURGE: &str = "x-forebay-surge";
/// Service of a lookup.
pub const X_FOREBAY_SERVICE: &str = "x-forebay-service";
/// Tenant of a request or lookup; absent in the mode without tenants.
pub const X_FOREBAY_TENANT: &str = "x-forebay-tenant";
/// The proxy's tenancy, `none` or `required`: with `required` nothing may be shared among its requests but within a tenant.
pub const X_FOREBAY_TENANCY: &str = "x-forebay-tenancy";
/// Model of a lookup.
pub const X_FOREBAY_MODEL: &str = "x-forebay-model";
/// Requested version of a lookup; absent: "".
pub const X_FOREBAY_VERSION: &str = "x-forebay-version";
/// Digest of a lookup, 64 hex digits.
pub const X_FOREBAY_DIGEST: &str = "x-forebay-digest";
/// Which trace a request is of (W3C Trace Context): a lookup is of its request's.
pub const TRACEPARENT: &str = "traceparent";
/// Version of a gate's answer ([`crate::gate::FORMAT`]).
pub const X_FOREBAY_FORMAT: &str = "x-forebay-format";
/// Epoch of the gate's table, when the poller's is the same.
pub const X_FOREBAY_EPOCH: &str = "x-forebay-epoch";
/// The pool's time, in milliseconds since 1970.
pub const X_FOREBAY_NOW_MS: &str = "x-forebay-now-ms";
/// Services none of whose servers are alive, separated by commas; absent: none. In a gate's answer to a poll.
pub const X_FOREBAY_AWAY: &str = "x-forebay-away";
/// How `serve`'s member of `Cache-Status` begins.
pub const BY_SERVE: &str = "forebay-serve; ";
/// All of it, where the pool had the answer.
pub const HIT_BY_SERVE: &str = "forebay-serve; hit";
/// The credential of a caller: put on by the proxy, never by the filter.
pub const X_FOREBAY_TOKEN: &str = "x-forebay-token";
/// Which backends compute a request, [`ON_DEMAND`] or, where it is absent, the hot ones. Put on by the filter, for routes to match.
pub const X_FOREBAY_BACKENDS: &str = "x-forebay-backends";
/// The value for those that may be at zero while nobody asks.
pub const ON_DEMAND: &str = "on-demand";
/// Equal for requests that shall meet at one backend. Put on by the filter, for Envoy to hash.
pub const X_FOREBAY_HASH: &str = "x-forebay-hash";
