//! A tier that servers and gates share, and how they are asked.

use forebay_protocol::digest::{Scope, digest};
use forebay_protocol::gate::LOOKUP_PATH;
use forebay_protocol::limits::Limits;
use forebay_protocol::path::InferPath;

use crate::client::{Answer, fp32, send};
use crate::process::Forebay;
use crate::tiers::{Memcached, Redis};

/// The servers of a tier.
pub(crate) enum Tier {
    Redis(Redis),
    Memcached(Vec<Memcached>),
}

/// A shared pool, and the arguments that name it.
pub(crate) struct Mesh {
    pub(crate) tier: Tier,
    arguments: Vec<String>,
    _secrets: tempfile::TempDir,
}

impl Mesh {
    /// One of each tier.
    pub(crate) fn each() -> [Self; 2] {
        [Self::redis(), Self::memcached(2)]
    }

    pub(crate) fn redis() -> Self {
        let redis = Redis::start();
        let url = redis.url();
        Self::redis_at(redis, &url)
    }

    /// Its Redis is found by that URL.
    pub(crate) fn redis_at(redis: Redis, url: &str) -> Self {
        Self::of(Tier::Redis(redis), &["--pool", "redis", "--redis-url", url])
    }

    /// So many Memcached's.
    pub(crate) fn memcached(servers: usize) -> Self {
        Self::memcached_of((0..servers).map(|_| Memcached::start()).collect())
    }

    pub(crate) fn memcached_of(servers: Vec<Memcached>) -> Self {
        let list: Vec<String> = servers.iter().map(|server| format!("127.0.0.1:{}", server.port)).collect();
        let url = format!("memcached://{}", list.join(","));
        Self::of(Tier::Memcached(servers), &["--pool", "memcached", "--memcached-url", &url])
    }

    fn of(tier: Tier, named: &[&str]) -> Self {
        let secrets = tempfile::tempdir().unwrap();
        let secret = secrets.path().join("secret");
        std::fs::write(&secret, "0123456789abcdef").unwrap();
        let more = ["--pool-timeout-ms", "500", "--pool-secret-file", secret.to_str().unwrap()];
        let arguments = [named, &more].concat().into_iter().map(str::to_owned).collect();
        Self { tier, arguments, _secrets: secrets }
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

    /// The Redis.
    pub(crate) fn server(&self) -> &Redis {
        match &self.tier {
            Tier::Redis(redis) => redis,
            Tier::Memcached(_) => panic!("the tier is Memcached"),
        }
    }

    pub(crate) fn server_mut(&mut self) -> &mut Redis {
        match &mut self.tier {
            Tier::Redis(redis) => redis,
            Tier::Memcached(_) => panic!("the tier is Memcached"),
        }
    }

    /// The Memcached's.
    pub(crate) fn servers(&mut self) -> &mut [Memcached] {
        match &mut self.tier {
            Tier::Redis(_) => panic!("the tier is Redis"),
            Tier::Memcached(servers) => servers,
        }
    }

    /// Everything in it is gone.
    pub(crate) fn forget(&self) {
        match &self.tier {
            Tier::Redis(redis) => assert_eq!(redis.tell("FLUSHALL"), "+OK"),
            Tier::Memcached(servers) => {
                for server in servers {
                    assert_eq!(server.tell("flush_all"), "OK");
                }
            }
        }
    }

    pub(crate) fn kill(&mut self) {
        match &mut self.tier {
            Tier::Redis(redis) => redis.kill(),
            Tier::Memcached(servers) => servers.iter_mut().for_each(Memcached::kill),
        }
    }

    pub(crate) fn restart(&mut self) {
        match &mut self.tier {
            Tier::Redis(redis) => redis.restart(),
            Tier::Memcached(servers) => servers.iter_mut().for_each(Memcached::restart),
        }
    }

    pub(crate) fn freeze(&self, frozen: bool) {
        match &self.tier {
            Tier::Redis(redis) => redis.freeze(frozen),
            Tier::Memcached(servers) => servers.iter().for_each(|server| server.freeze(frozen)),
        }
    }
}

/// What a gate answers to a lookup of that value.
pub(crate) fn lookup(gate: &Forebay, value: f32) -> Answer {
    let path = InferPath { model: "identity_fp32", version: "" };
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

/// What a server answers to that value.
pub(crate) fn ask(forebay: &Forebay, value: f32) -> Answer {
    let answer = forebay.infer("identity_fp32", &[], &fp32(&[value]));
    assert_eq!(answer.status, 200, "{answer:?}");
    answer
}
