//! Waiting for what no event tells: a look enters, what it found leaves. Ctrl-C ends it.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rig::group::Interrupted;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag::register;

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
