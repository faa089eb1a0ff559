//! Processes: a command enters; its lines and its end are told, and it is gone when who started it is.
//!
//! [`Process`] is one, for a test: what it says is kept, and a wait that fails is the test's failure. [`crate::group`] is many, for a
//! command of `cargo xtask`.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

pub use rustix::process::Signal;
use rustix::process::{Pid, kill_process};

/// How long anything may take to happen on a busy machine.
pub const PATIENCE: Duration = Duration::from_mins(1);
/// How often a condition is looked at that no event tells.
pub(crate) const GLANCE: Duration = Duration::from_millis(10);
/// Lines of a log that are shown.
const SHOWN_LINES: usize = 40;

/// Tells each line of the outputs that are pipes, from threads that end with them.
pub(crate) fn hear(child: &mut Child, heard: impl Fn(String) + Clone + Send + 'static) -> Vec<Heard> {
    let streams: [Option<Box<dyn Read + Send>>; 2] = [
        child.stdout.take().map(|stream| Box::new(stream) as _),
        child.stderr.take().map(|stream| Box::new(stream) as _),
    ];
    let read = |stream| {
        let heard = heard.clone();
        std::thread::spawn(move || BufReader::new(stream).lines().map_while(Result::ok).for_each(heard))
    };
    streams.into_iter().flatten().map(read).collect()
}

/// Ends when all of an output was told.
pub(crate) type Heard = std::thread::JoinHandle<()>;

/// The same command, started by another, which takes it behind its own arguments and becomes it.
#[must_use]
pub fn started_by(mut starter: Command, command: &Command) -> Command {
    starter.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => starter.env(name, value),
            None => starter.env_remove(name),
        };
    }
    starter
}

/// Says what a test can't show on this machine, also where the output of tests that pass is kept.
///
/// # Panics
/// It can't be said.
pub fn not_tested(what: &str) {
    std::io::stderr().write_all(format!("NOT TESTED: {what}\n").as_bytes()).unwrap();
}

/// A running process.
pub struct Process {
    name: String,
    child: Child,
    log: Arc<Mutex<String>>,
    /// Who has it alone hears them; a mutex, so that threads can share the process.
    lines: Mutex<Receiver<String>>,
    heard: Vec<Heard>,
    has_children: bool,
}

impl Process {
    /// It has children of its own, which it ends when it is asked to end: a crash would leave them behind.
    #[must_use]
    pub fn with_children(mut self) -> Self {
        self.has_children = true;
        self
    }

    /// Starts it.
    ///
    /// # Panics
    /// It can't be started.
    pub fn start(name: &str, mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let (log, (sender, lines)) = (Arc::new(Mutex::new(String::new())), channel());
        let kept = log.clone();
        let heard = hear(&mut child, move |line| {
            let mut log = kept.lock().unwrap_or_else(PoisonError::into_inner);
            log.extend([&line, "\n"]);
            // Who waits for no line needs none.
            let _ = sender.send(line);
        });
        Self { name: name.to_owned(), child, log, lines: Mutex::new(lines), heard, has_children: false }
    }

    /// Waits for a line that says what is wanted.
    ///
    /// # Panics
    /// The process ends, or time is up.
    pub fn until_line<T>(&mut self, wanted: impl Fn(&str) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let lines = self.lines.get_mut().unwrap_or_else(PoisonError::into_inner);
            match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    if let Some(found) = wanted(&line) {
                        return found;
                    }
                }
                Err(why) => {
                    panic!("{} is not ready, {why}, {:?}:\n{}", self.name, self.child.try_wait(), self.log())
                }
            }
        }
    }

    /// Looks again and again until there is something, for as long as it runs.
    ///
    /// # Panics
    /// The process ends, or time is up.
    pub fn until<T>(&mut self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        until(what, || {
            assert!(self.ended().is_none(), "{} ended:\n{}", self.name, self.log());
            look()
        })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// All it has written so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Has it ended?
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok()?
    }

    /// Ends it as a crash would, at once.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Lets it run no further, with its connections left open.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// Sends it a signal, if it still runs.
    pub fn signal(&self, signal: Signal) {
        let _ = kill_process(Pid::from_child(&self.child), signal);
    }

    /// Waits until it has ended, and all it said is in its log.
    ///
    /// # Panics
    /// It does not end.
    pub fn wait(&mut self) -> ExitStatus {
        let ended = until(&format!("{} ends", self.name), || self.child.try_wait().ok()?);
        for heard in self.heard.drain(..) {
            // A thread that panicked has told what it heard.
            let _ = heard.join();
        }
        ended
    }

    /// Asks it to end, and waits until it has.
    ///
    /// # Panics
    /// It does not end.
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.has_children && self.ended().is_none() {
            self.signal(Signal::TERM);
            let deadline = Instant::now() + PATIENCE;
            while self.ended().is_none() && Instant::now() < deadline {
                std::thread::sleep(GLANCE);
            }
        }
        self.kill();
        if std::thread::panicking() {
            eprintln!("---- {}:\n{}", self.name, last_lines(&self.log(), SHOWN_LINES));
        }
    }
}

/// The last lines of a program's output, without empty ones, indented.
pub fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let from = lines.len().saturating_sub(count);
    lines[from..].iter().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
}

/// Looks again and again until there is something.
///
/// # Panics
/// Time is up.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited for: {what}");
        std::thread::sleep(GLANCE);
    }
}

/// A program, without the settings of this process's environment.
pub fn program(path: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(path);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("FOREBAY_")) {
        command.env_remove(name);
    }
    command
}

/// Runs a program to its end; what it printed.
///
/// # Panics
/// It can't be started, or fails.
pub fn printed(command: &mut Command) -> String {
    let done = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success(), "{command:?}: {said}{}", String::from_utf8_lossy(&done.stderr));
    said
}

/// Does something listen on that port?
pub fn listens(port: u16) -> Option<()> {
    TcpStream::connect(("127.0.0.1", port)).ok().map(drop)
}

/// A port that is free now, for what can't pick one itself.
///
/// # Panics
/// There is none.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("a bound port").port()
}
