//! Another server behind it all: Envoy with the filter, `forebay front`, and a server that keeps nothing and knows nothing of Forebay.

use super::calls::infer as call;
use super::{HIT, STORED, is};
use e2e::stack::{Pool, Running, Stack};
use rig::http::{self, Answer};
use rig::installed::installed;
use rig::process::until;
use rig::repository::put;
use rig::v2::{JSON, binary, fp32, fp32_binary};

const MODEL: &str = "identity_fp32";

fn fronted() -> Running {
    Stack::new().fronted().pool(Pool::Redis).proxies(2).start()
}

fn ask(stack: &Running, value: f32) -> Answer {
    stack.infer(MODEL, &JSON, &fp32(&[value]))
}

#[test]
fn what_another_server_computed_is_a_hit_in_every_proxy_and_encoding() {
    let stack = fronted();
    let first = ask(&stack, 1.0);
    is(&first, STORED);
    let again = ask(&stack, 1.0);
    is(&again, HIT);
    assert_eq!(again.body, first.body);
    let (length, body) = fp32_binary(&[1.0]);
    is(&stack.infer(MODEL, &binary(&length), &body), HIT);
    let (status, cache, message) = call(&stack, MODEL, 1.0);
    assert!(status == "0" && cache.starts_with(HIT) && message.ends_with(&1.0_f32.to_le_bytes()), "{cache}");
    let other = stack.all_ports()[1];
    until("the other proxy finds it in the pool", || {
        let answer =
            http::send(other, &http::post(&format!("/v2/models/{MODEL}/infer"), &JSON, &fp32(&[1.0])));
        let cache = answer.expect("Envoy answers").nearest_cache();
        (cache.starts_with(HIT) && cache.contains("l2")).then_some(())
    });
    assert_eq!(stack.upstream_inferences(MODEL), 1);
    stack.sound();
}

#[test]
fn a_load_by_way_of_the_front_ends_what_every_proxy_kept() {
    let stack = fronted();
    let generation = ask(&stack, 2.0).header("x-forebay-generation").to_owned();
    is(&ask(&stack, 2.0), HIT);
    let file = format!("{MODEL}/1/model.onnx");
    let other = std::fs::read(installed("test-repository/slow/1/model.onnx")).expect("another model");
    put(&stack.backends[0].repository, file, other);
    // Clients of the proxy have no way to it.
    let load = http::post(&format!("/v2/repository/models/{MODEL}/load"), &JSON, b"{}");
    let loaded = http::send(stack.backend_ports(0).0, &load).expect("the front answers");
    assert_eq!(loaded.status, 200, "{loaded:?}");
    let asked =
        |port| http::send(port, &http::post(&format!("/v2/models/{MODEL}/infer"), &JSON, &fp32(&[2.0])));
    for port in stack.all_ports() {
        let after = asked(port).expect("Envoy answers");
        assert_ne!(after.header("x-forebay-generation"), generation, "{after:?}");
    }
    is(&ask(&stack, 2.0), HIT);
    assert_eq!(stack.upstream_inferences(MODEL), 2);
    stack.sound();
}

#[test]
fn hits_go_on_while_the_server_is_gone_and_a_miss_has_an_error() {
    let mut stack = fronted();
    is(&ask(&stack, 3.0), STORED);
    stack.backends[0].upstream.as_mut().expect("a server").process.kill();
    is(&ask(&stack, 3.0), HIT);
    let missed = ask(&stack, 4.0);
    assert!(missed.status >= 500 && !missed.error().is_empty(), "{missed:?}");
    stack.sound();
}
