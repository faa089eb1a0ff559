//! The end has one bound, whatever is stuck: what is cut is said, and other servers are told first that this one leaves.

use std::time::{Duration, Instant};

use forebay_protocol::gate::POLL_PATH;
use rig::http::{Connection, connect, get, head, post};
use rig::process::{Signal, until};
use rig::repository::{add, generated};
use serde_json::json;

use crate::client::{begun, fp32};
use crate::control::unload;
use crate::generations::Served;
use crate::mesh::Mesh;
use crate::poll::install;
use crate::process::{Forebay, refused, serve_command, test_repository};
use crate::proxied::{NONE, live, poll, table};

const INFER: &str = "/v2/models/m/infer";
/// The bound in these tests: nothing else that a stuck client meets is over so soon.
const BOUND: [&str; 2] = ["--exit-timeout-secs", "6"];
/// It ended by that bound, and by no later one.
const SOON: Duration = Duration::from_secs(30);

/// A client whose request never gets to its end, once it is being read.
fn stuck(port: u16, path: &str) -> Connection {
    let mut client =
        begun(port, &head("POST", path, &[("content-length", "10"), ("expect", "100-continue")]));
    assert_eq!(client.read().unwrap().status, 100);
    client
}

/// Waits for its end since then; what it has said.
fn cut(forebay: Forebay, began: Instant) -> String {
    let said = forebay.until_ended();
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    said
}

#[test]
fn a_stuck_client_is_cut_and_other_servers_are_told_before_that_this_one_leaves() {
    for mesh in Mesh::each() {
        let old = Served::shared(mesh, &BOUND);
        let mesh = old.mesh.as_ref().unwrap();
        let root = tempfile::tempdir().unwrap();
        install(root.path(), 1, "slow");
        let new = Forebay::serve_from(root.path(), &mesh.arguments(&["--instances", "1"]));
        let generation =
            |of: &Forebay| of.infer("m", &[], &fp32(&[1.0])).header("x-forebay-generation").to_owned();
        let (before, after) = (generation(&old.one), generation(&new));
        let told = || live(&table(&poll(old.gate(), "p", NONE, 0)));
        until("both are live", || (told().len() == 2).then_some(()));
        let _stuck = stuck(old.one.http_port, INFER);
        let began = Instant::now();
        old.one.terminate();
        until("only the other is", || (told() == [after.clone()]).then_some(()));
        assert!(old.one.log().lines().all(|line| !line.contains("cut")), "{}", old.one.log());
        assert_ne!(before, after);
        let said = cut(old.one, began);
        assert!(said.contains("cut: the time for requests is over"), "{said}");
    }
}

#[test]
fn what_is_computed_for_a_server_that_leaves_is_kept_for_those_that_serve_the_same() {
    let mesh = Mesh::redis();
    let more = ["--instances", "1", "--drain-secs", "20"];
    let (one, other) = (Forebay::serve(&mesh.arguments(&more)), mesh.serve());
    one.terminate();
    until("it is not ready", || (one.get("/v2/health/ready").status == 503).then_some(()));
    let late = one.infer("identity_fp32", &[], &fp32(&[7.0]));
    assert_eq!(late.status, 200, "{late:?}");
    until("the other has it", || other.infer("identity_fp32", &[], &fp32(&[7.0])).is_hit().then_some(()));
}

#[test]
fn what_is_unloaded_while_a_server_leaves_is_said_too() {
    for mesh in Mesh::each() {
        let leaves = Served::shared(mesh, &["--drain-secs", "20"]);
        leaves.one.terminate();
        until("it is not ready", || (leaves.one.get("/v2/health/ready").status == 503).then_some(()));
        let told = || live(&table(&poll(leaves.gate(), "p", NONE, 0)));
        assert_eq!(told().len(), 1, "nobody else serves it: the last word counts");
        assert_eq!(unload(&leaves.one, "m").status, 200);
        assert!(told().is_empty());
    }
}

#[test]
fn a_model_that_computes_for_ever_and_a_pool_that_stands_still_hold_up_no_end() {
    let mesh = Mesh::redis();
    let root = tempfile::tempdir().unwrap();
    add(root.path(), "m", "model.onnx", generated("products"), "");
    let one = Forebay::serve_from(root.path(), &mesh.arguments(&BOUND));
    let three = one.infer("m", &[], &fp32(&[3.0]));
    assert_eq!(three.json()["outputs"][0]["data"], json!([3.0]), "{three:?}");
    let mut waits = begun(one.http_port, &post(INFER, &[], fp32(&[1e18]).to_string().as_bytes()));
    until("it computes", || (one.metric("forebay_requests_in_progress", "m") == 1).then_some(()));
    mesh.servers[0].process.freeze();
    let began = Instant::now();
    one.terminate();
    let said = cut(one, began);
    assert!(said.contains("cut: they still compute") && said.contains(r#""models":"m""#), "{said}");
    assert!(waits.read().is_err());
}

#[test]
fn a_client_that_left_and_a_model_that_still_computes_for_it_are_not_waited_for() {
    let root = tempfile::tempdir().unwrap();
    add(root.path(), "m", "model.onnx", generated("products"), "");
    let one = Forebay::serve_from(root.path(), &["--instances", "1", "--exit-timeout-secs", "100"]);
    let before = one.sockets();
    let leaves = begun(one.http_port, &post(INFER, &[], fp32(&[1e18]).to_string().as_bytes()));
    until("it computes", || (one.metric("forebay_requests_in_progress", "m") == 1).then_some(()));
    drop(leaves);
    until("the client has left", || (one.sockets() == before).then_some(()));
    let began = Instant::now();
    one.terminate();
    let said = cut(one, began);
    assert!(said.contains("cut: they still compute"), "{said}");
}

#[test]
fn a_gate_ends_within_its_bound_too() {
    let mesh = Mesh::redis();
    let gate = Forebay::gate(&mesh.arguments(&["--exit-timeout-secs", "6"]));
    let _stuck = stuck(gate.gate_port, POLL_PATH);
    mesh.servers[0].process.freeze();
    let began = Instant::now();
    gate.terminate();
    let said = cut(gate, began);
    assert!(said.contains("cut: the time for requests is over"), "{said}");
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let waits = ["--instances", "1", "--drain-secs", "100", "--exit-timeout-secs", "200"];
    let mut forebay = Forebay::serve(&waits);
    forebay.terminate();
    until("it is not ready", || (forebay.get("/v2/health/ready").status == 503).then_some(()));
    let began = Instant::now();
    let ended = until("it ends", || {
        forebay.signal(Signal::INT);
        forebay.has_ended()
    });
    assert_eq!(ended.code(), Some(1));
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
}

#[test]
fn a_drain_that_leaves_no_time_for_the_end_is_refused() {
    let wrong = ["--drain-secs", "25"];
    let (code, said) = refused(&mut serve_command(&test_repository(), &wrong));
    assert_eq!(code, Some(2));
    assert!(said.contains("--drain-secs: must be less than --exit-timeout-secs"), "{said}");
    assert!(said.contains("and is 25"), "{said}");
}

#[test]
fn the_bound_holds_though_every_thread_that_serves_computes() {
    let root = tempfile::tempdir().unwrap();
    add(root.path(), "m", "model.onnx", generated("products"), "");
    let alone = ["--instances", "1", "--worker-threads", "1"];
    let one = Forebay::serve_from(root.path(), &[&alone[..], &BOUND].concat());
    // Runs that are short are done by a thread that serves, on a machine that is not too busy to see that they are.
    (0..20_u8)
        .for_each(|tenths| assert_eq!(one.infer("m", &[], &fp32(&[f32::from(tenths) / 10.0])).status, 200));
    let _waits = begun(one.http_port, &post(INFER, &[], fp32(&[1e18]).to_string().as_bytes()));
    until("nobody is served, or it computes elsewhere", || {
        let stream = connect(one.metrics_port).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        let mut client = Connection::over(stream);
        client.write(&get("/metrics")).unwrap();
        let Ok(answer) = client.read() else { return Some(()) };
        let text = String::from_utf8(answer.body).unwrap();
        text.contains("forebay_requests_in_progress{model=\"m\",version=\"1\"} 1").then_some(())
    });
    let began = Instant::now();
    one.terminate();
    cut(one, began);
}
