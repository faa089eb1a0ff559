//! The binary itself, on ports of its own, against tiny ONNX models, over HTTP and gRPC.
//!
//! `FOREBAY_DIR` (default: `.forebay` of the checkout) holds `lib/libonnxruntime.so.*` and `test-repository/`;
//! `cargo xtask setup` makes it.

mod answers;
mod batching;
mod budget;
mod busy_poll;
mod cache;
mod client;
mod clients;
mod coalescing;
mod coding;
mod compiled;
mod control;
mod drain;
mod errors;
mod external;
mod generations;
mod grpc;
mod io_binding;
mod optimized;
mod poll;
mod pool;
mod process;
mod proxied;
mod proxy;
mod redis;
mod refusals;
mod resets;
mod restricted;
mod slow;
mod strangers;
mod tensorrt;
mod tls;
mod v1;
