//! What the tests in `tests/tests/` stand on.
//!
//! [`wasm_host`] runs the real `.wasm` without Envoy. [`stack`] runs the real processes, and [`http`] speaks to them in
//! bytes of the test's own, [`mtls`] in the name of a certificate, [`http2`] many at once, [`grpc`] in calls; [`v2`] makes those of
//! sound requests.

pub mod grpc;
pub mod http;
pub mod http2;
pub mod mtls;
pub mod stack;
pub mod v2;
pub mod wasm_host;

pub use rig::installed::filter;
