//! A Redis with two replicas, and three Sentinels that watch them: a password enters, or none; who keeps, who watches and the URL that
//! names them leave.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::process::Command;

use tempfile::TempDir;

use crate::installed::installed;
use crate::process::{Process, free_port, listens, until};
use crate::tier::{LOST, Server, Tier};

/// What the master is called.
pub const MASTER: &str = "results";
/// How many must agree that it is lost, of how many.
const QUORUM: usize = 2;
const SENTINELS: usize = 3;

/// A sentinel that watches a master on that port.
pub struct Sentinel {
    _process: Process,
    port: u16,
    _folder: TempDir,
}

impl Sentinel {
    fn start(master: u16, more: &str) -> Self {
        let (port, folder) = (free_port(), TempDir::new().expect("a temporary folder"));
        let (file, lost) = (folder.path().join("sentinel.conf"), LOST.as_millis());
        let settings = format!(
            "port {port}\nbind 127.0.0.1\nsentinel monitor {MASTER} 127.0.0.1 {master} {QUORUM}\n\
             sentinel down-after-milliseconds {MASTER} {lost}\nsentinel failover-timeout {MASTER} 3000\n{more}"
        );
        std::fs::write(&file, settings).expect("its settings");
        let mut command = Command::new(installed("bin/redis-server"));
        command.arg(&file).arg("--sentinel");
        let mut process = Process::start("sentinel", command);
        process.until("it listens", || listens(port));
        Self { _process: process, port, _folder: folder }
    }

    /// The first line of what it answers.
    fn tell(&self, command: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("it listens");
        stream.write_all(format!("{command}\r\n").as_bytes()).expect("it reads");
        BufReader::new(stream).lines().next().expect("an answer").expect("a line")
    }

    /// Whether it knows the replicas, and enough others that watch.
    fn is_ready(&self) -> bool {
        let all = format!("+OK {SENTINELS} usable");
        self.tell(&format!("SENTINEL REPLICAS {MASTER}")) == "*2"
            && self.tell(&format!("SENTINEL CKQUORUM {MASTER}")).starts_with(&all)
    }
}

/// The master, its two replicas, who watches them, and the URL that names them.
///
/// # Panics
/// One does not start.
#[must_use]
pub fn watched(password: Option<&str>) -> (Vec<Server>, Vec<Sentinel>, String) {
    let own: Vec<&str> =
        password.iter().flat_map(|password| ["--requirepass", password, "--masterauth", password]).collect();
    let master = Server::start_with(Tier::Redis, &own);
    let port = master.port.to_string();
    let replica =
        || Server::start_with(Tier::Redis, &[&["--replicaof", "127.0.0.1", &port], &own[..]].concat());
    let servers = vec![replica(), replica()];
    let auth = password.map_or_else(String::new, |password| {
        format!("sentinel auth-pass {MASTER} {password}\nrequirepass {password}\n")
    });
    let sentinels: Vec<_> = (0..SENTINELS).map(|_| Sentinel::start(master.port, &auth)).collect();
    let list: Vec<String> = sentinels.iter().map(|sentinel| format!("127.0.0.1:{}", sentinel.port)).collect();
    let proof = password.map_or_else(String::new, |password| format!(":{password}@"));
    let url = format!("redis+sentinel://{proof}{}/{MASTER}", list.join(","));
    (std::iter::once(master).chain(servers).collect(), sentinels, url)
}

/// Waits until each sentinel knows all that it has to know to elect another master.
///
/// # Panics
/// They don't come to know it.
pub fn until_ready(sentinels: &[Sentinel]) {
    until("who watches knows all", || sentinels.iter().all(Sentinel::is_ready).then_some(()));
}
