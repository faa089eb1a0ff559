//! Children that live and end together: commands enter, what happens to them leaves. Each has a process group of its own, a log, and
//! ends with us.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process_group};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::process::{GLANCE, hear, last_lines};

/// How long a child may take to end by itself.
const GRACE: Duration = Duration::from_secs(10);

/// Lines of a log that an error shows.
const SHOWN_LINES: usize = 15;

/// The user asked to stop.
#[derive(Debug)]
pub struct Interrupted;

impl std::fmt::Display for Interrupted {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("stopped on request")
    }
}

impl std::error::Error for Interrupted {}

impl Interrupted {
    /// Is that what the error says?
    pub fn is(error: &anyhow::Error) -> bool {
        error.is::<Self>()
    }
}

/// What happens to the group.
enum Event {
    /// A child wrote a line to stdout.
    Line(&'static str, String),
    /// A child ended.
    Ended(&'static str, ExitStatus),
    /// Ctrl-C or SIGTERM.
    Stop,
}

struct Running {
    name: &'static str,
    pid: Pid,
    log: PathBuf,
}

/// Children that live and end together.
pub struct Group {
    logs: PathBuf,
    sender: Sender<Event>,
    events: Receiver<Event>,
    running: Vec<Running>,
}

impl Group {
    /// An empty group that keeps its logs in that folder and hears Ctrl-C and SIGTERM.
    ///
    /// # Errors
    /// The signals can't be caught.
    pub fn new(logs: &Path) -> Result<Self> {
        let (sender, events) = channel();
        let mut signals = Signals::new([SIGINT, SIGTERM])?;
        let stop = sender.clone();
        std::thread::spawn(move || signals.forever().try_for_each(|_| stop.send(Event::Stop)));
        Ok(Self { logs: logs.to_owned(), sender, events, running: Vec::new() })
    }

    /// Starts a child and returns its process id. Both its outputs go to `<name>.log`.
    ///
    /// # Errors
    /// It can't be started.
    pub fn start(&mut self, name: &'static str, mut command: Command) -> Result<u32> {
        let log = self.logs.join(format!("{name}.log"));
        let file = File::options().create(true).append(true).open(&log)?;
        command.stdout(file.try_clone()?).stderr(file.try_clone()?);
        self.spawn(name, command, log, file)?;
        self.pid(name)
    }

    /// The process id of a child.
    ///
    /// # Errors
    /// It doesn't run.
    pub fn pid(&self, name: &str) -> Result<u32> {
        let child = self.running.iter().find(|child| child.name == name);
        let child = child.with_context(|| format!("{name} doesn't run"))?;
        Ok(child.pid.as_raw_nonzero().get().unsigned_abs())
    }

    /// Starts a child and waits for the line on its stdout that says it is ready.
    ///
    /// # Errors
    /// It can't be started, ends, or is not ready in time.
    pub fn start_until<T>(
        &mut self,
        name: &'static str,
        mut command: Command,
        patience: Duration,
        ready: impl Fn(&str) -> Option<T>,
    ) -> Result<T> {
        let log = self.logs.join(format!("{name}.log"));
        let file = File::options().create(true).append(true).open(&log)?;
        command.stdout(Stdio::piped()).stderr(file.try_clone()?);
        self.spawn(name, command, log, file)?;
        let deadline = Instant::now() + patience;
        loop {
            match self.next(deadline)? {
                Some((from, line)) if from == name => {
                    if let Some(value) = ready(&line) {
                        return Ok(value);
                    }
                }
                Some(_) => {}
                None => bail!("{name} was not ready within {} s:\n{}", patience.as_secs(), self.log_of(name)),
            }
        }
    }

    /// Looks again and again until the probe finds something.
    ///
    /// # Errors
    /// A child ends, the user stops us, or time is up.
    pub fn until<T>(&mut self, what: &str, patience: Duration, probe: impl Fn() -> Option<T>) -> Result<T> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(found) = probe() {
                return Ok(found);
            }
            if Instant::now() > deadline {
                bail!("{what} was not ready within {} s", patience.as_secs());
            }
            self.next(Instant::now() + GLANCE)?;
        }
    }

    /// Waits for as long as all children live.
    ///
    /// # Errors
    /// A child ended, or [`Interrupted`].
    pub fn watch(&mut self) -> Result<()> {
        loop {
            self.next(Instant::now() + Duration::from_hours(1))?;
        }
    }

    /// Ends the children, the last started first, each when those that use it are gone.
    ///
    /// # Errors
    /// One did not end well by itself.
    pub fn stop(&mut self) -> Result<()> {
        let mut worst = Ok(());
        while let Some(child) = self.running.pop() {
            let ended = self.end(&child);
            if worst.is_ok() {
                worst = ended;
            }
        }
        worst
    }

    fn spawn(&mut self, name: &'static str, mut command: Command, log: PathBuf, file: File) -> Result<()> {
        command.stdin(Stdio::null()).process_group(0);
        let program = command.get_program().to_string_lossy().into_owned();
        let mut child = command.spawn().with_context(|| format!("can't start {name} ({program})"))?;
        self.running.push(Running { name, pid: Pid::from_child(&child), log });
        let (lines, log) = (self.sender.clone(), Arc::new(file));
        let sender = lines.clone();
        let heard = hear(&mut child, move |line| {
            // A full disk must not end the child; a group that is gone needs no lines.
            let _ = writeln!(&*log, "{line}");
            let _ = lines.send(Event::Line(name, line));
        });
        std::thread::spawn(move || {
            // All lines first, so that the log is whole when the end is told.
            for heard in heard {
                drop(heard.join());
            }
            if let Ok(status) = child.wait() {
                // Nobody listens when the group is gone already.
                let _ = sender.send(Event::Ended(name, status));
            }
        });
        Ok(())
    }

    /// The next line of a child, `None` when the deadline passes.
    fn next(&mut self, deadline: Instant) -> Result<Option<(&'static str, String)>> {
        let left = deadline.saturating_duration_since(Instant::now());
        match self.events.recv_timeout(left) {
            Ok(Event::Line(name, line)) => Ok(Some((name, line))),
            Ok(Event::Stop) => Err(Interrupted.into()),
            Ok(Event::Ended(name, status)) => {
                let log = self.log_of(name);
                self.running.retain(|child| child.name != name);
                bail!("{name} ended ({status}); the last it said:\n{log}")
            }
            Err(_) => Ok(None),
        }
    }

    fn end(&self, child: &Running) -> Result<()> {
        signal(child, Signal::TERM)?;
        let deadline = Instant::now() + GRACE;
        let name = child.name;
        loop {
            match self.events.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(Event::Ended(ended, status)) if ended == name => {
                    ensure!(
                        status.success(),
                        "{name} did not end well ({status}):
{}",
                        tail(&child.log)
                    );
                    return Ok(());
                }
                Ok(Event::Line(..) | Event::Ended(..)) => {}
                Ok(Event::Stop) | Err(_) => {
                    signal(child, Signal::KILL)?;
                    bail!("{name} had to be killed:\n{}", tail(&child.log));
                }
            }
        }
    }

    fn log_of(&self, name: &str) -> String {
        self.running
            .iter()
            .find(|child| child.name == name)
            .map_or_else(String::new, |child| tail(&child.log))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for child in &self.running {
            // Only after a panic is anything left to end here; a group that is gone needs no signal.
            let _ = signal(child, Signal::KILL);
        }
    }
}

fn signal(child: &Running, signal: Signal) -> Result<()> {
    kill_process_group(child.pid, signal).with_context(|| format!("can't signal {}", child.name))
}

/// The end of a log, and where all of it is.
fn tail(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    format!(
        "{}\n    (all of it: {})",
        last_lines(&String::from_utf8_lossy(&text), SHOWN_LINES),
        log.display()
    )
}
