//! A gate that wakes backends itself: what it asks of Kubernetes' API, once however many wait, and what it says where that refuses.

mod api;

use rig::authority::Authority;
use rig::http::{Connection, request};
use rig::process::until;
use rig::v2::{JSON, fp32};
use serde_json::json;

use crate::client::begun;
use crate::hold::{Elastic, PATH};
use crate::kubernetes::TOKEN;
use crate::mesh::Mesh;
use crate::process::{gate_command, refused};
use api::{Api, Does, SCALE};

fn until_called(elastic: &Elastic, result: &str) {
    let line = format!("forebay_hold_wake_calls{{result=\"{result}\"}}");
    until(&line, || (elastic.gate.metric_line(&line) > 0).then_some(()));
}

/// It is counted first.
fn until_said(elastic: &Elastic, text: &str) {
    until(text, || elastic.gate.log().contains(text).then_some(()));
}

#[test]
fn whoever_waits_one_backend_is_woken_from_0_to_1_by_a_write_that_names_what_was_read() {
    let api = Api::start(Does::Write);
    let elastic = api.elastic();
    let mut held: Vec<Connection> = (0..20_u8).map(|value| elastic.ask(f32::from(value))).collect();
    until_called(&elastic, "woken");
    assert_eq!(api.writes(), [json!({ "metadata": { "resourceVersion": "7" }, "spec": { "replicas": 1 } })]);
    let _backend = elastic.wakes();
    assert!(held.iter_mut().all(|held| held.read().unwrap().status == 200));
    assert_eq!((api.writes().len(), api.scale().replicas), (1, 1));
}

#[test]
fn two_gates_that_wake_at_once_do_no_harm_and_another_write_is_no_reason_to_give_up() {
    let api = Api::start(Does::Lose);
    let elastic = api.elastic();
    let _held = elastic.ask(1.0);
    until_called(&elastic, "there");
    assert_eq!((api.writes().len(), api.scale().replicas), (1, 1), "the other gate has woken it");

    let api = Api::start(Does::Change);
    let elastic = api.elastic();
    let _held = elastic.ask(1.0);
    until_called(&elastic, "woken");
    assert_eq!((api.writes().len(), api.scale().replicas), (2, 1));
}

#[test]
fn what_has_replicas_is_left_as_it_is() {
    let api = Api::start(Does::Write);
    api.scale().replicas = 3;
    let elastic = api.elastic();
    let _held = elastic.ask(1.0);
    until_called(&elastic, "there");
    assert_eq!((api.writes().len(), api.scale().replicas), (0, 3));
}

#[test]
fn a_token_that_was_renewed_is_read_at_the_next_call() {
    let api = Api::start(Does::Write);
    api.scale().token = "another".to_owned();
    let elastic = api.elastic();
    let _held = elastic.ask(1.0);
    until_called(&elastic, "refused");
    until_said(&elastic, "401 Unauthorized: Unauthorized: expected --hold-wake-token-file");
    std::fs::write(api.folder.path().join("token"), "another").unwrap();
    until_called(&elastic, "woken");
    assert!(!elastic.gate.log().contains(TOKEN), "a token is told nobody");
}

#[test]
fn what_the_api_forbids_is_said_with_the_role_that_would_be_right_and_the_request_ends_in_its_time() {
    let api = Api::start(Does::Forbid);
    let elastic = api.elastic();
    let short = [&JSON[..], &[("x-envoy-expected-rq-timeout-ms", "2000")]].concat();
    let mut held = begun(elastic.gate.http_port, &request("POST", PATH, &short, &fp32(&[1.0])));
    until_called(&elastic, "refused");
    for said in ["403 Forbidden", "cannot patch resource", "expected a Role", "deployments/scale", SCALE] {
        until_said(&elastic, said);
    }
    assert_eq!(held.read().unwrap().status, 503);
    assert_eq!(api.scale().replicas, 0);
}

#[test]
fn an_api_that_hangs_keeps_no_request_past_its_time() {
    let api = Api::start(Does::Hang);
    let elastic = api.elastic();
    let short = [&JSON[..], &[("x-envoy-expected-rq-timeout-ms", "2000")]].concat();
    let mut held = begun(elastic.gate.http_port, &request("POST", PATH, &short, &fp32(&[1.0])));
    until("the API is asked", || (!api.scale().asked.is_empty()).then_some(()));
    let late = held.read().unwrap();
    assert_eq!(late.status, 503, "{late:?}");
    assert_eq!(elastic.gate.metric_line("forebay_hold_wake_calls"), 0, "it still hangs");
    until_called(&elastic, "late");
    until_said(&elastic, "did not answer within 5 s");
}

#[test]
fn an_api_of_another_ca_is_not_told_the_token_and_a_ca_that_is_none_ends_the_start() {
    let api = Api::start(Does::Write);
    Authority::new().write(api.folder.path());
    let elastic = api.elastic();
    let _held = elastic.ask(1.0);
    until_called(&elastic, "failed");
    until_said(&elastic, "certificate");
    assert!(api.scale().asked.is_empty());

    std::fs::write(api.folder.path().join("ca.pem"), "no certificate").unwrap();
    let flags = api.flags();
    let mesh = Mesh::redis();
    let mut flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    flags.extend(["--hold-for", "http://localhost:8000", "--hold-ports", "0,0"]);
    let (code, line) = refused(&mut gate_command(&mesh.arguments(&flags)));
    assert!(code == Some(2) && line.contains("--hold-wake-ca-file: can't read"), "{code:?} {line}");
}
