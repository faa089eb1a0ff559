//! The files of an image, laid out in a folder as they will lie in it: files enter, each with its place; the folder, with modes and
//! times that depend on nothing here, and its size, leave.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use bytesize::ByteSize;
use sha2::{Digest as _, Sha256};
use walkdir::WalkDir;

/// A folder that becomes an image.
pub(super) struct Stage {
    /// What the builder gets; the files are in `root/` in it.
    pub(super) context: PathBuf,
    size: u64,
}

impl Stage {
    /// An empty one, in place of what was there.
    ///
    /// # Errors
    /// It can't be made.
    pub(super) fn new(context: PathBuf) -> Result<Self> {
        if context.exists() {
            fs::remove_dir_all(&context)?;
        }
        fs::create_dir_all(context.join("root"))
            .with_context(|| format!("can't create {}", context.display()))?;
        Ok(Self { context, size: 0 })
    }

    /// Puts a program there.
    ///
    /// # Errors
    /// It can't be read or written.
    pub(super) fn program(&mut self, from: &Path, place: &str) -> Result<()> {
        let bytes = fs::read(from).with_context(|| format!("can't read {}", from.display()))?;
        self.write(&bytes, Path::new(place), 0o755)
    }

    /// Puts a file there, readable by all.
    ///
    /// # Errors
    /// It can't be read or written.
    pub(super) fn file(&mut self, from: &Path, place: impl AsRef<Path>) -> Result<()> {
        let bytes = fs::read(from).with_context(|| format!("can't read {}", from.display()))?;
        self.write(&bytes, place.as_ref(), 0o644)
    }

    /// Writes a file.
    ///
    /// # Errors
    /// There is one already, or it can't be written.
    pub(super) fn write(&mut self, bytes: &[u8], place: &Path, mode: u32) -> Result<()> {
        let to = self.context.join("root").join(place.strip_prefix("/").unwrap_or(place));
        ensure!(!to.exists(), "two files want to be {}", place.display());
        fs::create_dir_all(to.parent().context("a file without a folder")?)?;
        fs::write(&to, bytes).with_context(|| format!("can't write {}", to.display()))?;
        fs::set_permissions(&to, Permissions::from_mode(mode))?;
        self.size += bytes.len() as u64;
        Ok(())
    }

    /// Gives all the same time, and folders the same mode, whatever the caller's umask is.
    ///
    /// # Errors
    /// The folder can't be walked.
    pub(super) fn finish(&self, epoch: u64) -> Result<()> {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(epoch);
        // Contents first, since a change in a folder changes its time.
        for entry in WalkDir::new(self.context.join("root")).contents_first(true) {
            let entry = entry?;
            if entry.file_type().is_dir() {
                fs::set_permissions(entry.path(), Permissions::from_mode(0o755))?;
            }
            File::open(entry.path())?.set_modified(time)?;
        }
        Ok(())
    }

    /// Of all files.
    pub(super) fn size(&self) -> ByteSize {
        ByteSize::b(self.size)
    }
}

/// In hexadecimal.
pub(super) fn sha256(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_staged_has_the_same_modes_and_times_wherever_it_is_staged() {
        let folder = tempfile::tempdir().unwrap();
        let mut stage = Stage::new(folder.path().join("context")).unwrap();
        stage.write(b"12345", Path::new("/usr/share/five"), 0o644).unwrap();
        assert!(stage.write(b"other", Path::new("/usr/share/five"), 0o644).is_err());
        stage.finish(1_700_000_000).unwrap();
        for (path, mode) in [("usr", 0o755), ("usr/share", 0o755), ("usr/share/five", 0o644)] {
            let about = fs::metadata(folder.path().join("context/root").join(path)).unwrap();
            assert_eq!(about.permissions().mode() & 0o777, mode, "{path}");
            let since = about.modified().unwrap().duration_since(SystemTime::UNIX_EPOCH).unwrap();
            assert_eq!(since.as_secs(), 1_700_000_000, "{path}");
        }
        assert_eq!(stage.size(), ByteSize::b(5));
    }
}
