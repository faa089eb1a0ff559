//! The pool in Redis, shared by two servers and the gate.

use std::time::{Duration, Instant};

use crate::client::{Answer, fp32, send};
use crate::poll::{POLL, generation, install};
use crate::process::{Forebay, Redis, until};
use crate::proxied::{NONE, live, poll, table};
use forebay_protocol::digest::{Scope, digest};
use forebay_protocol::gate::LOOKUP_PATH;
use forebay_protocol::limits::Limits;
use forebay_protocol::path::InferPath;

/// A pool in Redis, and the arguments that name it.
pub(crate) struct Mesh {
    pub(crate) redis: Redis,
    arguments: Vec<String>,
    _secrets: tempfile::TempDir,
}

impl Mesh {
    pub(crate) fn new() -> Self {
        let redis = Redis::start();
        let url = redis.url();
        Self::at(redis, &url)
    }

    /// Its Redis is found by that URL.
    pub(crate) fn at(redis: Redis, url: &str) -> Self {
        let secrets = tempfile::tempdir().unwrap();
        let secret = secrets.path().join("secret");
        std::fs::write(&secret, "0123456789abcdef").unwrap();
        let arguments = [
            "--pool",
            "redis",
            "--redis-url",
            url,
            "--pool-timeout-ms",
            "500",
            "--pool-secret-file",
            secret.to_str().unwrap(),
        ];
        let arguments = arguments.map(str::to_owned).to_vec();
        Self { redis, arguments, _secrets: secrets }
    }

    pub(crate) fn arguments<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        self.arguments.iter().map(String::as_str).chain(more.iter().copied()).collect()
    }

    pub(crate) fn serve(&self) -> Forebay {
        Forebay::serve(&self.arguments(&["--instances", "1"]))
    }

    pub(crate) fn gate(&self) -> Forebay {
        Forebay::gate(&self.arguments(&[]))
    }
}

pub(crate) fn lookup(gate: &Forebay, value: f32) -> Answer {
    let path = InferPath::parse("/v2/models/identity_fp32/infer").unwrap();
    let body = bytes::Bytes::from(fp32(&[value]).to_string());
    let request = forebay_protocol::request::decode(&path, None, &body, &Limits::default()).unwrap();
    let digest = digest(&Scope { service: "default", tenant: None }, &request).unwrap().to_string();
    let headers = [
        ("x-forebay-service", "default"),
        ("x-forebay-model", "identity_fp32"),
        ("x-forebay-digest", &digest),
    ];
    send(gate.gate_port, "GET", LOOKUP_PATH, &headers, b"")
}

pub(crate) fn ask(forebay: &Forebay, value: f32) -> Answer {
    let answer = forebay.infer("identity_fp32", &[], &fp32(&[value]));
    assert_eq!(answer.status, 200, "{answer:?}");
    answer
}

#[test]
fn what_one_server_computed_the_other_and_the_gate_find() {
    let mesh = Mesh::new();
    let (one, two, gate) = (mesh.serve(), mesh.serve(), mesh.gate());
    ask(&one, 1.0);
    until("the other finds it", || ask(&two, 1.0).is_hit().then_some(()));
    let hit = until("the gate finds it", || Some(lookup(&gate, 1.0)).filter(|answer| answer.status == 200));
    assert_eq!(hit.header("x-forebay-generation"), ask(&one, 1.0).header("x-forebay-generation"));
}

#[test]
fn hits_outlive_the_servers() {
    let mesh = Mesh::new();
    let (one, gate) = (mesh.serve(), mesh.gate());
    ask(&one, 2.0);
    one.terminate();
    assert_eq!(one.wait().code(), Some(0), "writes are drained");
    until("the gate finds it", || (lookup(&gate, 2.0).status == 200).then_some(()));
}

#[test]
fn no_request_fails_while_redis_is_gone_and_hits_come_back_with_it() {
    let mut mesh = Mesh::new();
    let (one, gate) = (mesh.serve(), mesh.gate());
    ask(&one, 3.0);
    until("it hits", || ask(&one, 3.0).is_hit().then_some(()));
    mesh.redis.kill();
    for number in 0..20 {
        ask(&one, number as f32);
    }
    assert!([404, 503].contains(&lookup(&gate, 3.0).status));
    mesh.redis.restart();
    until("it hits again", || ask(&one, 4.0).is_hit().then_some(()));
    until("the gate too", || (lookup(&gate, 4.0).status == 200).then_some(()));
}

#[test]
fn entries_sealed_with_another_secret_are_misses() {
    let mesh = Mesh::new();
    let (one, gate) = (mesh.serve(), mesh.gate());
    ask(&one, 5.0);
    until("the gate finds it", || (lookup(&gate, 5.0).status == 200).then_some(()));
    let stranger = tempfile::tempdir().unwrap();
    let secret = stranger.path().join("secret");
    std::fs::write(&secret, "another secret of some length").unwrap();
    let url = mesh.redis.url();
    let other = Forebay::gate(&[
        "--pool",
        "redis",
        "--redis-url",
        &url,
        "--pool-timeout-ms",
        "500",
        "--pool-secret-file",
        secret.to_str().unwrap(),
    ]);
    until("it knows the generations", || {
        (other.get_of_gate("/v2/health/ready").status == 200
            && !lookup(&other, 5.0).header("x-forebay-generation").is_empty())
        .then_some(())
    });
    assert_eq!(lookup(&other, 5.0).status, 404);
}

#[test]
fn a_replaced_model_is_what_the_gate_says_within_two_seconds() {
    let mesh = Mesh::new();
    let root = tempfile::tempdir().unwrap();
    install(root.path(), 1, "identity_fp32");
    let (one, gate) = (Forebay::serve_from(root.path(), &mesh.arguments(&POLL)), mesh.gate());
    let before = generation(&one);
    let knows = |what: &str, generation: &str| {
        let newest = || Some(poll(&gate, "p", NONE, 0)).filter(|answer| answer.status == 200);
        until(what, || newest().map(|answer| table(&answer)).filter(|table| live(table) == [generation]))
    };
    let old = knows("the gate knows it", &before);
    install(root.path(), 1, "slow");
    let began = Instant::now();
    let after = until("another one answers", || Some(generation(&one)).filter(|g| *g != before));
    let new = knows("the gate knows that", &after);
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert!(new.epoch > old.epoch);
}
