//! A Memcached of the test's own.

use crate::installed::installed;
use rig::process::{Process, free_port, until};
use std::net::TcpStream;
use std::process::Command;

/// A Memcached that keeps its port when it is started again, and nothing else.
pub struct Memcached {
    /// Its process.
    pub process: Process,
    port: u16,
}

impl Memcached {
    /// Starts it.
    pub fn start() -> Self {
        let port = free_port();
        Self { process: run(port), port }
    }

    /// The URL of those.
    pub fn url(of: &[Self]) -> String {
        let list: Vec<String> = of.iter().map(|one| format!("127.0.0.1:{}", one.port)).collect();
        format!("memcached://{}", list.join(","))
    }

    /// Starts it again, empty.
    pub fn restart(&mut self) {
        self.process = run(self.port);
    }
}

fn run(port: u16) -> Process {
    let mut command = Command::new(installed("bin/memcached"));
    // The user is the one that it becomes if it is started by root.
    command.args(["-p", &port.to_string(), "-l", "127.0.0.1", "-u", "root"]);
    let process = Process::start("memcached", command);
    until("memcached listens", || TcpStream::connect(("127.0.0.1", port)).ok().map(drop));
    process
}
