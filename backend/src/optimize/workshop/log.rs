//! What was done in a workshop, a line each: what was asked, and what was found. A run that is stopped goes on from it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::ORIGINAL;

const NAME: &str = "log.jsonl";
/// The highest version that there ever was, as it was asked.
const LAST: &str = "last";

/// What was found, by what was asked.
pub(crate) struct Log {
    path: PathBuf,
    found: BTreeMap<String, Value>,
}

impl Log {
    /// Reads what was found before.
    ///
    /// # Errors
    /// The folder can't be written to.
    pub(crate) fn open(folder: &Path) -> io::Result<Self> {
        let path = folder.join(NAME);
        let lines = fs::read_to_string(&path).unwrap_or_default();
        // The last may be torn.
        let found =
            lines.lines().filter_map(|line| serde_json::from_str::<(String, Value)>(line).ok()).collect();
        if !lines.is_empty() && !lines.ends_with('\n') {
            // What is written next is a line of its own.
            File::options().append(true).open(&path)?.write_all(b"\n")?;
        }
        Ok(Self { path, found })
    }

    /// What was found, if that was asked.
    pub(super) fn found<T: DeserializeOwned>(&self, asked: &str) -> Option<T> {
        self.found.get(asked).and_then(|found| serde_json::from_value(found.clone()).ok())
    }

    /// Keeps what was found.
    ///
    /// # Errors
    /// It can't be written.
    pub(super) fn note<T: Serialize>(&mut self, asked: String, found: &T) -> io::Result<()> {
        let found = serde_json::to_value(found)?;
        let line = serde_json::to_string(&(&asked, &found))?;
        let mut file = File::options().create(true).append(true).open(&self.path)?;
        file.write_all(format!("{line}\n").as_bytes())?;
        self.found.insert(asked, found);
        Ok(())
    }

    /// What was found holds no more.
    pub(super) fn drop(&mut self, asked: &str) {
        self.found.remove(asked);
    }

    /// A number that no version ever had: what was found is kept by it.
    ///
    /// # Errors
    /// It can't be written that it is taken.
    pub(super) fn fresh(&mut self) -> io::Result<u64> {
        let next = self.found::<u64>(LAST).unwrap_or(ORIGINAL) + 1;
        self.note(LAST.to_owned(), &next)?;
        Ok(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_line_is_forgotten_and_what_follows_it_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Log::open(folder.path()).unwrap();
        log.note("one".to_owned(), &1).unwrap();
        assert_eq!(log.fresh().unwrap(), ORIGINAL + 1);
        File::options().append(true).open(&log.path).unwrap().write_all(b"[\"two\", ").unwrap();
        let mut log = Log::open(folder.path()).unwrap();
        log.note("three".to_owned(), &3).unwrap();
        assert_eq!(log.fresh().unwrap(), ORIGINAL + 2, "a number is never another's");
        let log = Log::open(folder.path()).unwrap();
        assert_eq!([log.found("one"), log.found("two"), log.found("three")], [Some(1), None, Some(3)]);
    }
}
