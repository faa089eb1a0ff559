//! Wall clocks of a stack's processes, each its own. A process's name enters; what it goes by leaves, and may be set while it runs.

use set_clock::Clock;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Them all, right until they are set.
pub(crate) struct Clocks {
    folder: PathBuf,
    by_name: Mutex<BTreeMap<String, (Clock, i64)>>,
}

impl Clocks {
    /// Kept in that folder.
    pub(crate) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), by_name: Mutex::default() }
    }

    fn by_name(&self) -> MutexGuard<'_, BTreeMap<String, (Clock, i64)>> {
        self.by_name.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The environment of the process of that name. One that is started again goes by the clock that it had.
    pub(crate) fn environment(&self, name: &str) -> [(&'static str, OsString); 2] {
        let mut by_name = self.by_name();
        let new = || Clock::new(&self.folder.join(format!("{name}.clock"))).expect("a clock");
        by_name.entry(name.to_owned()).or_insert_with(|| (new(), 0)).0.environment()
    }

    /// Sets it so many seconds ahead of the machine's.
    pub(crate) fn set(&self, name: &str, seconds: i64) {
        let mut by_name = self.by_name();
        let (clock, ahead_s) = by_name.get_mut(name).expect("a process of that name");
        clock.set(seconds).expect("a clock that is set");
        *ahead_s = seconds;
    }

    /// All names, and how far each is ahead.
    pub(crate) fn all(&self) -> Vec<(String, i64)> {
        self.by_name().iter().map(|(name, (_, ahead_s))| (name.clone(), *ahead_s)).collect()
    }
}
