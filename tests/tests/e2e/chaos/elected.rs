//! Masters that another one follows, as Sentinels elect it or as a Cluster does: what is lost with the old one, and what it does that
//! comes back.

use e2e::stack::{Pool, Running};
use rig::process::until;
use rig::redis_cluster::{MASTERS, holder};
use rig::tier::Server;

use super::faults::{Fault, NONE};

const SENTINEL: Fault = Fault { pool: Pool::Sentinel, ..NONE };
const CLUSTER: Fault = Fault { pool: Pool::Cluster, ..NONE };

/// All of them.
pub(super) const FAULTS: &[Fault] = &[
    Fault {
        name: "the master that Sentinels watch is killed, and another one elected",
        begins: |mesh| {
            mesh.servers[0].process.kill();
            until_followed(&mesh.servers[1..]);
        },
        ..SENTINEL
    },
    Fault {
        name: "the master that Sentinels watch stands still, another one is elected, and it goes on",
        begins: |mesh| {
            mesh.servers[0].process.freeze();
            until_followed(&mesh.servers[1..]);
        },
        mends: Some(|mesh| mesh.servers[0].process.thaw()),
        ..SENTINEL
    },
    Fault {
        name: "the Cluster's master that knows what is live is killed, and its replica follows",
        begins: |mesh| is_killed(mesh, knows(mesh)),
        ..CLUSTER
    },
    Fault {
        name: "another of the Cluster's masters is killed, and its replica follows",
        begins: |mesh| is_killed(mesh, (knows(mesh) + 1) % MASTERS),
        ..CLUSTER
    },
    Fault {
        name: "the Cluster's master that knows what is live stands still, its replica follows, and it goes on",
        begins: |mesh| {
            let master = knows(mesh);
            mesh.servers[master].process.freeze();
            until_followed(replica(mesh, master));
        },
        mends: Some(|mesh| mesh.servers[knows(mesh)].process.thaw()),
        ..CLUSTER
    },
];

/// The master of a Cluster that has what is said of what is live.
fn knows(mesh: &Running) -> usize {
    holder(&mesh.servers, "{forebay}")
}

/// A Cluster's replica of that master.
fn replica(mesh: &Running, master: usize) -> &[Server] {
    &mesh.servers[MASTERS + master..][..1]
}

fn is_killed(mesh: &mut Running, master: usize) {
    mesh.servers[master].process.kill();
    until_followed(replica(mesh, master));
}

/// Until one of those replicas is the master.
fn until_followed(replicas: &[Server]) {
    until("another is the master", || (!replicas.iter().all(Server::is_replica)).then_some(()));
}
