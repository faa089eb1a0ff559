//! A child process with a job on its standard input: it ends by itself, at its deadline, or when `stop` is set, and with it all that it
//! started. What leaves: what it printed, or why there is nothing.

use std::io::{self, Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

/// How often the wish to stop is looked at while a child works.
const LOOK: Duration = Duration::from_millis(50);

/// What a child may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds<'a> {
    pub(super) time: Duration,
    /// Bytes of its standard output.
    pub(super) output: u64,
    /// Set when it is wanted no more.
    pub(super) stop: &'a AtomicBool,
}

/// Why a child said nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProcessError {
    #[error("can't start: {0}")]
    Start(io::Error),
    #[error("took longer than {0:.0?}")]
    Late(Duration),
    #[error("was stopped")]
    Stopped,
    #[error("printed more than {0} bytes")]
    Chatty(u64),
    #[error("can't be read: {0}")]
    Read(io::Error),
}

/// What a child left.
pub(super) struct Left {
    pub(super) status: ExitStatus,
    pub(super) output: Vec<u8>,
}

/// Runs a child to its end. Its standard error goes where `command` says.
///
/// # Errors
/// [`ProcessError`]; it and its children are killed then.
pub(super) fn run(mut command: Command, job: &[u8], bounds: Bounds<'_>) -> Result<Left, ProcessError> {
    // A group of its own: the terminal's Ctrl-C is for this program to hear.
    command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = Group(command.spawn().map_err(ProcessError::Start)?);
    let (input, output) = (child.0.stdin.take(), child.0.stdout.take());
    let (said, heard) = channel();
    let end = Instant::now() + bounds.time;
    std::thread::scope(|scope| {
        // A child that doesn't read its job says why by its end.
        scope.spawn(move || input.map(|mut input| input.write_all(job)));
        scope.spawn(move || {
            let mut bytes = Vec::new();
            let read = output.map_or(Ok(0), |output| output.take(bounds.output + 1).read_to_end(&mut bytes));
            let _ = said.send(read.map(|_| bytes));
        });
        let output = loop {
            match heard.recv_timeout(LOOK) {
                Ok(output) => break output.map_err(ProcessError::Read),
                Err(RecvTimeoutError::Disconnected) => break Ok(Vec::new()),
                Err(RecvTimeoutError::Timeout) if bounds.stop.load(Ordering::Relaxed) => {
                    break Err(ProcessError::Stopped);
                }
                Err(RecvTimeoutError::Timeout) if Instant::now() > end => {
                    break Err(ProcessError::Late(bounds.time));
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        };
        let output = output.and_then(|output| {
            if output.len() as u64 > bounds.output {
                Err(ProcessError::Chatty(bounds.output))
            } else {
                Ok(output)
            }
        });
        if output.is_err() {
            child.kill();
        }
        // It closed its output, so it ends; what it may have left running is killed when `child` goes.
        let status = child.0.wait().map_err(ProcessError::Read);
        Ok(Left { output: output?, status: status? })
    })
}

/// A child with all that it started.
struct Group(Child);

impl Group {
    fn kill(&self) {
        if let Some(group) = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str, time: Duration, output: u64, stop: bool) -> Result<Left, ProcessError> {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        run(command, b"job", Bounds { time, output, stop: &AtomicBool::new(stop) })
    }

    const LONG: Duration = Duration::from_mins(1);

    #[test]
    fn a_child_reads_its_job_and_its_words_come_back() {
        let left = sh("cat; exit 3", LONG, 100, false).unwrap();
        assert_eq!((left.output.as_slice(), left.status.code()), (&b"job"[..], Some(3)));
    }

    #[test]
    fn one_that_hangs_or_talks_for_ever_or_is_not_wanted_is_killed_with_its_children() {
        let late = sh("sleep 1000 & wait", Duration::from_millis(100), 100, false);
        assert!(matches!(late, Err(ProcessError::Late(_))));
        assert!(matches!(sh("yes", LONG, 1000, false), Err(ProcessError::Chatty(1000))));
        assert!(matches!(sh("sleep 1000", LONG, 100, true), Err(ProcessError::Stopped)));
        let none = run(
            Command::new("/no/such"),
            b"",
            Bounds { time: LONG, output: 1, stop: &AtomicBool::new(false) },
        );
        assert!(matches!(none, Err(ProcessError::Start(_))));
    }
}
