//! Many equal requests at once.

use e2e::stack::{Running, Stack};
use rig::http::{Answer, Connection, post};
use rig::process::until;
use rig::v2::{JSON, request};
use serde_json::json;

/// Sends `count` requests, each on a connection of its own, before it reads the first answer.
fn at_once(stack: &Running, count: usize, body: impl Fn(usize) -> Vec<u8>) -> Vec<Answer> {
    let mut connections: Vec<_> =
        (0..count).map(|_| Connection::open(stack.port).expect("Envoy accepts")).collect();
    for (number, connection) in connections.iter_mut().enumerate() {
        connection.write(&post("/v2/models/slow/infer", &JSON, &body(number))).expect("sent");
    }
    connections.iter_mut().map(|connection| connection.read().expect("an answer")).collect()
}

#[test]
fn a_thousand_equal_requests_are_at_most_one_inference_a_worker() {
    let workers = 2;
    let stack = Stack::new().models(&["slow"]).workers(workers).start();
    let answers = at_once(&stack, 1000, |number| {
        let mut body = request(&[1.0]);
        body["id"] = json!(number.to_string());
        body.to_string().into_bytes()
    });
    for (number, answer) in answers.iter().enumerate() {
        assert_eq!(answer.status, 200, "{}", answer.error());
        assert_eq!(answer.json()["id"], number.to_string().as_str());
        assert_eq!(answer.json()["outputs"][0]["data"], json!([1.0]));
    }
    let inferences = stack.inferences("slow");
    assert!((1..=workers as u64).contains(&inferences), "{inferences} inferences");
    assert!(answers.iter().any(|answer| answer.nearest_cache() == "forebay; fwd=miss; collapsed"));
    stack.sound();
}

#[test]
fn connections_of_leader_and_waiters_go_on_after_a_shared_answer() {
    let stack = Stack::new().models(&["slow"]).start();
    let mut connections: Vec<_> =
        (0..20).map(|_| Connection::open(stack.port).expect("Envoy accepts")).collect();
    for value in [1.0_f32, 2.0, 3.0] {
        let bytes = post("/v2/models/slow/infer", &JSON, &request(&[value]).to_string().into_bytes());
        for connection in &mut connections {
            connection.write(&bytes).expect("sent");
        }
        for connection in &mut connections {
            let answer = connection.read().expect("an answer");
            assert_eq!((answer.status, &answer.json()["outputs"][0]["data"]), (200, &json!([value])));
        }
    }
    assert_eq!(stack.inferences("slow"), 3);
    stack.sound();
}

#[test]
fn a_leader_whose_client_goes_away_leaves_nobody_waiting() {
    let stack = Stack::new().models(&["slow"]).start();
    let body = || request(&[2.0]).to_string().into_bytes();
    let bytes = post("/v2/models/slow/infer", &JSON, &body());
    let pending = |count: u64| {
        until("requests are in flight", || {
            let active = stack.stats("http.forebay.downstream_rq_active");
            (active.first().map(|(_, value)| *value) == Some(count)).then_some(())
        });
    };
    let mut leader = Connection::open(stack.port).expect("Envoy accepts");
    leader.write(&bytes).expect("sent");
    pending(1);
    let mut others: Vec<_> = (0..50).map(|_| Connection::open(stack.port).expect("accepted")).collect();
    for other in &mut others {
        other.write(&bytes).expect("sent");
    }
    drop(leader);
    for other in &mut others {
        let answer = other.read().expect("an answer");
        assert_eq!((answer.status, &answer.json()["outputs"][0]["data"]), (200, &json!([2.0])));
    }
    stack.sound();
}

#[test]
fn different_requests_at_once_get_their_own_answers() {
    let stack = Stack::new().models(&["slow"]).workers(2).start();
    let value = |number: usize| f32::from(u16::try_from(number % 5).expect("small"));
    let answers = at_once(&stack, 60, |number| request(&[value(number)]).to_string().into_bytes());
    for (number, answer) in answers.iter().enumerate() {
        assert_eq!(answer.json()["outputs"][0]["data"], json!([value(number)]), "{}", answer.error());
    }
    assert!(stack.inferences("slow") <= 10);
    stack.sound();
}
