//! Clients that never stop asking, while what stands behind the cache is killed and comes back.

use e2e::stack::{Pool, Stack};
use rig::http::{Connection, post};
use rig::process::until;
use rig::v2::{JSON, fp32};
use serde_json::json;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

const CLIENTS: u32 = 4;

/// What the clients share.
#[derive(Default)]
struct Traffic {
    ended: AtomicBool,
    answers: AtomicU64,
}

impl Traffic {
    /// Asks on one connection, every third time something new, until it is ended; the answers that were wrong.
    fn client(&self, port: u16, number: u32) -> Vec<String> {
        let mut connection = Connection::open(port).expect("Envoy accepts");
        let mut wrong = Vec::new();
        for turn in 0_u32.. {
            if self.ended.load(Ordering::Relaxed) {
                break;
            }
            // Numbers of f32's exact range, other ones for each client.
            let value = (number * 1_000_000 + turn / 3) as f32;
            connection.write(&post("/v2/models/identity_fp32/infer", &JSON, &fp32(&[value]))).expect("sent");
            let answer = connection.read().expect("an answer");
            if answer.status != 200 || answer.json()["outputs"][0]["data"] != json!([value]) {
                wrong.push(format!("{value}: {} {}", answer.status, String::from_utf8_lossy(&answer.body)));
            }
            self.answers.fetch_add(1, Ordering::Relaxed);
        }
        wrong
    }

    /// Waits until the clients have had that many answers more.
    fn goes_on(&self, count: u64) {
        let before = self.answers.load(Ordering::Relaxed);
        until("clients get answers", || {
            (self.answers.load(Ordering::Relaxed) >= before + count).then_some(())
        });
    }
}

#[test]
fn redis_and_the_gate_die_and_come_back_and_no_request_fails() {
    let mut stack = Stack::new().pool(Pool::Redis).workers(2).start();
    let traffic = Traffic::default();
    let port = stack.port;
    let wrong: Vec<_> = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                scope.spawn({
                    let traffic = &traffic;
                    move || traffic.client(port, number)
                })
            })
            .collect();
        traffic.goes_on(200);
        stack.servers[0].process.kill();
        traffic.goes_on(500);
        stack.servers[0].restart();
        traffic.goes_on(500);
        stack.gate().expect("a gate").kill();
        traffic.goes_on(500);
        stack.restart_gate();
        traffic.goes_on(500);
        traffic.ended.store(true, Ordering::Relaxed);
        clients.into_iter().flat_map(|client| client.join().expect("a client lives")).collect()
    });
    assert!(wrong.is_empty(), "{} wrong, first {}", wrong.len(), wrong[0]);
    // Polls, now: they are answered without a table while it is the same.
    let answered =
        || stack.stats("cluster.forebay-gate.upstream_rq_2xx").first().map_or(0, |(_, count)| *count);
    let before = answered();
    until("the gate answers again", || (answered() > before).then_some(()));
    stack.sound();
}
