//! What `cargo xtask` and the tests stand on, once for all of them: processes that end with who started them ([`process`],
//! [`group`]), a [`redis`], [`envoy`]'s file with other values, and [`onnx`]'s messages.

pub mod envoy;
pub mod group;
pub mod onnx;
pub mod process;
pub mod redis;
