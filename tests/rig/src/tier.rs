//! Redis and Memcached as caches that processes share: a port of the loopback enters, and the command that runs one there leaves, or a
//! [`Server`] of a test's own.

use std::ffi::OsString;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::installed::installed;
use crate::process::{PATIENCE, Process, free_port, listens};

/// After so long without an answer others take a Redis for lost: on a machine that is busy none is fast.
pub const LOST: Duration = Duration::from_secs(2);
/// How the answer to ROLE of a Redis that is a replica begins.
const REPLICA: &str = "*5";

/// What keeps results for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// One server.
    Redis,
    /// Any number of them.
    Memcached,
}

impl Tier {
    /// Its name, which is its URLs' scheme too.
    pub fn name(self) -> &'static str {
        match self {
            Self::Redis => "redis",
            Self::Memcached => "memcached",
        }
    }

    /// What runs it, nothing of it on disk. `bin` is where set-up put its program.
    pub fn command(self, bin: &Path, port: u16) -> Command {
        let port = port.to_string();
        let (program, arguments) = match self {
            Self::Redis => (
                "redis-server",
                &["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"][..],
            ),
            // The user is the one that it becomes if it is started by root.
            Self::Memcached => ("memcached", &["-p", &port, "-l", "127.0.0.1", "-u", "root"][..]),
        };
        let mut command = Command::new(bin.join(program));
        command.args(arguments);
        command
    }
}

/// One that runs, on a port that stays its own when it is started again. Gone when it is dropped.
pub struct Server {
    /// Its process.
    pub process: Process,
    /// Where it listens.
    pub port: u16,
    tier: Tier,
    arguments: Vec<String>,
    environment: Vec<(&'static str, OsString)>,
    folder: TempDir,
}

impl Server {
    /// Starts one.
    pub fn start(tier: Tier) -> Self {
        Self::start_with(tier, &[])
    }

    /// Starts one with more arguments.
    ///
    /// # Panics
    /// It does not start.
    pub fn start_with(tier: Tier, arguments: &[&str]) -> Self {
        Self::start_in(tier, arguments, Vec::new())
    }

    /// The same in an environment that says that too.
    ///
    /// # Panics
    /// It does not start.
    pub fn start_in(tier: Tier, arguments: &[&str], environment: Vec<(&'static str, OsString)>) -> Self {
        let (port, folder) = (free_port(), TempDir::new().expect("a temporary folder"));
        let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        let process = run(tier, port, (&arguments, &environment), &folder);
        Self { process, port, tier, arguments, environment, folder }
    }

    /// Starts it again after it was killed.
    pub fn restart(&mut self) {
        self.process = run(self.tier, self.port, (&self.arguments, &self.environment), &self.folder);
    }

    /// The URL of those of a tier.
    pub fn url(servers: &[Self]) -> Option<String> {
        let name = servers.first()?.tier.name();
        let list: Vec<String> = servers.iter().map(|server| format!("127.0.0.1:{}", server.port)).collect();
        Some(format!("{name}://{}", list.join(",")))
    }

    /// Sends it a command; the first line of what it answers.
    ///
    /// # Panics
    /// It can't be asked.
    pub fn tell(&self, command: &str) -> String {
        self.ask(command).next().expect("an answer")
    }

    /// Is it a Redis that is another one's replica?
    ///
    /// # Panics
    /// It can't be asked.
    pub fn is_replica(&self) -> bool {
        self.tell("ROLE") == REPLICA
    }

    /// How often a Redis was asked for that, as it counts itself.
    ///
    /// # Panics
    /// It can't be asked.
    pub fn calls(&self, command: &str) -> u64 {
        let begin = format!("cmdstat_{command}:calls=");
        let mut lines = self.ask("INFO commandstats\r\nPING").take_while(|line| line != "+PONG");
        let counted = lines.find_map(|line| line.strip_prefix(&begin)?.split(',').next()?.parse().ok());
        counted.unwrap_or(0)
    }

    /// Sends it a command; the lines of what it answers, which do not end by themselves.
    ///
    /// # Panics
    /// It can't be asked.
    pub fn ask(&self, command: &str) -> impl Iterator<Item = String> + use<> {
        ask(self.port, command).expect("it takes commands").map(|line| line.expect("a line"))
    }
}

/// Sends the server at that port a command; the lines of what it answers, which do not end by themselves.
///
/// # Errors
/// It can't be asked, or (of a line) says nothing for too long.
pub fn ask(port: u16, command: &str) -> io::Result<impl Iterator<Item = io::Result<String>> + use<>> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(format!("{command}\r\n").as_bytes())?;
    Ok(BufReader::new(stream).lines())
}

fn run(
    tier: Tier,
    port: u16,
    (arguments, environment): (&[String], &[(&'static str, OsString)]),
    folder: &TempDir,
) -> Process {
    let mut command = tier.command(&installed("bin"), port);
    command.args(arguments).envs(environment.iter().cloned()).current_dir(folder);
    let mut process = Process::start(tier.name(), command);
    process.until("it listens", || listens(port));
    process
}
