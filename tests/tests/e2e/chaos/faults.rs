//! What fails, and how it is mended: what keeps results, and who answers.

use e2e::stack::{Pool, Running};
use rig::tier::Server;

use super::load::{CLIENTS, MODEL};

/// Something that fails.
pub(super) struct Fault {
    pub(super) name: &'static str,
    pub(super) pool: Pool,
    pub(super) begins: fn(&mut Running),
    /// `None`: it is left so, and what is left goes on.
    pub(super) mends: Option<fn(&mut Running)>,
    /// What is asked for.
    pub(super) model: &'static str,
    /// More arguments of `serve`.
    pub(super) serve: &'static [&'static str],
    /// So many clients more of each Envoy while it lasts.
    pub(super) crowd: usize,
    pub(super) of: Of,
    /// It takes an Envoy, whose clients can't be answered.
    pub(super) takes_a_proxy: bool,
    /// What errors say that are the fault itself.
    pub(super) allows: &'static [&'static str],
    /// Each `cargo xtask test` has it.
    pub(super) is_quick: bool,
}

/// What it is one of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    Processes,
    Links,
    Clocks,
}

/// One of Redis', mended, that no error comes of.
pub(super) const NONE: Fault = Fault {
    name: "",
    pool: Pool::Redis,
    begins: |_| {},
    mends: None,
    model: MODEL,
    serve: &[],
    crowd: 0,
    of: Of::Processes,
    takes_a_proxy: false,
    allows: &[],
    is_quick: false,
};

fn redis(mesh: &Running) -> &Server {
    &mesh.servers[0]
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
        allows: &["connection: "],
        ..NONE
    },
    Fault {
        name: "one of two Envoys stands still",
        begins: |mesh| mesh.proxy(1).freeze(),
        mends: Some(|mesh| mesh.proxy(1).thaw()),
        ..NONE
    },
    Fault {
        name: "ten times the clients, and ten times what the backends compute is asked for",
        mends: Some(|_| {}),
        model: "slow",
        serve: &["--instances", "1", "--max-queue-requests", "8"],
        crowd: 9 * CLIENTS,
        allows: &[FULL],
        ..NONE
    },
];

/// What a backend says whose queue is full.
const FULL: &str = "the queue of the model is full";

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
