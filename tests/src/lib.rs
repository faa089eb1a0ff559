//! What the tests in `tests/tests/` stand on.
//!
//! [`wasm_host`] runs the real `.wasm` without Envoy. [`stack`] runs the real processes. What speaks to them beside `rig`'s plain
//! client: [`http2`] many at once, [`grpc`] in calls.

pub mod grpc;
pub mod http2;
pub mod mounted;
pub mod stack;
pub mod vault;
pub mod wasm_host;

pub use rig::installed::filter;
