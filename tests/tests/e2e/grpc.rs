//! gRPC through Envoy, where all clients share the backend's connection.

use e2e::grpc::{Cancelled, SERVICE, call, cancel, infer_request};
use e2e::http2::Connection;
use e2e::stack::Stack;
use rig::process::until;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::thread;

const MODEL: &str = "identity_fp32";
/// Clients of each kind.
const CLIENTS: u16 = 8;
/// Calls of each client that must not notice.
const CALLS: u16 = 100;
/// Calls that are cancelled on one connection, on which a gateway may have put other clients' too: more than Envoy's own settings
/// bear.
const CANCELLED: u32 = 600;

#[test]
fn clients_that_cancel_their_calls_end_nobody_elses() {
    let stack = Stack::new().start();
    let (port, method) = (stack.port, format!("{SERVICE}/ModelInfer"));
    let (ended, asked) = (AtomicBool::new(false), AtomicU16::new(0));
    // At the proxy, and on the connection that all share.
    let enough =
        [("http.forebay.downstream_rq_rx_reset", 1000), ("forebay-backend-grpc.upstream_rq_tx_reset", 0)];
    let failed: Vec<String> = thread::scope(|scope| {
        for number in 0..CLIENTS {
            let when = if number % 2 == 0 { Cancelled::AtOnce } else { Cancelled::Read };
            let (method, ended, asked) = (&method, &ended, &asked);
            scope.spawn(move || {
                while !ended.load(Ordering::Relaxed) {
                    // What was cancelled may be computed all the same, and be a hit from then on.
                    let value = -1.0 - f32::from(asked.fetch_add(1, Ordering::Relaxed));
                    let cancelled = cancel(port, method, &infer_request(MODEL, value), CANCELLED, when);
                    cancelled.expect("Envoy keeps the connection");
                }
            });
        }
        let innocent = |number: u16| {
            let connection = Connection::open(port).expect("Envoy speaks HTTP/2");
            let value = |turn: u16| f32::from(number * CALLS + turn);
            let failed = |turn: u16| {
                let answer = call(&connection, &method, &infer_request(MODEL, value(turn)));
                let right =
                    answer.header("grpc-status") == "0" && answer.body.ends_with(&value(turn).to_le_bytes());
                (!right)
                    .then(|| format!("{}: {}", answer.header("grpc-status"), answer.header("grpc-message")))
            };
            (0..CALLS).filter_map(failed).collect::<Vec<_>>()
        };
        let clients: Vec<_> = (0..CLIENTS).map(|number| scope.spawn(move || innocent(number))).collect();
        let failed: Vec<_> = clients.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        let are_enough =
            || enough.iter().all(|(name, least)| stack.stats(name).iter().any(|(_, count)| count > least));
        until("enough are cancelled", || are_enough().then_some(()));
        ended.store(true, Ordering::Relaxed);
        failed.into_iter().flat_map(|failed| failed.expect("a client lives")).collect()
    });
    assert!(failed.is_empty(), "{} of {} failed, first {}", failed.len(), CLIENTS * CALLS, failed[0]);
    stack.sound();
}
