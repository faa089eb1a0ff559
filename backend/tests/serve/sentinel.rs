//! A pool whose master Sentinels name: a failover is followed, and what it costs is hits.

use rig::process::until;
use rig::sentinel::{MASTER, Sentinel, until_ready};
use rig::tier::Tier;

use crate::mesh::{Mesh, ask, lookup, works};
use crate::process::{refused, serve_command, test_repository};
use crate::purges::Token;

/// A master, two replicas, and who watches them.
fn watched(password: Option<&str>) -> (Mesh, Vec<Sentinel>) {
    let (servers, sentinels, url) = rig::sentinel::watched(password);
    (Mesh::at(Tier::Redis, servers, &url), sentinels)
}

/// The replicas have what the master has.
fn until_copied(mesh: &Mesh) {
    until("the replicas have it", || {
        let sizes: Vec<_> = mesh.servers.iter().map(|server| server.tell("DBSIZE")).collect();
        sizes.iter().all(|size| *size == sizes[0]).then_some(())
    });
}

#[test]
fn the_next_master_is_followed_and_no_request_fails_meanwhile() {
    let (mut mesh, sentinels) = watched(None);
    let (one, gate) = (mesh.serve(), mesh.gate());
    let mut values = (1..u16::MAX).map(f32::from);
    works(&one, &gate, &mut values);
    let kept = values.next().unwrap();
    ask(&one, kept);
    until("it is in the pool", || (lookup(&gate, kept).status == 200).then_some(()));
    until_copied(&mesh);
    until_ready(&sentinels);
    assert_eq!(lookup(&gate, kept).status, 200);
    let mut master = mesh.servers.remove(0);
    master.process.kill();
    works(&one, &gate, &mut values);
    assert_eq!(lookup(&gate, kept).status, 200, "what was there before is there");
    // Who was the master comes back as a replica: nobody goes back to it.
    master.restart();
    mesh.servers.push(master);
    until("one is the master", || {
        let replicas = mesh.servers.iter().filter(|server| server.is_replica());
        (replicas.count() == mesh.servers.len() - 1).then_some(())
    });
    works(&one, &gate, &mut values);
}

#[test]
fn sentinels_that_ask_for_a_password_get_the_masters() {
    let (mesh, _sentinels) = watched(Some("secret"));
    let (one, gate) = (mesh.serve(), mesh.gate());
    works(&one, &gate, &mut (1..u16::MAX).map(f32::from));
}

#[test]
fn a_master_that_no_sentinel_knows_ends_the_start() {
    let (mesh, _sentinels) = watched(None);
    let url = mesh
        .arguments(&[])
        .into_iter()
        .find(|argument| argument.starts_with("redis+"))
        .unwrap()
        .replace(MASTER, "another");
    let other = Mesh::at(Tier::Redis, Vec::new(), &url);
    let (code, said) = refused(&mut serve_command(&test_repository(), &other.arguments(&[])));
    assert_eq!(code, Some(2), "{said}");
    assert!(
        said.contains("--redis-url") && said.contains("no sentinel knows a master \"another\""),
        "{said}"
    );
}

#[test]
fn a_purge_outlives_a_failover_for_who_was_there_and_for_who_comes() {
    let (mut mesh, sentinels) = watched(None);
    let token = Token::new();
    let (one, gate) = (mesh.serve(), token.gate(&mesh));
    let mut values = (1..u16::MAX).map(f32::from);
    works(&one, &gate, &mut values);
    until_copied(&mesh);
    until_ready(&sentinels);
    let generation = || ask(&one, 0.5).header("x-forebay-generation").to_owned();
    let raw = generation();
    // One that a busy machine copies too late is said to be in none, and is purged again.
    until("a purge that both copies have", || {
        token.purge(&gate, &[]).contains("2 of 2 copies of the pool have it").then_some(())
    });
    let purged = generation();
    assert_ne!(purged, raw);
    mesh.servers.remove(0).process.kill();
    works(&one, &gate, &mut values);
    assert_eq!(generation(), purged);
    let comes = token.gate(&mesh);
    let found = until("it knows what is live", || {
        let found = lookup(&comes, 0.5);
        (found.status != 503).then_some(found)
    });
    assert_eq!(found.header("x-forebay-generation"), purged);
}
