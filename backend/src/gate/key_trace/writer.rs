//! The thread that writes traces of keys: what is over leaves as a file, whole or not at all, and what is held at the end does.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use metrics::{Counter, Gauge, counter, gauge};
use tokio::sync::oneshot;

use super::file::encoded;
use super::held::{Held, Period};
use crate::observe::logs::Seldom;
use crate::record::folder::{Folder, Kind, Trouble};
use crate::settings::KeyTraceConfig;
use crate::time::clock::now_ms;

/// How often it is looked for what is over.
const LOOK: Duration = Duration::from_secs(1);
const TRACES: Kind = Kind { ending: ".trace", removed: "forebay_key_trace_removed" };
/// Of files that are being written.
const PART: (&str, &str) = (".", ".trace-part");
/// What is older was left by a process that is gone.
const OLDEST_PART: Duration = Duration::from_hours(1);

/// What the thread has.
pub(super) struct Writer {
    path: PathBuf,
    most: u64,
    /// `None` while it can't be opened.
    folder: Option<Folder>,
    held: Arc<Mutex<Held>>,
    /// This process's, in the names of its files.
    own: u64,
    said: Seldom,
    written: Counter,
    lost: Counter,
    failing: Gauge,
}

impl Writer {
    /// Starts the thread: what ends it when it is dropped, and who is told that it ended.
    ///
    /// # Errors
    /// There is none to be had.
    pub(super) fn start(
        config: &KeyTraceConfig,
        held: Arc<Mutex<Held>>,
    ) -> std::io::Result<(Sender<()>, oneshot::Receiver<()>)> {
        let mut writer = Self::new(config, held);
        let (to_writer, until) = mpsc::channel();
        let (tell, ended) = oneshot::channel();
        let run = move || {
            writer.run(&until);
            // Nobody may wait for it.
            let _ = tell.send(());
        };
        thread::Builder::new().name("key-trace".into()).spawn(run)?;
        Ok((to_writer, ended))
    }

    pub(super) fn new(config: &KeyTraceConfig, held: Arc<Mutex<Held>>) -> Self {
        Self {
            path: config.folder.clone(),
            most: config.bytes,
            folder: None,
            held,
            own: rand::random(),
            said: Seldom::new(),
            written: counter!("forebay_key_trace_rows"),
            lost: counter!("forebay_key_trace_dropped", "reason" => "disk"),
            failing: gauge!("forebay_key_trace_failing"),
        }
    }

    fn run(&mut self, until: &Receiver<()>) {
        let opened = self.open().map(drop);
        self.told(opened);
        while until.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
            self.write_all(|held| held.over(now_ms()));
        }
        self.write_all(|held| held.all(now_ms()));
    }

    /// Writes what is taken of what is held.
    pub(super) fn write_all(&mut self, take: impl FnOnce(&mut Held) -> Vec<Period>) {
        let periods = take(&mut self.held.lock().unwrap_or_else(PoisonError::into_inner));
        for period in periods {
            let (rows, written) = (period.rows.len() as u64, self.write(&period));
            let count = if written.is_ok() { &self.written } else { &self.lost };
            count.increment(rows);
            self.told(written);
        }
    }

    /// One file, which is there with all of it, or is not.
    fn write(&mut self, period: &Period) -> Result<(), Trouble> {
        let (own, file) = (self.own, encoded(period));
        let folder = self.open()?;
        folder.make_room(now_ms(), file.len() as u64)?;
        let path = folder.path.join(TRACES.name(period.begin_ms, own).to_string());
        let put = || -> std::io::Result<()> {
            let (prefix, suffix) = PART;
            let part = tempfile::Builder::new().prefix(prefix).suffix(suffix).tempfile_in(&folder.path)?;
            part.as_file().write_all(&file)?;
            part.as_file().sync_all()?;
            part.persist(&path)?;
            Ok(())
        };
        put().map_err(Trouble::with("write", &path))
    }

    /// The folder, made if it wasn't there at the start.
    fn open(&mut self) -> Result<&Folder, Trouble> {
        match &mut self.folder {
            Some(folder) => Ok(folder),
            folder @ None => {
                // Age drops nothing.
                let opened = Folder::open(TRACES, &self.path, self.most, Duration::MAX)?;
                drop_parts(&opened).map_err(Trouble::with("read", &opened.path))?;
                Ok(folder.insert(opened))
            }
        }
    }

    fn told(&self, done: Result<(), Trouble>) {
        self.failing.set(f64::from(u8::from(done.is_err())));
        match done {
            Ok(()) => self.said.forget(),
            Err(trouble) => {
                if let Some(left_out) = self.said.due(&trouble.to_string()) {
                    tracing::error!(left_out, "no trace of keys is kept: {trouble}");
                }
            }
        }
    }
}

/// Drops what a process left that ended while it wrote.
fn drop_parts(folder: &Folder) -> std::io::Result<()> {
    for entry in fs::read_dir(&folder.path)? {
        let entry = entry?;
        let is_part = entry.file_name().to_str().is_some_and(|name| name.ends_with(PART.1));
        let modified = entry.metadata().and_then(|metadata| metadata.modified());
        let is_old = modified.is_ok_and(|at| at.elapsed().is_ok_and(|age| age > OLDEST_PART));
        if is_part && is_old {
            // Another gate may do it, too.
            let _ = fs::remove_file(entry.path());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
