//! A program's own wall clock: a test sets it while the program runs, and what else the machine does goes by the right time.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

/// The clock of one program, or of several.
#[derive(Debug)]
pub struct Clock {
    path: PathBuf,
    file: File,
}

impl Clock {
    /// One that is right, kept in that file, which nobody else has.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn new(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().write(true).create_new(true).open(path)?;
        let clock = Self { path: path.to_owned(), file };
        clock.set(0)?;
        Ok(clock)
    }

    /// What a program's environment must say that goes by it.
    pub fn environment(&self) -> [(&'static str, OsString); 2] {
        let library = env!("FOREBAY_SET_CLOCK_LIBRARY").into();
        [("LD_PRELOAD", library), ("FOREBAY_SET_CLOCK", self.path.clone().into())]
    }

    /// Sets it, so many seconds ahead of the machine's.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn set(&self, ahead_s: i64) -> io::Result<()> {
        // Programs have mapped the file: it must never be shorter.
        self.file.write_all_at(&ahead_s.to_ne_bytes(), 0)
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::{SystemTime, UNIX_EPOCH};

    use super::Clock;

    /// What `date` says, in seconds beside this program's clock.
    fn date(clock: &Clock) -> i64 {
        let date = Command::new("date").arg("+%s").envs(clock.environment()).output().unwrap();
        let says: i64 = String::from_utf8(date.stdout).unwrap().trim().parse().unwrap();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        says - i64::try_from(now).unwrap()
    }

    #[test]
    fn a_program_goes_by_it_as_it_was_set_last() {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::new(&folder.path().join("clock")).unwrap();
        for ahead_s in [0, 3600, -3600] {
            clock.set(ahead_s).unwrap();
            assert!((-5..=0).contains(&(date(&clock) - ahead_s)), "{ahead_s}");
        }
    }

    #[test]
    fn without_its_file_a_program_does_not_run() {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::new(&folder.path().join("clock")).unwrap();
        std::fs::remove_file(folder.path().join("clock")).unwrap();
        assert!(!Command::new("date").envs(clock.environment()).output().unwrap().status.success());
    }
}
