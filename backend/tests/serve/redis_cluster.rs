//! A pool of Redis in cluster mode: results lie at the nodes that have their slots, a node that is lost is followed by its replica, and
//! what that costs is hits.

use rig::authority::Authority;
use rig::process::{free_port, until};
use rig::redis_cluster::{MASTERS, SLOTS, cluster, url};
use rig::tier::{Server, Tier};

use crate::mesh::{Mesh, TIER_ALONE, ask, lookup, works};
use crate::process::{Forebay, refused, serve_command, test_repository};
use crate::reached::rights_of_the_page;

const PASSWORD: &str = "secret";

/// The pool by that many of its nodes.
fn named_by(nodes: Vec<Server>, count: usize, proof: &str) -> Mesh {
    let url = url(&nodes[..count], proof);
    Mesh::at(Tier::Redis, nodes, &url)
}

#[test]
fn results_lie_at_all_nodes_and_who_is_lost_is_followed_by_its_replica() {
    let mut mesh = named_by(cluster(), 2, "");
    let (one, gate) = (mesh.serve(), mesh.gate());
    let mut values = (1..u16::MAX).map(f32::from);
    works(&one, &gate, &mut values);
    let kept: Vec<_> = values.by_ref().take(32).collect();
    for value in &kept {
        ask(&one, *value);
    }
    let all_found = || kept.iter().all(|value| lookup(&gate, *value).status == 200).then_some(());
    until("they are in the pool", all_found);
    for at in 0..MASTERS {
        let size = |node: &Server| node.tell("DBSIZE");
        until("the replica has what its master has", || {
            (size(&mesh.servers[at]) == size(&mesh.servers[MASTERS + at])).then_some(())
        });
        assert_ne!(size(&mesh.servers[at]), ":0", "a part of them");
        mesh.servers[at].process.kill();
        until("what was there before is found", all_found);
        works(&one, &gate, &mut values);
        mesh.servers[at].restart();
        until("one of the two is a replica", || {
            (mesh.servers[at].is_replica() != mesh.servers[MASTERS + at].is_replica()).then_some(())
        });
    }
}

#[test]
fn a_user_with_the_rights_that_the_page_names_is_enough_at_all_nodes() {
    let nodes = cluster();
    let [rights, more] = ["on >the-password ", ""].map(rights_of_the_page);
    for node in &nodes {
        let user = format!("ACL SETUSER app on >{PASSWORD} {rights} {more}");
        assert_eq!(node.tell(&user), "+OK");
        assert_eq!(node.tell("ACL SETUSER default off"), "+OK");
    }
    let mesh = named_by(nodes, 1, &format!("app:{PASSWORD}@"));
    let (one, gate) = (mesh.serve(), mesh.gate());
    works(&one, &gate, &mut (1..u16::MAX).map(f32::from));
    assert_eq!(gate.get_of_gate("/v2/health/ready").status, 200);
}

#[test]
fn nodes_with_certificates_are_spoken_to_by_tls() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    authority.write(folder.path());
    authority.sign(None).write(folder.path(), "server");
    let [ca, certificate, key] =
        ["ca.pem", "server.pem", "server.key"].map(|name| folder.path().join(name).display().to_string());
    let [port, bus] = [(); 2].map(|()| free_port().to_string());
    let files = ["--tls-cert-file", &certificate, "--tls-key-file", &key, "--tls-ca-cert-file", &ca];
    let tls = ["--tls-port", &port, "--tls-auth-clients", "no", "--tls-cluster", "yes"];
    let named = ["--cluster-announce-hostname", "localhost", "--cluster-preferred-endpoint-type", "hostname"];
    let own = ["--cluster-enabled", "yes", "--cluster-port", &bus];
    let node = Server::start_with(Tier::Redis, &[&own[..], &files, &tls, &named].concat());
    assert_eq!(node.tell(&format!("CLUSTER ADDSLOTSRANGE 0 {}", SLOTS - 1)), "+OK");
    let mesh = Mesh::at(Tier::Redis, vec![node], &format!("rediss+cluster://localhost:{port}"));
    let arguments = mesh.arguments(&["--redis-ca-file", &ca]);
    let (one, gate) = (Forebay::serve(&[&arguments[..], &TIER_ALONE].concat()), Forebay::gate(&arguments));
    works(&one, &gate, &mut (1..u16::MAX).map(f32::from));
}

#[test]
fn what_is_no_cluster_or_knows_another_password_ends_the_start() {
    let alone = Server::start(Tier::Redis);
    let guarded = Server::start_with(Tier::Redis, &["--cluster-enabled", "yes", "--requirepass", PASSWORD]);
    for (server, proof, named) in [(alone, "", "not in cluster mode"), (guarded, ":hidden@", "assword")] {
        let mesh = named_by(vec![server], 1, proof);
        let (code, said) = refused(&mut serve_command(&test_repository(), &mesh.arguments(&[])));
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains("--redis-url") && said.contains(named), "{said}");
        assert!(!said.contains("hidden"), "{said}");
    }
}
