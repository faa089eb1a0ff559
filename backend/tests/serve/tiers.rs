//! Servers of the shared tiers, of the tests' own.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rig::process::free_port;

use crate::process::{PATIENCE, forebay_dir, signal, until};

/// The program that set-up installed, else the one on PATH.
fn installed(name: &str) -> Command {
    let local = forebay_dir().join("bin").join(name);
    Command::new(if local.exists() { local } else { name.into() })
}

/// Sends a server a line; the first line of what it answers.
fn tell(port: u16, line: &str) -> String {
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(format!("{line}\r\n").as_bytes()).unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    line.trim().to_owned()
}

fn stop(child: &mut Option<Child>) {
    if let Some(mut child) = child.take() {
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

/// A Redis without persistence, on a port that stays its own when it is started again.
pub(crate) struct Redis {
    child: Option<Child>,
    folder: tempfile::TempDir,
    arguments: Vec<String>,
    pub(crate) port: u16,
}

impl Redis {
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// With more arguments.
    pub(crate) fn start_with(arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(ToString::to_string).collect();
        let folder = tempfile::tempdir().unwrap();
        let mut redis = Self { child: None, folder, arguments, port: free_port() };
        redis.restart();
        redis
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// A file in its folder.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Sends it a command; the first line of what it answers.
    pub(crate) fn tell(&self, command: &str) -> String {
        tell(self.port, command)
    }

    /// Stops it where it stands, or lets it go on.
    pub(crate) fn freeze(&self, frozen: bool) {
        signal(self.child.as_ref().unwrap(), if frozen { "STOP" } else { "CONT" });
    }

    pub(crate) fn kill(&mut self) {
        stop(&mut self.child);
    }

    pub(crate) fn restart(&mut self) {
        let mut command = installed("redis-server");
        command.args(rig::redis::arguments(self.port)).args(&self.arguments).current_dir(self.folder.path());
        self.child = Some(command.stdout(Stdio::null()).spawn().unwrap());
        until("redis listens", || std::net::TcpStream::connect(("127.0.0.1", self.port)).ok());
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A Memcached, on a port that stays its own when it is started again.
pub(crate) struct Memcached {
    child: Option<Child>,
    arguments: Vec<String>,
    pub(crate) port: u16,
}

impl Memcached {
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// With more arguments.
    pub(crate) fn start_with(arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(ToString::to_string).collect();
        let mut memcached = Self { child: None, arguments, port: free_port() };
        memcached.restart();
        memcached
    }

    /// Sends it a command; the first line of what it answers.
    pub(crate) fn tell(&self, command: &str) -> String {
        tell(self.port, command)
    }

    /// One of its statistics.
    pub(crate) fn stat(&self, name: &str) -> u64 {
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.write_all(b"stats\r\nquit\r\n").unwrap();
        let start = format!("STAT {name} ");
        let mut lines = BufReader::new(stream).lines().map(Result::unwrap);
        lines.find_map(|line| line.strip_prefix(&start)?.parse().ok()).unwrap()
    }

    /// Names of what it has that begin so.
    fn names(&self, start: &str) -> Vec<String> {
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.write_all(b"lru_crawler metadump all\r\n").unwrap();
        let lines = BufReader::new(stream).lines().map(Result::unwrap).take_while(|line| line != "END");
        let names = lines.filter_map(|line| Some(line.strip_prefix("key=")?.split(' ').next()?.to_owned()));
        // Names are percent-encoded.
        names.map(|name| name.replace("%3A", ":")).filter(|name| name.starts_with(start)).collect()
    }

    /// How many items it has whose names begin so.
    pub(crate) fn count(&self, start: &str) -> usize {
        self.names(start).len()
    }

    /// Takes those away; how many there were.
    pub(crate) fn delete_all(&self, start: &str) -> usize {
        let names = self.names(start);
        names.iter().filter(|name| self.tell(&format!("delete {name}")) == "DELETED").count()
    }

    /// Writes a few megabytes of others, of several sizes.
    pub(crate) fn fill(&self) {
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let mut commands = Vec::new();
        for number in 0..2000_usize {
            let bytes = [100, 400, 1000, 4000, 9000][number % 5];
            commands.extend_from_slice(format!("set other:{number} 0 0 {bytes} noreply\r\n").as_bytes());
            commands.resize(commands.len() + bytes, b'x');
            commands.extend_from_slice(b"\r\n");
        }
        stream.write_all(&commands).unwrap();
        stream.write_all(b"version\r\n").unwrap();
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).unwrap();
    }

    /// Stops it where it stands, or lets it go on.
    pub(crate) fn freeze(&self, frozen: bool) {
        signal(self.child.as_ref().unwrap(), if frozen { "STOP" } else { "CONT" });
    }

    pub(crate) fn kill(&mut self) {
        stop(&mut self.child);
    }

    pub(crate) fn restart(&mut self) {
        let mut command = installed("memcached");
        // The user is the one that it becomes if it is started by root.
        command.args(["-p", &self.port.to_string(), "-l", "127.0.0.1", "-u", "root"]).args(&self.arguments);
        self.child = Some(command.stdout(Stdio::null()).spawn().unwrap());
        until("memcached listens", || std::net::TcpStream::connect(("127.0.0.1", self.port)).ok());
    }
}

impl Drop for Memcached {
    fn drop(&mut self) {
        self.kill();
    }
}
