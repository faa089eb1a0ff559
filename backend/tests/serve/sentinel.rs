//! A pool whose master Sentinels name: a failover is followed, and what it costs is hits.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

use rig::installed::installed;
use rig::process::{Process, free_port, listens, until};
use rig::tier::{Server, Tier};
use tempfile::TempDir;

use crate::mesh::{Mesh, REPLICA, ask, lookup, works};
use crate::process::{refused, serve_command, test_repository};
use crate::purges::Token;

/// What the master is called.
const MASTER: &str = "results";
/// After so long without an answer a sentinel takes the master for lost: on a machine that is busy others are not fast.
const DOWN_MS: u32 = 2000;
/// How many must agree on that, of how many.
const QUORUM: usize = 2;
const SENTINELS: usize = 3;

/// A sentinel that watches a master on that port.
struct Sentinel {
    _process: Process,
    port: u16,
    _folder: TempDir,
}

impl Sentinel {
    fn start(master: u16, more: &str) -> Self {
        let (port, folder) = (free_port(), tempfile::tempdir().unwrap());
        let file = folder.path().join("sentinel.conf");
        let settings = format!(
            "port {port}\nbind 127.0.0.1\nsentinel monitor {MASTER} 127.0.0.1 {master} {QUORUM}\n\
             sentinel down-after-milliseconds {MASTER} {DOWN_MS}\nsentinel failover-timeout {MASTER} 3000\n{more}"
        );
        std::fs::write(&file, settings).unwrap();
        let mut process = Process::start("sentinel", command(&file));
        process.until("it listens", || listens(port));
        Self { _process: process, port, _folder: folder }
    }

    /// The first line of what it answers.
    fn tell(&self, command: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.write_all(format!("{command}\r\n").as_bytes()).unwrap();
        BufReader::new(stream).lines().next().unwrap().unwrap()
    }

    /// Whether it knows the replicas, and enough others that watch.
    fn is_ready(&self) -> bool {
        let all = format!("+OK {SENTINELS} usable");
        self.tell(&format!("SENTINEL REPLICAS {MASTER}")) == "*2"
            && self.tell(&format!("SENTINEL CKQUORUM {MASTER}")).starts_with(&all)
    }
}

fn command(settings: &Path) -> Command {
    let mut command = Command::new(installed("bin/redis-server"));
    command.arg(settings).arg("--sentinel");
    command
}

/// A master, two replicas, and who watches them; the URL that names them.
fn watched(password: Option<&str>) -> (Mesh, Vec<Sentinel>) {
    let own: Vec<&str> =
        password.iter().flat_map(|password| ["--requirepass", password, "--masterauth", password]).collect();
    let master = Server::start_with(Tier::Redis, &own);
    let port = master.port.to_string();
    let replica =
        || Server::start_with(Tier::Redis, &[&["--replicaof", "127.0.0.1", &port], &own[..]].concat());
    let servers = vec![replica(), replica(), master];
    let auth = password.map_or_else(String::new, |password| {
        format!("sentinel auth-pass {MASTER} {password}\nrequirepass {password}\n")
    });
    let sentinels: Vec<_> = (0..SENTINELS).map(|_| Sentinel::start(servers[2].port, &auth)).collect();
    let list: Vec<String> = sentinels.iter().map(|sentinel| format!("127.0.0.1:{}", sentinel.port)).collect();
    let proof = password.map_or_else(String::new, |password| format!(":{password}@"));
    let url = format!("redis+sentinel://{proof}{}/{MASTER}", list.join(","));
    (Mesh::at(Tier::Redis, servers, &url), sentinels)
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
    until("the replicas have it", || {
        let sizes: Vec<_> = mesh.servers.iter().map(|server| server.tell("DBSIZE")).collect();
        sizes.iter().all(|size| *size == sizes[0]).then_some(())
    });
    until("who watches knows all", || sentinels.iter().all(Sentinel::is_ready).then_some(()));
    assert_eq!(lookup(&gate, kept).status, 200);
    let mut master = mesh.servers.pop().unwrap();
    master.process.kill();
    works(&one, &gate, &mut values);
    assert_eq!(lookup(&gate, kept).status, 200, "what was there before is there");
    // Who was the master comes back as a replica: nobody goes back to it.
    master.restart();
    mesh.servers.push(master);
    until("one is the master", || {
        let replicas = mesh.servers.iter().filter(|server| server.tell("ROLE") == REPLICA);
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
    until("who watches knows all", || sentinels.iter().all(Sentinel::is_ready).then_some(()));
    let generation = || ask(&one, 0.5).header("x-forebay-generation").to_owned();
    let raw = generation();
    let told = token.purge(&gate, &[]);
    assert!(told.contains("2 of 2 copies of the pool have it"), "{told}");
    let purged = generation();
    assert_ne!(purged, raw);
    mesh.servers.pop().unwrap().process.kill();
    works(&one, &gate, &mut values);
    assert_eq!(generation(), purged);
    let comes = token.gate(&mesh);
    let found = until("it knows what is live", || {
        let found = lookup(&comes, 0.5);
        (found.status != 503).then_some(found)
    });
    assert_eq!(found.header("x-forebay-generation"), purged);
}
