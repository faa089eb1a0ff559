//! What would a day of requests cost? A day enters, recorded ([`trace`]) or made up ([`day`]); it goes through caches, joined flights, a
//! gate that holds, queues and a scaler, as they are said to be ([`policy`]), in time that is counted and not waited for; what came of
//! it leaves ([`outcome`]): GPU time, latencies, cold starts. No I/O, no clock, no threads; the same seed gives the same day.
//!
//! ```text
//! trace, day    a file's bytes, or numbers that say what a day is like -> records in the order of time
//! merged        several traces -> one
//! sampled       records of some keys -> records of as many as there were
//! tier, lru     what is kept of answers, bounded in bytes, by the policies that the pools have
//! hpa           the HorizontalPodAutoscaler's algorithm
//! fleet         replicas: cold, ready or draining; their queues and sessions
//! run           records -> one after another through all of it -> an outcome
//! ```

pub mod day;
mod fleet;
pub mod hpa;
mod lru;
pub mod merged;
pub mod outcome;
pub mod policy;
mod run;
pub mod sampled;
mod tier;
pub mod trace;

pub use run::run;
pub use tier::{Eviction, Tier};
