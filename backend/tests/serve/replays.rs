//! Warm rollouts: what was asked lately is computed again by a new version before it takes requests, and how much of it is left is told.

use std::time::{Duration, Instant};

use rig::http::Answer;
use rig::process::until;
use serde_json::json;
use tonic::Request;

use crate::client::fp32;
use crate::control::{EXPLICIT, load};
use crate::grpc;
use crate::grpc::proto::{RepositoryModelLoadRequest, RepositoryModelLoadResponse};
use crate::mesh::{Mesh, TIER_ALONE};
use crate::poll::install;
use crate::process::Forebay;
use crate::records::Records;

/// A repository with `m`, and records of it.
struct Rollout {
    root: tempfile::TempDir,
    records: Records,
}

impl Rollout {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        install(root.path(), 1, "identity_fp32");
        Self { root, records: Records::new() }
    }

    fn serve(&self, more: &[&str]) -> Forebay {
        let paths = self.records.paths();
        let flags = [&*paths[0], &*paths[1], "--record", "m", "--record-share", "1", "--load-model", "m"];
        Forebay::serve_from(self.root.path(), &[&EXPLICIT[..], &flags, more].concat())
    }
}

fn until_recorded(forebay: &Forebay, requests: u64) {
    until("it is on disk", || (forebay.metric("forebay_record_written", "m") == requests).then_some(()));
}

fn replayed(forebay: &Forebay, outcome: &str) -> u64 {
    forebay.metric_line(&format!("forebay_replay_requests{{model=\"m\",outcome=\"{outcome}\"}}"))
}

fn surge(loaded: &Answer) -> &str {
    assert_eq!(loaded.status, 200, "{loaded:?}");
    loaded.header("x-forebay-surge")
}

fn max_age_s(answer: &Answer) -> u32 {
    answer.header("cache-control").strip_prefix("max-age=").unwrap().parse().unwrap()
}

#[test]
fn what_was_asked_lately_is_answered_from_the_cache_by_a_new_version() {
    let rollout = Rollout::new();
    let forebay = rollout.serve(&["--replay-within", "30"]);
    for value in [1.0, 1.0, 2.0, 3.0] {
        assert_eq!(forebay.infer("m", &[], &fp32(&[value])).status, 200);
    }
    until_recorded(&forebay, 4);
    install(rollout.root.path(), 2, "identity_fp32");
    let loaded = load(&forebay, "m", &json!({}));
    assert_eq!(surge(&loaded), "0.000", "nothing is left");
    assert_eq!((replayed(&forebay, "computed"), replayed(&forebay, "left")), (3, 0));
    let answers: Vec<_> = [1.0, 2.0, 3.0].map(|value| forebay.infer("m", &[], &fp32(&[value]))).into();
    for answer in &answers {
        assert!(answer.is_hit() && answer.json()["model_version"] == "2", "{answer:?}");
        assert!((1..=60).contains(&max_age_s(answer)), "{answer:?}");
    }
    assert!(!forebay.infer("m", &[], &fp32(&[4.0])).is_hit(), "nobody asked it before");
    assert_eq!(forebay.metric("forebay_record_written", "m"), 8, "a replay is not recorded");
}

#[test]
fn what_is_no_new_version_is_not_replayed() {
    let rollout = Rollout::new();
    let forebay = rollout.serve(&["--replay-within", "30"]);
    assert_eq!(forebay.infer("m", &[], &fp32(&[1.0])).status, 200);
    until_recorded(&forebay, 1);
    let loaded = load(&forebay, "m", &json!({}));
    assert_eq!(surge(&loaded), "", "{loaded:?}");
}

#[tokio::test]
async fn a_load_over_grpc_tells_the_surge_too_and_clients_of_any_encoding_find_what_was_replayed() {
    let rollout = Rollout::new();
    let forebay = rollout.serve(&["--replay-within", "30"]);
    let channel = &mut grpc::channel(&forebay);
    grpc::infer(channel, grpc::raw("m", "FP32", &[1, 1], &7.0_f32.to_le_bytes())).await.unwrap();
    until_recorded(&forebay, 1);
    install(rollout.root.path(), 2, "identity_fp32");
    let asked =
        RepositoryModelLoadRequest { model_name: "m".into(), ..RepositoryModelLoadRequest::default() };
    let path = format!("{}/RepositoryModelLoad", grpc::SERVICE);
    let loaded = grpc::answer::<_, RepositoryModelLoadResponse>(channel, &path, Request::new(asked)).await;
    assert_eq!(loaded.unwrap().metadata().get("x-forebay-surge").unwrap(), "0.000");
    assert!(forebay.infer("m", &[], &fp32(&[7.0])).is_hit());
}

#[test]
fn what_is_not_everybodys_is_not_replayed() {
    let rollout = Rollout::new();
    let forebay = rollout.serve(&["--replay-within", "30"]);
    let mut with_parameter = fp32(&[1.0]);
    with_parameter["parameters"] = json!({ "seed": 7 });
    assert_eq!(forebay.infer("m", &[], &with_parameter).status, 200);
    assert_eq!(forebay.infer("m", &[("authorization", "Bearer x")], &fp32(&[2.0])).status, 200);
    until_recorded(&forebay, 2);
    install(rollout.root.path(), 2, "identity_fp32");
    assert_eq!(surge(&load(&forebay, "m", &json!({}))), "0.000");
    assert_eq!(replayed(&forebay, "computed"), 0);
}

#[test]
fn a_rollout_waits_no_longer_than_it_may_and_says_what_surge_is_left() {
    let rollout = Rollout::new();
    install(rollout.root.path(), 1, "slow");
    let forebay = rollout.serve(&["--replay-within", "1", "--replay-share", "0.05"]);
    for value in 0..30 {
        assert_eq!(forebay.infer("m", &[], &fp32(&[value as f32])).status, 200);
    }
    until_recorded(&forebay, 30);
    install(rollout.root.path(), 2, "slow");
    let began = Instant::now();
    let loaded = load(&forebay, "m", &json!({}));
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    assert!(surge(&loaded).parse::<f64>().unwrap() > 0.0, "{loaded:?}");
    assert!(replayed(&forebay, "left") > 0 && replayed(&forebay, "computed") < 30);
    assert_eq!(replayed(&forebay, "left") + replayed(&forebay, "computed"), 30);
}

#[test]
fn records_that_can_not_be_read_hold_no_rollout_and_it_is_said() {
    let rollout = Rollout::new();
    let forebay = rollout.serve(&["--replay-within", "30"]);
    assert_eq!(forebay.infer("m", &[], &fp32(&[1.0])).status, 200);
    until_recorded(&forebay, 1);
    rollout.records.lose_key();
    install(rollout.root.path(), 2, "identity_fp32");
    assert_eq!(surge(&load(&forebay, "m", &json!({}))), "", "nobody knows what is left");
    let answer = forebay.infer("m", &[], &fp32(&[1.0]));
    assert!(!answer.is_hit() && answer.json()["model_version"] == "2", "{answer:?}");
    let log = forebay.log();
    assert!(log.contains("what was recorded can't be read") && log.contains("--record-key-file"), "{log}");
}

#[test]
fn a_server_that_comes_up_finds_what_another_recorded_and_computes_nothing_twice() {
    let (rollout, mesh) = (Rollout::new(), Mesh::redis());
    let shared = |more: &[&'static str]| rollout.serve(&mesh.arguments(&[&TIER_ALONE[..], more].concat()));
    let old = shared(&[]);
    for value in [1.0, 2.0] {
        assert_eq!(old.infer("m", &[], &fp32(&[value])).status, 200);
    }
    until_recorded(&old, 2);
    install(rollout.root.path(), 2, "identity_fp32");
    let first = shared(&["--replay-within", "30"]);
    assert_eq!((replayed(&first, "computed"), replayed(&first, "kept")), (2, 0));
    assert!(first.infer("m", &[], &fp32(&[1.0])).is_hit());
    let second = shared(&["--replay-within", "30"]);
    assert_eq!((replayed(&second, "computed"), replayed(&second, "kept")), (0, 2));
    assert!(old.infer("m", &[], &fp32(&[2.0])).json()["model_version"] == "1", "both versions are served");
}

#[test]
fn a_request_may_say_for_how_long_its_answer_is_kept() {
    let rollout = Rollout::new();
    let forebay = rollout.serve(&[]);
    let ask =
        |value: f32, said: &'static str| forebay.infer("m", &[("cache-control", said)], &fp32(&[value]));
    for (value, said, expected) in [
        (1.0, "forebay-ttl=20", 20),
        (2.0, "forebay-ttl=100000", 60),
        (3.0, "forebay-ttl=9, forebay-ttl=7", 7),
    ] {
        assert_eq!(max_age_s(&ask(value, said)), expected, "{said}");
        let hit = ask(value, "");
        assert!(hit.is_hit() && max_age_s(&hit) == expected, "{hit:?}");
    }
    for said in ["forebay-ttl=0", "forebay-ttl=-1", "forebay-ttl"] {
        assert_eq!(ask(4.0, said).header("cache-control"), "no-store", "{said}");
    }
    assert!(!ask(4.0, "").is_hit(), "what may be kept for no time isn't kept");
    let gone = ask(5.0, "forebay-ttl=1");
    assert_eq!(max_age_s(&gone), 1);
    until("it is not fresh any more", || (!ask(5.0, "only-if-cached").is_hit()).then_some(()));
}
