//! gRPC through Envoy, where all clients share the backend's connection.

use e2e::grpc::{Cancelled, SERVICE, call, cancel, infer_request};
use e2e::http2::Connection;
use e2e::stack::Stack;
use std::sync::atomic::{AtomicBool, Ordering};
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
    let ended = AtomicBool::new(false);
    let failed: Vec<String> = thread::scope(|scope| {
        for number in 0..CLIENTS {
            let when = if number % 2 == 0 { Cancelled::AtOnce } else { Cancelled::Read };
            let (method, ended) = (&method, &ended);
            scope.spawn(move || {
                while !ended.load(Ordering::Relaxed) {
                    let cancelled = cancel(port, method, &infer_request(MODEL, -1.0), CANCELLED, when);
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
        ended.store(true, Ordering::Relaxed);
        failed.into_iter().flat_map(|failed| failed.expect("a client lives")).collect()
    });
    assert!(failed.is_empty(), "{} of {} failed, first {}", failed.len(), CLIENTS * CALLS, failed[0]);
    for (name, least) in
        [("http.forebay.downstream_rq_rx_reset", 1000), ("forebay-backend-grpc.upstream_rq_tx_reset", 0)]
    {
        let resets = stack.stats(name);
        assert!(resets.iter().any(|(_, count)| *count > least), "too few were cancelled: {resets:?}");
    }
    stack.sound();
}
