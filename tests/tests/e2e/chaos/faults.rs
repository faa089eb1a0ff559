//! What fails, and how it is mended.

use std::time::Duration;

use e2e::stack::{Links, Pool, Running};
use rig::tier::Server;

/// Something that fails.
pub(super) struct Fault {
    pub(super) name: &'static str,
    pub(super) pool: Pool,
    pub(super) begins: fn(&mut Running),
    /// `None`: it is left so, and what is left goes on.
    pub(super) mends: Option<fn(&mut Running)>,
    /// It is one of links.
    pub(super) links: bool,
    /// It takes an Envoy, whose clients can't be answered.
    pub(super) takes_a_proxy: bool,
    /// How errors begin that are the fault itself.
    pub(super) allows: &'static [&'static str],
    /// Each `cargo xtask test` has it.
    pub(super) is_quick: bool,
}

/// One of Redis', mended, that no error comes of.
const NONE: Fault = Fault {
    name: "",
    pool: Pool::Redis,
    begins: |_| {},
    mends: None,
    links: false,
    takes_a_proxy: false,
    allows: &[],
    is_quick: false,
};

fn redis(mesh: &Running) -> &Server {
    &mesh.servers[0]
}

fn links(mesh: &Running) -> &Links {
    mesh.links.as_ref().expect("links")
}

fn told(mesh: &Running, command: &str) {
    let answer = redis(mesh).tell(command);
    assert_eq!(answer, "+OK", "{command}");
}

/// All of them.
pub(super) const FAULTS: &[Fault] = &[
    Fault {
        name: "Redis is killed, and started again empty",
        begins: |mesh| mesh.servers[0].process.kill(),
        mends: Some(|mesh| mesh.servers[0].restart()),
        is_quick: true,
        ..NONE
    },
    Fault {
        name: "Redis stands still",
        begins: |mesh| redis(mesh).process.freeze(),
        mends: Some(|mesh| redis(mesh).process.thaw()),
        ..NONE
    },
    Fault {
        name: "Redis' memory is full (noeviction)",
        begins: |mesh| told(mesh, "CONFIG SET maxmemory 1"),
        mends: Some(|mesh| told(mesh, "CONFIG SET maxmemory 0")),
        ..NONE
    },
    Fault {
        name: "Redis becomes a replica behind its address, and a master again",
        begins: |mesh| told(mesh, "REPLICAOF 127.0.0.1 1"),
        mends: Some(|mesh| told(mesh, "REPLICAOF NO ONE")),
        ..NONE
    },
    Fault { name: "Redis forgets all", begins: |mesh| told(mesh, "FLUSHALL"), ..NONE },
    Fault { name: "entries in Redis have bytes flipped", begins: flip, is_quick: true, ..NONE },
    Fault {
        name: "one of two Memcacheds is killed, and started again",
        pool: Pool::Memcached,
        begins: |mesh| mesh.servers[1].process.kill(),
        mends: Some(|mesh| mesh.servers[1].restart()),
        ..NONE
    },
    Fault {
        name: "the Memcached that knows what is live is killed, and started again",
        pool: Pool::Memcached,
        begins: |mesh| mesh.servers[0].process.kill(),
        mends: Some(|mesh| mesh.servers[0].restart()),
        ..NONE
    },
    Fault {
        name: "both Memcacheds stand still",
        pool: Pool::Memcached,
        begins: |mesh| mesh.servers.iter().for_each(|server| server.process.freeze()),
        mends: Some(|mesh| mesh.servers.iter().for_each(|server| server.process.thaw())),
        ..NONE
    },
    Fault {
        name: "the gate is killed, and started again",
        begins: |mesh| mesh.gate().expect("a gate").kill(),
        mends: Some(Running::restart_gate),
        ..NONE
    },
    Fault {
        name: "the gate stands still",
        begins: |mesh| mesh.gate().expect("a gate").freeze(),
        mends: Some(|mesh| mesh.gate().expect("a gate").thaw()),
        ..NONE
    },
    Fault {
        name: "one of three backends is killed",
        begins: |mesh| mesh.backends[1].process.kill(),
        is_quick: true,
        ..NONE
    },
    Fault {
        name: "one of three backends stands still",
        begins: |mesh| mesh.backends[1].process.freeze(),
        mends: Some(|mesh| mesh.backends[1].process.thaw()),
        ..NONE
    },
    Fault {
        name: "one of two Envoys is killed",
        begins: |mesh| mesh.proxy(1).kill(),
        takes_a_proxy: true,
        allows: &["connection"],
        ..NONE
    },
    Fault {
        name: "one of two Envoys stands still",
        begins: |mesh| mesh.proxy(1).freeze(),
        mends: Some(|mesh| mesh.proxy(1).thaw()),
        ..NONE
    },
    Fault {
        name: "the backends' links to Redis are cut",
        begins: |mesh| links(mesh).backends.cut(),
        mends: Some(|mesh| links(mesh).backends.mend()),
        ..OF_LINKS
    },
    Fault {
        name: "the backends' links to Redis fall silent, half open, for good",
        begins: |mesh| links(mesh).backends.silence(),
        ..OF_LINKS
    },
    Fault {
        name: "what goes from the backends to Redis takes 100 ms",
        begins: |mesh| links(mesh).backends.slow(SLOW),
        mends: Some(|mesh| links(mesh).backends.mend()),
        ..OF_LINKS
    },
    Fault {
        name: "the gate's links to Redis are cut",
        begins: |mesh| links(mesh).gate.cut(),
        mends: Some(|mesh| links(mesh).gate.mend()),
        ..OF_LINKS
    },
    Fault {
        name: "the gate's links to Redis fall silent, half open, for good",
        begins: |mesh| links(mesh).gate.silence(),
        ..OF_LINKS
    },
    Fault {
        name: "the Envoys' links to the gate are cut",
        begins: |mesh| links(mesh).envoys.cut(),
        mends: Some(|mesh| links(mesh).envoys.mend()),
        ..OF_LINKS
    },
    Fault {
        name: "the Envoys' links to the gate fall silent, half open, for good",
        begins: |mesh| links(mesh).envoys.silence(),
        ..OF_LINKS
    },
    Fault {
        name: "what goes from the Envoys to the gate takes 100 ms",
        begins: |mesh| links(mesh).envoys.slow(SLOW),
        mends: Some(|mesh| links(mesh).envoys.mend()),
        ..OF_LINKS
    },
];

/// As between continents.
const SLOW: Duration = Duration::from_millis(100);

/// The same, of links.
const OF_LINKS: Fault = Fault { links: true, ..NONE };

/// Every entry that lies there has its last byte turned over, and one in its middle.
fn flip(mesh: &mut Running) {
    assert_eq!(mesh.servers[0].process.ended(), None);
    let script = "for _,k in ipairs(redis.call('KEYS','forebay:e:*')) do local n=redis.call('STRLEN',k) \
         for _,at in ipairs({n-1,math.floor(n/2)}) do local b=string.byte(redis.call('GETRANGE',k,at,at)) \
         redis.call('SETRANGE',k,at,string.char(255-b)) end end return 'done'";
    let quoted = script.replace('"', "'");
    let answer = redis(mesh).tell(&format!("EVAL \"{quoted}\" 0"));
    assert!(answer.starts_with('$'), "{answer}");
}
