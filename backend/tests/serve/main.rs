//! The binary itself, on ports of its own, against tiny ONNX models, over HTTP and gRPC.
//!
//! `FOREBAY_DIR` (default: `.forebay` of the checkout) holds `lib/libonnxruntime.so.*` and `test-repository/`;
//! `cargo xtask setup` makes it.

// What tests of TensorRT alone need lies idle in a build without it.
#![cfg_attr(not(feature = "tensorrt"), allow(dead_code))]

mod answers;
mod batches;
mod batching;
mod budget;
mod busy_poll;
mod bypass;
mod cache;
mod client;
mod client_commands;
mod clients;
mod coalescing;
mod coding;
#[cfg(feature = "tensorrt")]
mod compiled;
mod configuration;
mod control;
mod declared;
mod drain;
mod end;
mod errors;
mod external;
mod external_metrics;
mod framing;
mod front;
mod generation;
mod generations;
mod grpc;
mod hold;
mod io_binding;
mod key_traces;
mod kubernetes;
mod leases;
mod memcached;
mod memory;
mod mesh;
mod named;
#[cfg(not(feature = "tensorrt"))]
mod no_tensorrt;
mod optimized;
mod poll;
mod pool;
mod process;
mod proxied;
mod purges;
mod raw_binary;
mod reached;
mod records;
mod redis_cluster;
mod redis_replicas;
mod refusals;
mod replays;
mod resets;
mod restricted;
mod sentinel;
mod shared;
mod silence;
mod simulated;
mod slow;
mod start;
mod strangers;
mod stream;
mod strings;
mod surroundings;
mod targets;
mod targets_agree;
#[cfg(feature = "tensorrt")]
mod tensorrt;
mod tls;
mod traces;
mod ui;
mod v1;
mod variants;
mod wake;
