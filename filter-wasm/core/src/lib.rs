//! The filter's stages as pure code: what the proxy tells goes in, what the proxy shall do comes out as [`acts::Acts`]. The proxy is
//! read through one [`host::Host`] trait; nothing is done to a stream from here.
//!
//! A request passes the modules in this order:
//!
//! ```text
//! exchange   one request's states: Reading -> (hit) | Waiting | Asking | Batched -> Forwarding -> Storing
//!   read     headers and body: is it an inference request that can be answered without doubt?
//!   wanted   what it asks, and under which keys its answer is kept
//!   l1       ready-encoded answers: in-VM map, then shared slots
//!   usable   may a kept answer be given to this request?
//!   join     same answer already on its way in this worker? wait for it
//!   asking   is a lookup in L2 worth its price, and what does it come to?
//!   batched  lookups that go together, where others are under way
//!   gate     the L2 callout and its circuit breaker
//!   upstream the one way out to the upstream
//!   store    the upstream's answer, collected chunk by chunk -> L1, and out (landing) to those who wait
//! ```
//!
//! [`worker::Worker`] owns what the requests of one worker thread share, [`memory`], the `clock` and the bodies that are [`arriving`] among it, and
//! polls for [`live`] generations, with a [`tally`] of what was saved, and makes stale answers anew
//! ([`refresh`]). [`encoding`] knows how requests and answers look in V2 over
//! HTTP; [`cache_status`] has every reason with its text. Nothing here panics, and nothing here knows the proxy-wasm SDK.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

pub mod acts;
pub mod arriving;
mod asking;
mod batched;
pub mod cache_status;
mod clock;
pub mod config;
pub mod counters;
pub mod encoding;
pub mod exchange;
pub mod gate;
pub mod host;
pub mod join;
pub mod l1;
pub mod landing;
pub mod live;
pub mod memory;
pub mod refresh;
pub mod reply;
pub mod tally;
pub mod usable;
pub mod wanted;
pub mod worker;
mod worth;
