//! Processes that are gone when the test is, and the folders they work on.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How long anything may take to happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A running `forebay`.
pub(crate) struct Forebay {
    child: Child,
    /// 0 of a gate: it has none.
    pub(crate) http_port: u16,
    /// 0 of a server whose pool isn't in memory.
    pub(crate) gate_port: u16,
    /// 0 of a gate: it has none.
    pub(crate) grpc_port: u16,
    pub(crate) metrics_port: u16,
}

pub(crate) fn forebay_dir() -> PathBuf {
    std::env::var_os("FOREBAY_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../.forebay"), PathBuf::from)
}

/// The interpreter with the packages of xtask/requirements.txt.
pub(crate) fn python() -> PathBuf {
    forebay_dir().join("venv/bin/python")
}

/// ONNX's node tests.
pub(crate) fn node_tests() -> PathBuf {
    forebay_dir().join("onnx-node-tests")
}

/// The generated models.
pub(crate) fn test_repository() -> PathBuf {
    let path = forebay_dir().join("test-repository");
    assert!(path.is_dir(), "{} is missing: run `cargo xtask setup`", path.display());
    path
}

/// A repository with one copy of a generated model, under its name, with that configuration.
pub(crate) fn repository_with(model: &str, config: &str) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join(model).join("1");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::copy(test_repository().join(model).join("1/model.onnx"), folder.join("model.onnx")).unwrap();
    std::fs::write(root.path().join(model).join("config.pbtxt"), config).unwrap();
    root
}

fn onnxruntime() -> PathBuf {
    let lib = forebay_dir().join("lib");
    let entries =
        std::fs::read_dir(&lib).unwrap_or_else(|_| panic!("no {}: run `cargo xtask setup`", lib.display()));
    let mut names = entries.map(|entry| entry.unwrap().path());
    names
        .find(|path| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("libonnxruntime.so"))
        })
        .unwrap_or_else(|| panic!("no libonnxruntime.so.* in {}", lib.display()))
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

fn forebay_command(subcommand: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_forebay"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("FOREBAY_")) {
        command.env_remove(name);
    }
    command.arg(subcommand);
    command.args(["--gate-port", "0", "--metrics-port", "0", "--metrics-address", "127.0.0.1"]);
    command.args(["--log", "warn"]);
    command.args(arguments);
    command
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

    /// The most memory that the process has held at once, as the kernel counts it.
    pub(crate) fn peak_memory_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        peak.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// CPU time that its threads have used.
    pub(crate) fn cpu_time(&self) -> Duration {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        let files =
            tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok());
        files.map(|file| Duration::from_nanos(file.split(' ').next().unwrap().parse().unwrap())).sum()
    }

    /// Whether none of its threads runs.
    pub(crate) fn is_asleep(&self) -> bool {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        let files = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("stat")).ok());
        // The state stands after the name, which is in parentheses.
        files.filter_map(|file| file.rsplit(") ").next()?.chars().next()).all(|state| state == 'S')
    }

    /// The processes that it started and that have not ended.
    pub(crate) fn children(&self) -> Vec<u32> {
        children(self.child.id())
    }

    /// Sockets that the process has open.
    pub(crate) fn sockets(&self) -> usize {
        let files = std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap();
        // One that was closed meanwhile isn't open.
        let targets = files.filter_map(|file| std::fs::read_link(file.ok()?.path()).ok());
        targets.filter(|target| target.to_string_lossy().starts_with("socket:")).count()
    }

    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: serde_json::Value =
            serde_json::from_str(&line).unwrap_or_else(|_| panic!("not ready: {line:?}, {:?}", child.wait()));
        let port = |name: &str| u16::try_from(ready[name].as_u64().unwrap_or_default()).unwrap();
        Self {
            http_port: port("http_port"),
            gate_port: port("gate_port"),
            grpc_port: port("grpc_port"),
            metrics_port: port("metrics_port"),
            child,
        }
    }

    pub(crate) fn terminate(&self) {
        self.signal("TERM");
    }

    pub(crate) fn signal(&self, name: &str) {
        signal(&self.child, name);
    }

    pub(crate) fn wait(mut self) -> ExitStatus {
        until("the process ends", || self.child.try_wait().unwrap())
    }
}

impl Drop for Forebay {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
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

pub(crate) fn signal(child: &Child, name: &str) {
    let status = Command::new("kill").arg(format!("-{name}")).arg(child.id().to_string()).status();
    assert!(status.unwrap().success());
}

/// Polls until there is something, for as long as `PATIENCE`.
pub(crate) fn until<T>(what: &str, mut poll: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(result) = poll() {
            return result;
        }
        assert!(Instant::now() < deadline, "{what}: it took too long");
        std::thread::sleep(Duration::from_millis(5));
    }
}
