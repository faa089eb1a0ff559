//! What the tests in `tests/tests/` stand on.
//!
//! [`wasm_host`] runs the real `.wasm` without Envoy; the rest runs real processes and speaks to them.

pub mod installed;
pub mod wasm_host;

pub use installed::filter;
