//! Masters that change, as Sentinels or a cluster have it: lookups go to the replicas that there are then.

use rig::process::until;
use rig::redis_cluster::{MASTERS, cluster, until_synced, url};
use rig::sentinel::until_ready;
use rig::tier::Tier;

use super::{FROM_REPLICAS, are_found, found, keep, until_answered_by_replicas, until_fit};
use crate::mesh::{Mesh, lookup, works};
use crate::process::Forebay;
use crate::reached::rights_of_the_page;

#[test]
fn the_replicas_of_the_next_master_are_asked_after_a_failover_of_sentinels() {
    let (servers, sentinels, url) = rig::sentinel::watched(None);
    let mut mesh = Mesh::at(Tier::Redis, servers, &url);
    let (one, gate) = (mesh.serve(), Forebay::gate(&mesh.arguments(&FROM_REPLICAS)));
    let mut values = (2..u16::MAX).map(f32::from);
    works(&one, &gate, &mut values);
    until_fit(&gate, 2);
    keep(&one, &gate, 1.0);
    until_answered_by_replicas(&mesh, &gate, &[1.0]);
    until_ready(&sentinels);
    let mut master = mesh.servers.remove(0);
    master.process.kill();
    works(&one, &gate, &mut values);
    until_fit(&gate, 1);
    until_answered_by_replicas(&mesh, &gate, &[1.0]);
    // Who was the master comes back as a replica, and is asked as one.
    master.restart();
    mesh.servers.push(master);
    until_fit(&gate, 2);
    until("both are asked", || {
        let is_found = are_found(&gate, &[1.0]);
        let mut replicas = mesh.servers.iter().filter(|server| server.is_replica());
        (is_found && replicas.all(|replica| replica.calls("mget") > 0)).then_some(())
    });
}

#[test]
fn replicas_of_a_clusters_nodes_answer_by_slot_and_the_master_where_one_is_lost() {
    let nodes = cluster();
    until_synced(&nodes);
    let [rights, more] = ["on >the-password ", ""].map(rights_of_the_page);
    let user = format!("ACL SETUSER app on >secret {rights} {more}");
    assert!(nodes.iter().all(|node| node.tell(&user) == "+OK"));
    let url = url(&nodes[..2], "app:secret@");
    let mut mesh = Mesh::at(Tier::Redis, nodes, &url);
    let (one, gate) = (mesh.serve(), Forebay::gate(&mesh.arguments(&FROM_REPLICAS)));
    let values: Vec<_> = (1..33_u16).map(f32::from).collect();
    let mut others = (100..u16::MAX).map(f32::from);
    works(&one, &gate, &mut others);
    until_fit(&gate, 3);
    for value in &values {
        keep(&one, &gate, *value);
    }
    until_answered_by_replicas(&mesh, &gate, &values);
    assert!(mesh.servers[MASTERS..].iter().all(|replica| replica.calls("mget") > 0), "each has a part");
    mesh.servers[MASTERS].process.freeze();
    found(&gate, &values);
    mesh.servers[MASTERS].process.thaw();
    until_fit(&gate, 3);
    until_synced(&mesh.servers);
    mesh.servers[0].process.kill();
    until("the replica is a master", || (!mesh.servers[MASTERS].is_replica()).then_some(()));
    works(&one, &gate, &mut others);
    until("what was there before is found", || {
        values.iter().all(|value| lookup(&gate, *value).status == 200).then_some(())
    });
    mesh.servers[0].restart();
    // Who begins anew lacks the user until it is said.
    assert_eq!(mesh.servers[0].tell(&user), "+OK");
    until_fit(&gate, 3);
    until_answered_by_replicas(&mesh, &gate, &values);
}
