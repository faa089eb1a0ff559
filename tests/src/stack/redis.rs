//! A Redis of the test's own.

use crate::installed::installed;
use rig::process::{Process, free_port};
use std::process::Command;

/// A Redis that keeps its port when it is started again, and nothing else.
pub struct Redis {
    /// Its process.
    pub process: Process,
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

    /// Runs a Lua script in it; what that returns, as `redis-cli` prints it.
    ///
    /// # Panics
    /// It can't be asked.
    pub fn script(&self, lua: &str) -> String {
        let mut command = Command::new(installed("bin/redis-cli"));
        let done = command.args(["-p", &self.port.to_string(), "EVAL", lua, "0"]).output();
        String::from_utf8_lossy(&done.expect("redis-cli runs").stdout).trim().to_owned()
    }

    /// Starts it again, empty.
    pub fn restart(&mut self) {
        self.process = run(self.port);
    }
}

fn run(port: u16) -> Process {
    let mut command = Command::new(installed("bin/redis-server"));
    command.args(rig::redis::arguments(port));
    let mut process = Process::start("redis", command);
    process.until_line(rig::redis::is_ready);
    process
}
