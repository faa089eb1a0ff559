//! A tier that servers and gates share, and how they are asked.

use forebay_protocol::digest::{Scope, digest};
use forebay_protocol::gate::LOOKUP_PATH;
use forebay_protocol::limits::Limits;
use forebay_protocol::path::InferPath;
use rig::http::{Answer, request, send};
use rig::process::until;
use rig::tier::{Server, Tier};

use crate::client::fp32;
use crate::process::Forebay;

/// Has a server find nothing but what the tier has.
pub(crate) const TIER_ALONE: [&str; 2] = ["--pool-bytes", "0"];

/// A shared pool, and the arguments that name it.
pub(crate) struct Mesh {
    tier: Tier,
    pub(crate) servers: Vec<Server>,
    arguments: Vec<String>,
    _secrets: tempfile::TempDir,
}

impl Mesh {
    /// One of each tier.
    pub(crate) fn each() -> [Self; 2] {
        [Self::redis(), Self::memcached(2)]
    }

    pub(crate) fn redis() -> Self {
        Self::of(Tier::Redis, vec![Server::start(Tier::Redis)])
    }

    /// So many Memcached's.
    pub(crate) fn memcached(servers: usize) -> Self {
        Self::of(Tier::Memcached, (0..servers).map(|_| Server::start(Tier::Memcached)).collect())
    }

    pub(crate) fn of(tier: Tier, servers: Vec<Server>) -> Self {
        let url = Server::url(&servers).unwrap();
        Self::at(tier, servers, &url)
    }

    /// Its servers are found by that URL.
    pub(crate) fn at(tier: Tier, servers: Vec<Server>, url: &str) -> Self {
        let secrets = tempfile::tempdir().unwrap();
        let secret = secrets.path().join("secret");
        std::fs::write(&secret, "0123456789abcdef").unwrap();
        let named = ["--pool", tier.name(), &format!("--{}-url", tier.name()), url];
        let more = ["--pool-timeout-ms", "500", "--pool-secret-file", secret.to_str().unwrap()];
        let arguments = [named, more].concat().into_iter().map(str::to_owned).collect();
        Self { tier, servers, arguments, _secrets: secrets }
    }

    pub(crate) fn arguments<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        self.arguments.iter().map(String::as_str).chain(more.iter().copied()).collect()
    }

    /// One that finds nothing but what the tier has.
    pub(crate) fn serve(&self) -> Forebay {
        Forebay::serve(&self.arguments(&[&["--instances", "1"], &TIER_ALONE[..]].concat()))
    }

    pub(crate) fn gate(&self) -> Forebay {
        Forebay::gate(&self.arguments(&[]))
    }

    /// Is it Redis?
    pub(crate) fn is_redis(&self) -> bool {
        self.tier == Tier::Redis
    }

    /// Everything in it is gone.
    pub(crate) fn forget(&self) {
        let (command, done) = if self.is_redis() { ("FLUSHALL", "+OK") } else { ("flush_all", "OK") };
        assert!(self.servers.iter().all(|server| server.tell(command) == done));
    }

    pub(crate) fn kill(&mut self) {
        self.servers.iter_mut().for_each(|server| server.process.kill());
    }

    pub(crate) fn restart(&mut self) {
        self.servers.iter_mut().for_each(Server::restart);
    }
}

/// What a gate answers to a lookup of that value.
pub(crate) fn lookup(gate: &Forebay, value: f32) -> Answer {
    lookup_with(gate, value, &[])
}

/// The same with more headers.
pub(crate) fn lookup_with(gate: &Forebay, value: f32, more: &[(&str, &str)]) -> Answer {
    send(gate.gate_port, &lookup_request(value, more)).unwrap()
}

/// What a filter sends to look that value up.
pub(crate) fn lookup_request(value: f32, more: &[(&str, &str)]) -> Vec<u8> {
    let path = InferPath { model: "identity_fp32", version: "" };
    let body = bytes::Bytes::from(fp32(&[value]).to_string());
    let asked = forebay_protocol::request::decode(&path, None, &body, &Limits::default()).unwrap();
    let digest = digest(&Scope { service: "default", tenant: None }, &asked).unwrap().to_string();
    let headers = [
        ("x-forebay-service", "default"),
        ("x-forebay-model", "identity_fp32"),
        ("x-forebay-digest", &digest),
    ];
    request("GET", LOOKUP_PATH, &[&headers[..], more].concat(), b"")
}

/// What a server answers to that value.
pub(crate) fn ask(forebay: &Forebay, value: f32) -> Answer {
    let answer = forebay.infer("identity_fp32", &[], &fp32(&[value]));
    assert_eq!(answer.status, 200, "{answer:?}");
    answer
}

/// New results are kept by one and found by the other.
pub(crate) fn works(one: &Forebay, gate: &Forebay, values: &mut impl Iterator<Item = f32>) {
    until("results are kept and found", || {
        let value = values.next().unwrap();
        (ask(one, value).header("cache-status").contains("stored") && lookup(gate, value).status == 200)
            .then_some(())
    });
}
