//! After a purge has returned no proxy hits what was kept before it, whatever happens to pool, gate and links meanwhile.

use std::path::PathBuf;
use std::process::Output;
use std::time::{Duration, Instant};

use e2e::stack::{Pool, Running, Stack};
use forebay_protocol::digest::{Scope, digest};
use forebay_protocol::limits::Limits;
use forebay_protocol::path::InferPath;
use forebay_protocol::request::decode;
use rig::http::{Answer, post, send};
use rig::installed::forebay;
use rig::process::{program, until};
use rig::v2::{JSON, request};
use tempfile::TempDir;

const MODEL: &str = "identity_fp32";
/// Values that are kept for each proxy before each purge.
const VALUES: u16 = 8;

/// Proxies, servers and a gate that takes an operator's token.
pub(super) struct Mesh {
    pub(super) stack: Running,
    folder: TempDir,
}

fn token(folder: &TempDir) -> PathBuf {
    folder.path().join("operators")
}

impl Mesh {
    pub(super) fn start(stack: Stack) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(token(&folder), "an-operators-token").expect("the token");
        let file = token(&folder).display().to_string();
        let stack = stack.gate(&["--operators-file", &file]).proxies(3).workers(2).replicas(2).start();
        stack.until_polled();
        Self { stack, folder }
    }

    pub(super) fn purge(&self, more: &[&str]) -> Output {
        let mut purge = program(forebay());
        let gate = format!("--gate=http://127.0.0.1:{}", self.stack.gate_port().expect("a gate"));
        purge.args(["cache", "purge", "--service", "demo", &gate, "--token-file"]);
        purge.arg(token(&self.folder)).args(more).output().expect("the command runs")
    }

    /// A purge that is over for everybody.
    pub(super) fn purged(&self) {
        let purge = self.purge(&[]);
        assert!(purge.status.success(), "{purge:?}");
    }

    /// Every proxy has values that no other one was asked for.
    pub(super) fn fill(&self, round: u16) {
        for (at, port) in self.stack.all_ports().into_iter().enumerate() {
            for value in values(at, round) {
                until("it is kept in the proxy", || ask(port, value).is_filters_hit().then_some(()));
            }
        }
    }

    /// None of them is a hit: of the proxy's, of the pool's or of a server's.
    pub(super) fn has_none(&self, round: u16, why: &str) {
        for (at, port) in self.stack.all_ports().into_iter().enumerate() {
            for value in values(at, round) {
                let answer = ask(port, value);
                assert_eq!(answer.status, 200, "{why}: {answer:?}");
                assert!(!answer.is_hit(), "{why}: proxy {at} {answer:?}");
            }
        }
    }
}

pub(super) fn values(proxy: usize, round: u16) -> std::ops::Range<u16> {
    let from = round * 1000 + u16::try_from(proxy).expect("few") * 100;
    from..from + VALUES
}

pub(super) fn ask(port: u16, value: u16) -> Answer {
    let body = request(&[f32::from(value)]).to_string();
    send(port, &post(&format!("/v2/models/{MODEL}/infer"), &JSON, body.as_bytes())).expect("an answer")
}

/// What names the request for that value.
pub(super) fn digest_of(value: u16) -> String {
    let of = Scope { service: "demo", tenant: None };
    let path = InferPath { model: MODEL, version: "" };
    let body = request(&[f32::from(value)]).to_string().into_bytes().into();
    let asked = decode(&path, None, &body, &Limits::default()).expect("a request");
    digest(&of, &asked).expect("a digest").to_string()
}

#[test]
fn no_proxy_hits_what_was_purged_and_all_know_within_a_second() {
    for pool in [Pool::Redis, Pool::Memcached] {
        let mesh = Mesh::start(Stack::new().pool(pool));
        let mut took = Vec::new();
        for round in 1..=3 {
            mesh.fill(round);
            let began = Instant::now();
            mesh.purged();
            took.push(began.elapsed());
            mesh.has_none(round, "a calm pool");
            mesh.fill(round);
        }
        took.sort_unstable();
        assert!(took[took.len() / 2] < Duration::from_millis(1500), "{took:?}");
        mesh.stack.sound();
    }
}

#[test]
fn of_one_request_every_proxy_forgets_the_result_and_of_no_other() {
    let mesh = Mesh::start(Stack::new().pool(Pool::Redis));
    let ports = mesh.stack.all_ports();
    for (port, value) in ports.iter().flat_map(|port| [(*port, 1), (*port, 2)]) {
        until("it is kept in the proxy", || ask(port, value).is_filters_hit().then_some(()));
    }
    let purge = mesh.purge(&["--digest", &digest_of(1)]);
    assert!(purge.status.success(), "{purge:?}");
    let inferences = mesh.stack.inferences(MODEL);
    let answers: Vec<Answer> = ports.iter().map(|port| ask(*port, 1)).collect();
    assert!(!answers[0].is_hit(), "{answers:?}");
    assert_eq!(mesh.stack.inferences(MODEL), inferences + 1, "others have it of the pool");
    assert!(ports.iter().all(|port| ask(*port, 2).is_filters_hit()));
}

#[test]
fn a_pool_that_forgets_or_starts_again_brings_nothing_back() {
    for pool in [Pool::Redis, Pool::Memcached] {
        let mut mesh = Mesh::start(Stack::new().pool(pool));
        let forget = if pool == Pool::Redis { "FLUSHALL" } else { "flush_all" };
        mesh.fill(1);
        mesh.stack.servers[0].tell(forget);
        mesh.purged();
        mesh.has_none(1, "it forgot before");
        mesh.fill(2);
        mesh.purged();
        mesh.stack.servers[0].tell(forget);
        mesh.has_none(2, "it forgot after");
        mesh.fill(3);
        mesh.purged();
        mesh.stack.servers[0].process.kill();
        mesh.stack.servers[0].restart();
        mesh.has_none(3, "it was started again");
        mesh.fill(4);
        mesh.purged();
        mesh.has_none(4, "and is as it was");
    }
}

#[test]
fn a_proxy_that_is_cut_off_is_waited_for_and_then_has_nothing() {
    let mesh = Mesh::start(Stack::new().pool(Pool::Redis).links());
    mesh.fill(1);
    mesh.fill(2);
    let links = mesh.stack.links.as_ref().expect("links");
    links.envoys.silence();
    let purge = mesh.purge(&[]);
    assert!(purge.status.success(), "{purge:?}");
    let said = String::from_utf8_lossy(&purge.stderr).into_owned();
    assert!(said.contains("waiting for proxy "), "{said}");
    mesh.has_none(1, "no proxy reaches the gate");
    links.envoys.mend();
    mesh.stack.until_polled();
    mesh.has_none(2, "it was mended");
}

#[test]
fn a_gate_that_is_started_again_goes_by_the_purges_of_before() {
    let mut mesh = Mesh::start(Stack::new().pool(Pool::Redis));
    mesh.fill(1);
    mesh.fill(2);
    mesh.purged();
    mesh.stack.gate().expect("a gate").kill();
    mesh.stack.restart_gate();
    mesh.has_none(1, "the gate is another");
    mesh.stack.until_polled();
    mesh.has_none(2, "proxies have its table");
}
