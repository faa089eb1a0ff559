//! A service whose backends go and come, behind real Envoy: hits go on, what is new waits at the gate and is answered.

mod timeouts;

use super::{HIT, is};
use e2e::stack::{Pool, Running, Stack};
use rig::http::{Answer, Connection, post};
use rig::process::until;
use rig::v2::{JSON, binary, fp32, fp32_binary};

const PATH: &str = "/v2/models/identity_fp32/infer";
const HELD: &str = "forebay-gate; fwd=uri-miss; detail=held";

fn ask(stack: &Running, value: f32) -> Connection {
    let mut connection = Connection::open(stack.port).unwrap();
    connection.write(&post(PATH, &JSON, &fp32(&[value]))).unwrap();
    connection
}

/// Whether Envoy takes the backend, and the gate beside it, for one that answers.
fn sees(stack: &Running, backend: bool) -> Option<()> {
    let is_healthy = |priority| stack.is_healthy("forebay-backend", priority);
    (is_healthy(0)? == backend && is_healthy(1)?).then_some(())
}

fn is_held(answer: &Answer) -> bool {
    answer.status == 200 && answer.cache_status().contains(HELD)
}

/// Waits until what is new goes to the backend, and not by way of the gate.
pub(crate) fn is_direct(stack: &Running) {
    until("Envoy sees the backend", || sees(stack, true));
    let mut values = (1000..5000_u16).map(f32::from);
    // Its workers hear of it a moment later.
    until("the way is direct", || {
        let answer =
            ask(stack, values.next()? + stack.gate_metric("forebay_hold_wakes") as f32 / 8.0).read().unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        (!is_held(&answer)).then_some(())
    });
}

#[test]
fn a_service_goes_to_zero_and_back_and_no_request_is_lost() {
    // Longer than Envoy takes to see that it is not ready any more.
    let mut stack = Stack::new().pool(Pool::Redis).holds().serve(&["--drain-secs", "3"]).start();
    is_direct(&stack);
    assert_eq!(ask(&stack, 0.0).read().unwrap().status, 200);
    for cycle in 1..=3_u8 {
        assert!(stack.backends[0].process.terminate().success());
        until("Envoy sees that it is gone", || sees(&stack, false));
        is(&ask(&stack, 0.0).read().unwrap(), HIT);
        // From the pool, in an encoding that no proxy has.
        let (length, body) = fp32_binary(&[f32::from(cycle - 1)]);
        let hit = stack.send(&post(PATH, &binary(&length), &body));
        assert!(hit.status == 200 && hit.cache_status().contains("hit"), "{hit:?}");
        let mut new: Vec<Connection> =
            (0..5_u8).map(|more| ask(&stack, f32::from(cycle) + f32::from(more) * 10.0)).collect();
        until("they are held", || (stack.gate_metric("forebay_held_requests") == 5).then_some(()));
        until("one is wanted", || {
            (stack.gate_metric("forebay_hold_wakes") == u64::from(cycle)).then_some(())
        });
        stack.restart_backend(0);
        for held in &mut new {
            let answer = held.read().unwrap();
            assert!(is_held(&answer), "{answer:?}");
        }
        is_direct(&stack);
    }
    stack.sound();
}
