//! A program that changes a cluster: its command enters; what it said leaves, unless the lock is lost meanwhile, for then it is ended.

use std::io::Read as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::lock::Lock;
use crate::command::last_lines;

const GLANCE: Duration = Duration::from_millis(50);
/// After each such time, a line says that it still runs.
const PATIENCE: Duration = Duration::from_secs(30);

/// # Errors
/// It fails, or the lock is lost.
pub(super) fn watched(mut command: Command, what: &str, lock: &Lock) -> Result<()> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("can't run {what}"))?;
    let mut stderr = child.stderr.take().context("no stderr")?;
    let reader = std::thread::spawn(move || {
        let mut said = String::new();
        let _ = stderr.read_to_string(&mut said);
        said
    });
    let (since, mut told) = (Instant::now(), PATIENCE);
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if let Err(lost) = lock.check() {
            let _ = child.kill();
            let _ = child.wait();
            return Err(lost.context(format!("{what} was ended")));
        }
        if since.elapsed() > told {
            println!("    … {what}: {} s", since.elapsed().as_secs());
            told += PATIENCE;
        }
        std::thread::sleep(GLANCE);
    };
    let said = reader.join().unwrap_or_default();
    if !status.success() {
        bail!("{what} failed:\n{}", last_lines(&said));
    }
    Ok(())
}
