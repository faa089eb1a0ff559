//! Waiting for what no event tells: a look enters, what it found leaves. Ctrl-C ends it.

use std::io::{Read, Write as _};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rig::group::Interrupted;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag::register;

use crate::command::Said;

/// How often it is looked.
const GLANCE: Duration = Duration::from_millis(100);

static ASKED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// From now on Ctrl-C ends what waits, and not the process: what was started is ended in order.
///
/// # Errors
/// The signals can't be caught.
pub(super) fn hear() -> Result<()> {
    let asked = ASKED.get_or_init(Arc::default);
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        register(signal, asked.clone()).context("can't catch signals")?;
    }
    Ok(())
}

/// Nobody asked to stop?
///
/// # Errors
/// [`Interrupted`]: somebody did.
pub(super) fn go_on() -> Result<()> {
    if ASKED.get().is_some_and(|asked| asked.load(Ordering::Relaxed)) {
        Err(Interrupted.into())
    } else {
        Ok(())
    }
}

/// Forgets that somebody asked, so that the end can wait too.
pub(super) fn forget() {
    if let Some(asked) = ASKED.get() {
        asked.store(false, Ordering::Relaxed);
    }
}

/// Runs a command to its end with that input; a request to stop ends it.
///
/// # Errors
/// It can't be run, or [`Interrupted`].
pub(super) fn finished(mut command: Command, input: &str) -> Result<Said> {
    go_on()?;
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let name = command.get_program().to_string_lossy().into_owned();
    let mut child = command.spawn().with_context(|| format!("can't run {name}"))?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    std::thread::scope(|scope| {
        // What it writes may fill its pipes before it has read all; who does not read all says why itself.
        scope.spawn(move || stdin.map(|mut stdin| stdin.write_all(input.as_bytes())));
        let (stdout, stderr) = (scope.spawn(|| all_of(stdout)), scope.spawn(|| all_of(stderr)));
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if let Err(stop) = go_on() {
                child.kill()?;
                child.wait()?;
                return Err(stop);
            }
            std::thread::sleep(GLANCE / 5);
        };
        let text = |thread: ScopedJoinHandle<'_, Vec<u8>>| thread.join().unwrap_or_default();
        Ok(Output { status, stdout: text(stdout), stderr: text(stderr) }.into())
    })
}

fn all_of(stream: Option<impl Read>) -> Vec<u8> {
    let mut bytes = Vec::new();
    // A pipe that breaks has given all that there was.
    let _ = stream.map(|mut stream| stream.read_to_end(&mut bytes));
    bytes
}

/// Looks again and again until there is something.
///
/// # Errors
/// Time is up, or [`Interrupted`].
pub(super) fn until<T>(what: &str, patience: Duration, mut look: impl FnMut() -> Option<T>) -> Result<T> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(found) = look() {
            return Ok(found);
        }
        go_on()?;
        if Instant::now() > deadline {
            bail!("waited {} s until {what}", patience.as_secs());
        }
        std::thread::sleep(GLANCE);
    }
}
