//! A Redis in cluster mode: its nodes leave, three masters and a replica of each, and the URL that names some of them.

use std::array::from_fn;

use crate::process::{free_port, until};
use crate::tier::{LOST, Server, Tier};

/// How many nodes have slots.
pub const MASTERS: usize = 3;
/// How many there are.
pub const SLOTS: usize = 16384;

/// A node that is in no cluster yet, and the port that other nodes reach it at.
fn node() -> (Server, u16) {
    let (bus, lost) = (free_port(), LOST.as_millis().to_string());
    let own =
        ["--cluster-enabled", "yes", "--cluster-port", &bus.to_string(), "--cluster-node-timeout", &lost];
    (Server::start_with(Tier::Redis, &own), bus)
}

/// What a node answers: a text's first line.
fn text(node: &Server, command: &str) -> String {
    node.ask(command).nth(1).expect("a text")
}

/// Where the slots of a master begin.
fn begins(at: usize) -> usize {
    SLOTS * at / MASTERS
}

/// Masters that share all slots; behind them a replica of each, in their order.
///
/// # Panics
/// A node does not start, or they don't come together.
#[must_use]
pub fn cluster() -> Vec<Server> {
    let nodes: [_; 2 * MASTERS] = from_fn(|_| node());
    let (first, _) = &nodes[0];
    for (node, bus) in &nodes[1..] {
        assert_eq!(first.tell(&format!("CLUSTER MEET 127.0.0.1 {} {bus}", node.port)), "+OK");
    }
    let (masters, replicas) = nodes.split_at(MASTERS);
    for (at, ((master, _), (replica, _))) in masters.iter().zip(replicas).enumerate() {
        let (begin, end) = (begins(at), begins(at + 1) - 1);
        assert_eq!(master.tell(&format!("CLUSTER ADDSLOTSRANGE {begin} {end}")), "+OK");
        let id = text(master, "CLUSTER MYID");
        until("it knows its master", || {
            (replica.tell(&format!("CLUSTER REPLICATE {id}")) == "+OK").then_some(())
        });
    }
    let nodes: Vec<_> = nodes.into_iter().map(|(node, _)| node).collect();
    until("all know that all slots are there", || {
        nodes.iter().all(|node| text(node, "CLUSTER INFO") == "cluster_state:ok").then_some(())
    });
    nodes
}

/// Waits until each replica has all that its master has: no other follows a master that is lost.
///
/// # Panics
/// One does not get it.
pub fn until_synced(nodes: &[Server]) {
    let is_connected = |node: &Server| node.ask("ROLE").nth(7).as_deref() == Some("connected");
    until("replicas are synced", || nodes[MASTERS..].iter().all(is_connected).then_some(()));
}

/// The URL that names those nodes, by which the others are found.
#[must_use]
pub fn url(nodes: &[Server], proof: &str) -> String {
    let list: Vec<String> = nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)).collect();
    format!("redis+cluster://{proof}{}", list.join(","))
}

/// Which of the masters has the slot of that key, as long as each has its own; a replica is asked.
///
/// # Panics
/// It can't be asked.
pub fn holder(nodes: &[Server], key: &str) -> usize {
    let answer = nodes[MASTERS].tell(&format!("CLUSTER KEYSLOT {key}"));
    let slot: usize = answer.trim_start_matches(':').parse().expect("a slot");
    (0..MASTERS).rev().find(|at| begins(*at) <= slot).expect("all slots are shared")
}
