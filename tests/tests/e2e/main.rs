//! End to end: real Envoy with the real filter, real backend, gate and Redis, real clients. One file a theme.

mod argocd;
mod asking;
mod batches;
mod buffered;
mod caching;
mod calls;
mod chaos;
mod clients;
mod dashboard;
mod examples;
mod failures;
mod freshness;
mod fronted;
mod grpc;
mod hold;
mod hostile;
mod http2;
mod joining;
mod key_traces;
mod on_demand;
mod once;
mod pages;
mod peers;
mod pool;
mod purges;
mod rates;
mod refusals;
mod routes;
mod secrets;
mod services;
mod silent;
mod targets;
mod tenants;
mod traffic;
mod ui;
mod watching;

use rig::http::Answer;

/// Asserts that an answer is a 200 and what our member of its `Cache-Status` says.
#[track_caller]
fn is(answer: &Answer, status: &str) {
    let body = || String::from_utf8_lossy(&answer.body).chars().take(300).collect::<String>();
    assert_eq!(answer.status, 200, "{}", body());
    assert!(answer.nearest_cache().starts_with(status), "{:?} is not {status:?}", answer.cache_status());
}

/// How a hit begins.
const HIT: &str = "forebay; hit; ttl=";
/// How a stored miss begins.
const STORED: &str = "forebay; fwd=miss; stored";
