//! Lookups that go to the gate together: many different misses at once, in each encoding.

use std::net::TcpStream;

use e2e::grpc::{SERVICE, infer_request};
use e2e::http2;
use e2e::stack::{Pool, Running, Stack};
use rig::frames::{CALL, framed};
use rig::http::{Answer, Connection, post};
use rig::process::{Signal, until};
use rig::v2::{JSON, binary, fp32_binary, request};

use crate::asking::computed;

const MODEL: &str = "identity_fp32";
/// Requests at once of each encoding.
const AT_ONCE: u16 = 40;

/// Requests of values that nobody asked for before, all sent before the first answer is read. Each gets its own.
fn asked(port: u16, from: u16) -> Vec<Answer> {
    let (path, value) = (format!("/v2/models/{MODEL}/infer"), |number: u16| f32::from(from + number));
    let mut connections: Vec<(f32, Connection<TcpStream>)> = (0..2 * AT_ONCE)
        .map(|number| {
            let (value, mut connection) = (value(number), Connection::open(port).expect("Envoy accepts"));
            let bytes = if number < AT_ONCE {
                post(&path, &JSON, request(&[value]).to_string().as_bytes())
            } else {
                let (length, body) = fp32_binary(&[value]);
                post(&path, &binary(&length), &body)
            };
            connection.write(&bytes).expect("sent");
            (value, connection)
        })
        .collect();
    let calls: Vec<f32> = (2 * AT_ONCE..3 * AT_ONCE).map(value).collect();
    let messages = calls.iter().map(|value| framed(&infer_request(MODEL, *value))).collect();
    let connection = http2::Connection::open(port).expect("Envoy accepts");
    let by_grpc = connection.post(&format!("/{SERVICE}/ModelInfer"), &CALL, messages);
    let by_http =
        connections.iter_mut().map(|(value, connection)| (*value, connection.read().expect("an answer")));
    let answers: Vec<(f32, Answer)> = by_http.chain(calls.into_iter().zip(by_grpc)).collect();
    assert_eq!(answers.len(), usize::from(3 * AT_ONCE));
    for (value, answer) in &answers {
        let in_json = || answer.json()["outputs"][0]["data"][0] == *value;
        assert!(answer.status == 200 && matches!(answer.header("grpc-status"), "" | "0"), "{answer:?}");
        assert!(answer.body.ends_with(&value.to_le_bytes()) || in_json(), "{value}: {answer:?}");
    }
    answers.into_iter().map(|(_, answer)| answer).collect()
}

fn batched(stack: &Running) -> u64 {
    stack.stats("event=lookup_batched").iter().map(|(_, count)| count).sum()
}

/// How many lookups the gate has answered, and how many of its callouts Envoy has sent.
fn lookups(stack: &Running) -> (u64, u64) {
    let of = |result: &str| stack.gate_metric(&format!("forebay_gate_lookups{{result=\"{result}\""));
    let sent = stack.stats("cluster.forebay-gate.upstream_rq_total").iter().map(|(_, count)| count).sum();
    (of("hit") + of("miss"), sent)
}

#[test]
fn many_lookups_at_once_are_few_callouts_and_each_gets_its_own_answer() {
    let stack = Stack::new().pool(Pool::Redis).workers(1).start();
    computed(&stack, 1000..1000 + 3 * AT_ONCE);
    let before = lookups(&stack);
    for answer in asked(stack.port, 1000) {
        assert!(answer.nearest_cache().ends_with("detail=l2"), "{answer:?}");
    }
    let after = lookups(&stack);
    assert_eq!(after.0 - before.0, u64::from(3 * AT_ONCE));
    assert!(after.1 - before.1 < u64::from(AT_ONCE), "{} callouts", after.1 - before.1);
    until("it is counted", || (batched(&stack) > u64::from(AT_ONCE)).then_some(()));
    stack.sound();
}

#[test]
fn a_gate_that_falls_silent_costs_those_who_wait_together_nothing_but_their_time() {
    let mut stack = Stack::new().pool(Pool::Redis).workers(1).start();
    stack.gate().expect("a gate").signal(Signal::STOP);
    asked(stack.port, 1000);
    stack.gate().expect("a gate").signal(Signal::CONT);
    stack.sound();
}
