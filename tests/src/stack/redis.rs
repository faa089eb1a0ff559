//! A Redis of the test's own.

use crate::installed::installed;
use crate::process::{Process, free_port};
use std::process::Command;

/// A Redis that keeps its port when it is started again, and nothing else.
pub struct Redis {
    process: Process,
    port: u16,
}

impl Redis {
    /// Starts it.
    pub fn start() -> Self {
        let port = free_port();
        Self { process: run(port), port }
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Ends it as a crash would.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again, empty.
    pub fn restart(&mut self) {
        self.process = run(self.port);
    }
}

fn run(port: u16) -> Process {
    let mut command = Command::new(installed("bin/redis-server"));
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
    let mut process = Process::start("redis", command);
    process.until_line(|line| line.contains("Ready to accept connections").then_some(()));
    process
}
