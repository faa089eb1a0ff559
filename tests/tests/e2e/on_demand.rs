//! Models with backends of their own, behind real Envoy: the filter says whose a request is, in each encoding.

use super::{HIT, is};
use e2e::grpc::{SERVICE, call, infer_request};
use e2e::http2::Connection as Http2;
use e2e::stack::{Pool, Running, Stack};
use rig::http::{Connection, get, post};
use rig::process::until;
use rig::v2::{JSON, binary, fp32, fp32_binary};

const HOT: &str = "identity_fp32";
const RARE: &str = "slow";
/// In the order of the stack.
const HOT_ONES: usize = 0;
const ON_DEMAND: usize = 1;

/// With an on-demand backend that Envoy has seen, by HTTP and by gRPC.
fn stack() -> Running {
    // It ends in more time than Envoy takes to see that it is not ready any more.
    let stack = Stack::new().pool(Pool::Redis).models(&[HOT]).on_demand(&[RARE]);
    let stack = stack.serve(&["--drain-secs", "3"]).start();
    until("Envoy sees all", || sees(&stack, true));
    stack
}

fn inferences(stack: &Running, backend: usize) -> u64 {
    stack.backend_metric(backend, "nv_inference_count", "model=")
}

/// An inference over gRPC; its `grpc-status`.
fn calls(stack: &Running, model: &str, value: f32) -> String {
    let connection = Http2::open(stack.port).unwrap();
    let answer = call(&connection, &format!("{SERVICE}/ModelInfer"), &infer_request(model, value));
    answer.header("grpc-status").to_owned()
}

#[test]
fn each_model_is_computed_by_its_own_backends_in_each_encoding() {
    let stack = stack();
    for (model, at) in [(HOT, HOT_ONES), (RARE, ON_DEMAND)] {
        let before = [HOT_ONES, ON_DEMAND].map(|backend| inferences(&stack, backend));
        assert_eq!(stack.infer(model, &JSON, &fp32(&[1.0])).status, 200);
        is(&stack.infer(model, &JSON, &fp32(&[1.0])), HIT);
        let (length, body) = fp32_binary(&[2.0]);
        let answer = stack.infer(model, &binary(&length), &body);
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(calls(&stack, model, 3.0), "0");
        let large = vec![4.0; 1_200_000];
        let (length, body) = fp32_binary(&large);
        assert_eq!(stack.infer(model, &binary(&length), &body).status, 200, "more than the filter reads");
        let after = [HOT_ONES, ON_DEMAND].map(|backend| inferences(&stack, backend));
        let mut wanted = before;
        wanted[at] += 4;
        assert_eq!(after, wanted, "{model}");
        let ready = stack.send(&get(&format!("/v2/models/{model}/ready")));
        assert_eq!(ready.status, 200, "{model}: {ready:?}");
    }
    let requests = |cluster: &str| -> u64 {
        let name = format!("cluster.{cluster}.upstream_rq_completed");
        stack.stats(&name).iter().map(|(_, count)| count).sum()
    };
    assert_eq!((requests("forebay-on-demand"), requests("forebay-on-demand-grpc")), (4, 1));
    stack.sound();
}

#[test]
fn no_client_says_whose_a_request_is() {
    let stack = stack();
    for (value, forged) in [(1.0, "on-demand"), (2.0, "hot"), (3.0, "")] {
        let headers = [&JSON[..], &[("x-forebay-backends", forged), ("x-forebay-hash", "mine")]].concat();
        for model in [HOT, RARE] {
            let answer = stack.infer(model, &headers, &fp32(&[value]));
            assert_eq!(answer.status, 200, "{model} {forged}: {answer:?}");
        }
    }
    assert_eq!((inferences(&stack, HOT_ONES), inferences(&stack, ON_DEMAND)), (3, 3));
}

/// Whether Envoy takes the on-demand backend for one that answers, or knows that it is gone.
fn sees(stack: &Running, backend: bool) -> Option<()> {
    let both = ["forebay-on-demand", "forebay-on-demand-grpc"].map(|name| stack.is_healthy(name, 0));
    (both == [Some(backend); 2]).then_some(())
}

#[test]
fn while_on_demand_backends_are_at_zero_hot_models_go_on_and_the_others_wait_for_one() {
    let mut stack = stack();
    assert_eq!(stack.infer(RARE, &JSON, &fp32(&[1.0])).status, 200);
    assert!(stack.backends[ON_DEMAND].process.terminate().success());
    until("Envoy sees that it is gone", || sees(&stack, false));
    is(&stack.infer(RARE, &JSON, &fp32(&[1.0])), HIT);
    assert_eq!(stack.infer(HOT, &JSON, &fp32(&[5.0])).status, 200);
    let wakes = stack.gate_metric("forebay_hold_wakes");
    let mut waits = Connection::open(stack.port).unwrap();
    waits.write(&post(&format!("/v2/models/{RARE}/infer"), &JSON, &fp32(&[2.0]))).unwrap();
    until("it is held", || (stack.gate_metric("forebay_held_requests") == 1).then_some(()));
    let port = stack.port;
    let calls = std::thread::spawn(move || {
        let connection = Http2::open(port).unwrap();
        let answer = call(&connection, &format!("{SERVICE}/ModelInfer"), &infer_request(RARE, 3.0));
        answer.header("grpc-status").to_owned()
    });
    until("both are held", || (stack.gate_metric("forebay_held_requests") == 2).then_some(()));
    assert_eq!(stack.infer(HOT, &JSON, &fp32(&[6.0])).status, 200);
    stack.restart_backend(ON_DEMAND);
    assert_eq!(waits.read().unwrap().status, 200);
    assert_eq!(calls.join().unwrap(), "0");
    assert_eq!(stack.gate_metric("forebay_hold_wakes"), wakes + 1, "hot models wake nobody");
    stack.sound();
}
