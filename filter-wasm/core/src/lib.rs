//! The filter's stages as pure code: what Envoy calls goes in, what Envoy shall do comes out through one [`host::Host`] trait.
//!
//! A request passes the modules in this order:
//!
//! ```text
//! exchange   one request's states: Reading -> (hit) | Waiting | Asking -> Forwarding -> Storing
//!   read     headers and body: is it an inference request that can be answered without doubt?
//!   l1       ready-encoded answers: in-VM map, then shared slots
//!   join     same answer already on its way in this worker? wait for it
//!   gate     the L2 callout, its circuit breaker, and the poll for live generations (live)
//!   reply    a stored answer, the client's id put in
//!   store    the upstream's answer, collected chunk by chunk -> L1, and out to those who wait
//! ```
//!
//! [`worker::Worker`] owns what the requests of one worker thread share. Nothing here panics, and nothing here knows the
//! proxy-wasm SDK.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

pub mod breaker;
pub mod cache_status;
pub mod config;
pub mod counters;
pub mod exchange;
pub mod host;
pub mod join;
pub mod l1;
pub mod live;
pub mod reply;
pub mod worker;
