//! Lookups that go to replicas of the Redis that takes writes: what they have is found there, and what they lack, or don't answer, at the
//! master.

mod moved;

use rig::link::Link;
use rig::process::until;
use rig::tier::{Server, Tier};

use crate::mesh::{Mesh, ask, lookup, lookup_with};
use crate::process::{Forebay, gate_command, refused, serve_command, test_repository};
use crate::reached::rights_of_the_page;

/// The setting.
pub(crate) const FROM_REPLICAS: [&str; 2] = ["--redis-read-from", "replicas"];

/// One that follows the master on that port.
pub(crate) fn replica(master: u16, more: &[&str]) -> Server {
    Server::start_with(Tier::Redis, &[&["--replicaof", "127.0.0.1", &master.to_string()], more].concat())
}

/// How many replicas that one may ask.
pub(crate) fn fit(forebay: &Forebay) -> u64 {
    forebay.metric_line("forebay_pool_replicas{tier=\"redis\",state=\"fit\"}")
}

pub(crate) fn until_fit(forebay: &Forebay, count: u64) {
    until("replicas have what the master had", || (fit(forebay) == count).then_some(()));
}

/// What became of that one's lookups.
fn lookups(forebay: &Forebay, outcome: &str) -> u64 {
    let line = format!("forebay_pool_replica_lookups{{tier=\"redis\",outcome=\"{outcome}\"}}");
    forebay.metric_line(&line)
}

/// A master, a replica that hears it by a link, a server, and a gate that reads from the replica.
fn linked(more: &[&str]) -> (Mesh, Link, Forebay, Forebay) {
    let mut mesh = Mesh::redis();
    let link = Link::start(mesh.servers[0].port);
    mesh.servers.push(replica(link.port, more));
    let (one, gate) = (mesh.serve(), Forebay::gate(&mesh.arguments(&FROM_REPLICAS)));
    (mesh, link, one, gate)
}

/// Has a value kept, which the gate finds.
fn keep(one: &Forebay, gate: &Forebay, value: f32) {
    ask(one, value);
    until("it is kept", || ask(one, value).is_hit().then_some(()));
    until("the gate finds it", || (lookup(gate, value).status == 200).then_some(()));
}

/// Waits until no master is asked for values that are kept.
fn until_answered_by_replicas(mesh: &Mesh, gate: &Forebay, values: &[f32]) {
    let asked = |server: &Server| server.calls("mget") + server.calls("get");
    until("replicas answer", || {
        let masters: Vec<_> = mesh.servers.iter().filter(|server| !server.is_replica()).collect();
        let before: Vec<_> = masters.iter().map(|master| asked(master)).collect();
        // One that was just made a replica may have to take all of its master's first.
        let is_found = are_found(gate, values);
        (is_found && masters.iter().map(|master| asked(master)).eq(before)).then_some(())
    });
}

fn are_found(gate: &Forebay, values: &[f32]) -> bool {
    values.iter().all(|value| lookup(gate, *value).status == 200)
}

fn found(gate: &Forebay, values: &[f32]) {
    assert!(are_found(gate, values));
}

#[test]
fn what_is_kept_is_found_at_replicas_in_turn_by_a_user_with_the_rights_that_the_page_names() {
    let master = Server::start(Tier::Redis);
    let servers = [replica(master.port, &[]), replica(master.port, &[])];
    let servers: Vec<_> = std::iter::once(master).chain(servers).collect();
    let user = format!("ACL SETUSER app on >secret {}", rights_of_the_page("on >the-password "));
    assert!(servers.iter().all(|server| server.tell(&user) == "+OK"));
    let url = format!("redis://app:secret@127.0.0.1:{}", servers[0].port);
    let mesh = Mesh::at(Tier::Redis, servers, &url);
    let (one, gate) = (mesh.serve(), Forebay::gate(&mesh.arguments(&FROM_REPLICAS)));
    until_fit(&gate, 2);
    let values: Vec<_> = (1..16_u16).map(f32::from).collect();
    for value in &values {
        keep(&one, &gate, *value);
    }
    until_answered_by_replicas(&mesh, &gate, &values);
    assert!(lookups(&gate, "answered") >= 15);
    let [master, replicas @ ..] = &mesh.servers[..] else { unreachable!() };
    assert!(replicas.iter().all(|replica| replica.calls("mget") > 0), "they take turns");
    assert!(replicas.iter().all(|replica| replica.calls("eval") == 0), "what is live is the master's");
    assert!(master.calls("eval") > 0);
}

#[test]
fn a_server_believes_a_replica_that_has_a_result_and_asks_the_master_before_it_computes() {
    let (mesh, link, one, gate) = linked(&[]);
    let two = Forebay::serve(&mesh.arguments(&[&FROM_REPLICAS[..], &["--pool-bytes", "0"]].concat()));
    until_fit(&two, 1);
    keep(&one, &gate, 1.0);
    // What is urgent has no lease, and so it is looked up.
    let urgent = |value: f32| {
        let mut body = crate::client::fp32(&[value]);
        body["parameters"] = serde_json::json!({"timeout": 50_000_000});
        two.infer("identity_fp32", &[], &body)
    };
    until("the replica answers", || {
        assert!(urgent(1.0).is_hit());
        (lookups(&two, "answered") > 0).then_some(())
    });
    link.silence();
    ask(&one, 2.0);
    until("it is kept", || ask(&one, 2.0).is_hit().then_some(()));
    assert!(urgent(2.0).is_hit(), "the replica lacks it");
}

#[test]
fn a_replica_that_stands_still_or_is_lost_costs_no_hit_and_is_asked_again_when_it_is_back() {
    let (mut mesh, _link, one, gate) = linked(&[]);
    keep(&one, &gate, 1.0);
    until_answered_by_replicas(&mesh, &gate, &[1.0]);
    mesh.servers[1].process.freeze();
    until("it is not asked any more", || {
        found(&gate, &[1.0]);
        (fit(&gate) == 0).then_some(())
    });
    assert!(lookups(&gate, "failed") > 0);
    mesh.servers[1].process.thaw();
    until_answered_by_replicas(&mesh, &gate, &[1.0]);
    mesh.servers[1].process.kill();
    until("it is gone", || {
        found(&gate, &[1.0]);
        (fit(&gate) == 0).then_some(())
    });
    mesh.servers[1].restart();
    until_answered_by_replicas(&mesh, &gate, &[1.0]);
    assert_eq!(gate.metric_line("forebay_pool_failed_lookups"), 0);
}

#[test]
fn while_the_master_is_lost_a_replica_answers_from_what_that_had() {
    let (mut mesh, _link, one, gate) = linked(&[]);
    keep(&one, &gate, 1.0);
    until_answered_by_replicas(&mesh, &gate, &[1.0]);
    let before = lookups(&gate, "answered");
    mesh.servers[0].process.kill();
    // For some seconds the gate goes by what it knows of what is live.
    found(&gate, &[1.0; 8]);
    assert_eq!(lookups(&gate, "answered"), before + 8);
    assert_eq!(lookup(&gate, 2.0).status, 404);
}

#[test]
fn a_replica_that_lags_is_not_asked_until_it_has_caught_up() {
    let (mesh, link, one, gate) = linked(&[]);
    keep(&one, &gate, 1.0);
    until_answered_by_replicas(&mesh, &gate, &[1.0]);
    link.silence();
    ask(&one, 2.0);
    until("it is kept", || ask(&one, 2.0).is_hit().then_some(()));
    let only = lookup_with(&gate, 2.0, &[("cache-control", "only-if-cached")]);
    assert_eq!(only.status, 200, "what nothing else answers is asked of the master");
    until("the replica is found to lag", || (fit(&gate) == 0).then_some(()));
    found(&gate, &[1.0, 2.0]);
    assert!(gate.log().contains("of what its master had a second ago"), "{}", gate.log());
    // Connections that are new are carried.
    assert!(mesh.servers[1].tell("CLIENT KILL TYPE master").starts_with(':'));
    until_answered_by_replicas(&mesh, &gate, &[1.0, 2.0]);
}

#[test]
fn a_replica_that_refuses_while_it_has_no_master_costs_no_hit() {
    let (mesh, link, one, gate) = linked(&["--replica-serve-stale-data", "no"]);
    keep(&one, &gate, 1.0);
    until_answered_by_replicas(&mesh, &gate, &[1.0]);
    link.cut();
    until("it refuses", || {
        found(&gate, &[1.0]);
        mesh.servers[1].tell("GET any").starts_with("-MASTERDOWN").then_some(())
    });
    until("it is not asked any more", || {
        found(&gate, &[1.0]);
        (fit(&gate) == 0).then_some(())
    });
    link.mend();
    until_answered_by_replicas(&mesh, &gate, &[1.0]);
}

#[test]
fn replicas_are_asked_by_the_names_that_are_said_and_no_replica_of_another_master() {
    let mut mesh = Mesh::redis();
    // Where it says that it is there is nobody.
    let own = ["--replica-announce-ip", "127.0.0.254", "--replica-announce-port", "1"];
    mesh.servers.push(replica(mesh.servers[0].port, &own));
    let (other, named) = (Server::start(Tier::Redis), format!("127.0.0.1:{}", mesh.servers[1].port));
    let strange = replica(other.port, &[]);
    let list = format!("{named},127.0.0.1:{}", strange.port);
    let gate = |from: &str| Forebay::gate(&mesh.arguments(&["--redis-read-from", from]));
    let (one, by_name, by_master) = (mesh.serve(), gate(&list), gate("replicas"));
    keep(&one, &by_name, 1.0);
    until_answered_by_replicas(&mesh, &by_name, &[1.0]);
    until("the other one says whose it is", || {
        by_name.log().contains("it has what another master had").then_some(())
    });
    assert_eq!((fit(&by_name), strange.calls("mget")), (1, 0));
    until("it can't be reached as it says", || by_master.log().contains("127.0.0.254:1").then_some(()));
    found(&by_master, &[1.0]);
}

#[test]
fn what_can_never_be_read_from_is_refused_at_start() {
    for (url, from, named) in [
        ("redis://h", "a,,b", "\"\" is no server"),
        ("redis://h", "redis://replica", "is no server"),
        ("redis+cluster://h", "replica-0", "say `replicas`"),
        ("unix:///run/redis.sock", "replicas", "by host and port"),
    ] {
        let mesh = Mesh::at(Tier::Redis, vec![], url);
        let arguments = mesh.arguments(&["--redis-read-from", from]);
        let gate = refused(&mut gate_command(&arguments));
        let serve = refused(&mut serve_command(&test_repository(), &arguments));
        for (code, line) in [gate, serve] {
            assert_eq!(code, Some(2), "{line}");
            assert!(line.contains("--redis-read-from") && line.contains(named), "{from}: {line}");
        }
    }
}
