//! `forebay` as the tests start it, and the folders it works on.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use rig::forebay::Ports;
use rig::installed::{installed, onnxruntime};
use rig::process::{Process, Signal, program, started_by};
use rig::repository::{add, generated};
use serde_json::Value;

/// A running `forebay`.
pub(crate) struct Forebay {
    process: Process,
    /// 0 of a gate: it has none.
    pub(crate) http_port: u16,
    /// 0 of a server whose pool isn't in memory.
    pub(crate) gate_port: u16,
    /// 0 of a gate: it has none.
    pub(crate) grpc_port: u16,
    pub(crate) metrics_port: u16,
    /// 0 where nothing scales.
    pub(crate) scaler_port: u16,
    /// 0 where Kubernetes asks for nothing.
    pub(crate) external_metrics_port: u16,
}

/// The generated models.
pub(crate) fn test_repository() -> PathBuf {
    installed("test-repository")
}

/// A repository with one copy of a generated model, under its name, with that configuration.
pub(crate) fn repository_with(model: &str, config: &str) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    add(root.path(), model, "model.onnx", generated(model), config);
    root
}

/// `forebay serve` on free ports of the loopback, without its environment's settings.
pub(crate) fn serve_command(repository: &Path, arguments: &[&str]) -> Command {
    let mut command = forebay_command("serve", arguments);
    command.args(["--http-port", "0", "--http-address", "127.0.0.1"]);
    command.args(["--grpc-port", "0", "--grpc-address", "127.0.0.1"]);
    command.arg("--model-repository").arg(repository).arg("--onnxruntime").arg(onnxruntime());
    command
}

/// `forebay gate` on free ports of the loopback.
pub(crate) fn gate_command(arguments: &[&str]) -> Command {
    forebay_command("gate", arguments)
}

pub(crate) fn forebay_command(subcommand: &str, arguments: &[&str]) -> Command {
    let ports = ["--gate-port", "0", "--metrics-port", "0", "--metrics-address", "127.0.0.1"];
    let mut command = command(&[&[subcommand][..], &ports, arguments].concat());
    command.env("FOREBAY_LOG", "warn");
    command
}

/// The exit code of one that does not start, and what it says.
pub(crate) fn refused(command: &mut Command) -> (Option<i32>, String) {
    let ended = command.env("FOREBAY_LOG_FORMAT", "text").env("NO_COLOR", "1").output().unwrap();
    (ended.status.code(), String::from_utf8(ended.stderr).unwrap())
}

/// `forebay` with those arguments alone.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = program(env!("CARGO_BIN_EXE_forebay"));
    command.args(arguments);
    command
}

/// Whether a process may have files of the machine's own for itself.
pub(crate) fn can_have_its_own_files() -> bool {
    let tried = Command::new("unshare").args(["-m", "mount", "--bind", "/tmp", "/tmp"]).output();
    tried.is_ok_and(|tried| tried.status.success())
}

/// The same command, for which that file stands in another one's place. Nobody else sees it.
pub(crate) fn with_file(place: &str, file: &Path, command: &Command) -> Command {
    let mut starter = Command::new("unshare");
    starter.args(["-m", "sh", "-c", &format!("mount --bind \"$0\" {place} && exec \"$@\"")]).arg(file);
    started_by(starter, command)
}

impl Forebay {
    pub(crate) fn serve(arguments: &[&str]) -> Self {
        Self::start(serve_command(&test_repository(), arguments))
    }

    pub(crate) fn serve_from(repository: &Path, arguments: &[&str]) -> Self {
        Self::start(serve_command(repository, arguments))
    }

    pub(crate) fn gate(arguments: &[&str]) -> Self {
        Self::start(gate_command(arguments))
    }

    /// Its number.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Where it listens.
    pub(crate) fn ports(&self) -> [u16; 4] {
        [self.http_port, self.grpc_port, self.gate_port, self.metrics_port]
    }

    /// The most memory that the process has held at once, as the kernel counts it.
    pub(crate) fn peak_memory_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        peak.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// CPU time that its threads have used.
    pub(crate) fn cpu_time(&self) -> Duration {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.process.id())).unwrap();
        let files =
            tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok());
        files.map(|file| Duration::from_nanos(file.split(' ').next().unwrap().parse().unwrap())).sum()
    }

    /// Whether none of its threads runs.
    pub(crate) fn is_asleep(&self) -> bool {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.process.id())).unwrap();
        let files = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("stat")).ok());
        // The state stands after the name, which is in parentheses.
        files.filter_map(|file| file.rsplit(") ").next()?.chars().next()).all(|state| state == 'S')
    }

    /// The processes that it started and that have not ended.
    pub(crate) fn children(&self) -> Vec<u32> {
        children(self.process.id())
    }

    /// Sockets that the process has open.
    pub(crate) fn sockets(&self) -> usize {
        let files = std::fs::read_dir(format!("/proc/{}/fd", self.process.id())).unwrap();
        // One that was closed meanwhile isn't open.
        let targets = files.filter_map(|file| std::fs::read_link(file.ok()?.path()).ok());
        targets.filter(|target| target.to_string_lossy().starts_with("socket:")).count()
    }

    pub(crate) fn start(command: Command) -> Self {
        let mut process = Process::start("forebay", command);
        let ports = process.until_line(Ports::of);
        Self::of(process, ports)
    }

    /// One that answers, and is loading its models.
    pub(crate) fn loading(mut command: Command) -> Self {
        command.env("FOREBAY_LOG", "info");
        let mut process = Process::start("forebay", command);
        let ports = process.until_line(|line| {
            let line: Value = serde_json::from_str(line).ok()?;
            let port = |name: &str| u16::try_from(line.get(name)?.as_u64()?).ok();
            line["message"].as_str()?.starts_with("live;").then_some(())?;
            let (http, metrics) = (port("http")?, port("metrics")?);
            let (grpc, gate) = (port("grpc"), port("gate"));
            Some(Ports { http, grpc, gate, scaler: None, external_metrics: None, metrics })
        });
        Self::of(process, ports)
    }

    /// Waits until it says that it is ready.
    pub(crate) fn until_ready(&mut self) {
        self.process.until_line(Ports::of);
    }

    fn of(process: Process, ports: Ports) -> Self {
        let Ports { http, grpc, gate, scaler, external_metrics, metrics } = ports;
        Self {
            process,
            scaler_port: scaler.unwrap_or(0),
            external_metrics_port: external_metrics.unwrap_or(0),
            http_port: http,
            gate_port: gate.unwrap_or(0),
            grpc_port: grpc.unwrap_or(0),
            metrics_port: metrics,
        }
    }

    /// What it has said so far.
    pub(crate) fn log(&self) -> String {
        self.process.log()
    }

    /// Ends it; all it has said.
    pub(crate) fn ended(mut self) -> String {
        assert!(self.process.terminate().success(), "{}", self.log());
        self.log()
    }

    /// Asks it to end.
    pub(crate) fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Has it ended?
    pub(crate) fn has_ended(&mut self) -> Option<ExitStatus> {
        self.process.ended()
    }

    /// Waits until it has ended well, though something may have been cut; all it has said.
    pub(crate) fn until_ended(mut self) -> String {
        assert!(self.process.wait().success(), "{}", self.log());
        self.log()
    }

    /// Waits until it has ended.
    pub(crate) fn wait(mut self) -> ExitStatus {
        self.process.wait()
    }
}

/// The processes that one started and that have not ended, by number.
pub(crate) fn children(of: u32) -> Vec<u32> {
    let processes = std::fs::read_dir("/proc").unwrap();
    let numbers = processes.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    let is_child = |number: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{number}/stat")).unwrap_or_default();
        // After the name, which is in parentheses, stand the state and the parent's number.
        let parent = stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(1));
        parent == Some(&of.to_string())
    };
    numbers.filter(is_child).collect()
}
