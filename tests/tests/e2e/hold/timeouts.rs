//! What lies between a client and the gate bounds how long a request may be held. What is shipped lets a cold start through; what gives
//! up earlier has an error of its own, and the gate forgets its request at once.

use std::process::Command;

use e2e::stack::{Pool, Running, Stack};
use rig::http::get;
use rig::installed::{checkout, forebay, installed};
use rig::process::{Process, printed, until};
use serde_json::Value;

use super::ask;

/// A cold start that must not be cut, in seconds: a node that is there, an image that is there, and a large model.
const COLD_START: f64 = 50.0;

fn client(arguments: &[&str]) -> Command {
    let mut command = Command::new(installed("venv/bin/python"));
    command.arg(checkout().join("tests/clients/timeouts.py")).args(arguments);
    command
}

/// Seconds, as Envoy writes them; 0 is no bound.
fn seconds(of: &Value) -> f64 {
    let text = of.as_str().unwrap_or_else(|| panic!("no time: {of}"));
    let seconds: f64 = text.trim_end_matches('s').parse().unwrap();
    if seconds > 0.0 { seconds } else { f64::INFINITY }
}

/// The routes in force.
fn routes(stack: &Running) -> Vec<Value> {
    let dump = stack.admin("/config_dump?resource=static_route_configs").json();
    let configs = dump["configs"].as_array().expect("a list of configurations");
    let hosts = configs.iter().filter_map(|config| config["route_config"]["virtual_hosts"].as_array());
    hosts.flatten().filter_map(|host| host["routes"].as_array()).flatten().cloned().collect()
}

#[test]
fn a_cold_start_is_cut_by_nothing_that_is_shipped() {
    let stack = Stack::new().pool(Pool::Redis).holds().start();
    let routes = routes(&stack);
    for name in ["infer", "predict", "grpc", "grpc-stream"] {
        let of_name = || routes.iter().filter(|route| route["name"] == name);
        assert!(of_name().count() > 0, "no route {name}");
        for route in of_name().filter_map(|route| route["route"].as_object()) {
            for bound in ["timeout", "idle_timeout"] {
                assert!(seconds(&route[bound]) >= COLD_START, "{name}: {bound}: {route:?}");
            }
            assert!(!route.contains_key("max_stream_duration"), "{name}: {route:?}");
        }
    }
    let said = printed(Command::new(forebay()).args(["gate", "--help"]));
    let (_, held) = said.split_once("--hold-timeout-secs").expect("the gate's flag");
    let held = held.split_once("[default: ").and_then(|(_, rest)| rest.split_once(']')).expect("a default").0;
    assert!(held.parse::<f64>().unwrap() >= COLD_START, "{held}");
    let defaults: Value = serde_json::from_str(&printed(&mut client(&["defaults"]))).unwrap();
    for bound in ["connection_timeout", "network_timeout"] {
        assert!(defaults[bound].as_f64().unwrap() >= COLD_START, "{defaults}");
    }
    assert_eq!(defaults["client_timeout"], Value::Null, "over gRPC it waits for ever");
}

/// A stack whose backend is gone, and Envoy knows it.
fn asleep(stack: Stack) -> Running {
    let mut stack = stack.start();
    until("Envoy sees the backend", || super::sees(&stack, true));
    assert!(stack.backends[0].process.terminate().success());
    until("Envoy sees that it is gone", || super::sees(&stack, false));
    // Its worker hears of it a moment later.
    until("the gate stands in for it", || (stack.send(&get("/v2/health/ready")).status == 200).then_some(()));
    stack
}

fn until_held(stack: &Running, count: u64) {
    until("so many are held", || (stack.gate_metric("forebay_held_requests") == count).then_some(()));
}

#[test]
fn a_route_that_gives_up_early_answers_by_itself_and_the_gate_forgets_the_request_at_once() {
    let shipped = "timeout: 60s # a whole inference, with its time in the backend's queue";
    let stack = Stack::new().pool(Pool::Redis).holds().with(shipped, "timeout: 2s");
    let stack = asleep(stack);
    let mut held = ask(&stack, 1.0);
    until_held(&stack, 1);
    let cut = held.read().unwrap();
    assert_eq!((cut.status, cut.header("retry-after")), (504, "1"), "{cut:?}");
    assert_eq!(cut.error(), "upstream request timeout", "{cut:?}");
    until_held(&stack, 0);
    assert_eq!(stack.gate_metric("forebay_hold_refused"), 0, "nobody is told what nobody waits for");
}

#[test]
fn a_client_that_gives_up_early_has_an_error_of_its_own_and_is_forgotten_at_once() {
    let stack = asleep(Stack::new().pool(Pool::Redis).holds());
    let mut client =
        Process::start("timeouts.py", client(&["cut", &format!("127.0.0.1:{}", stack.port), "3"]));
    until_held(&stack, 1);
    client.until_line(|line| line.starts_with("gave up").then_some(()));
    until_held(&stack, 0);
    assert!(client.wait().success());
}
