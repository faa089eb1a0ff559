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
        Ok(Self { context })
    }

    /// Puts a program there.
    ///
    /// # Errors
    /// It can't be read or written.
    pub(super) fn program(&self, from: &Path, place: &str) -> Result<()> {
        let bytes = fs::read(from).with_context(|| format!("can't read {}", from.display()))?;
        self.write(&bytes, Path::new(place), 0o755)
    }

    /// Puts a file there, readable by all.
    ///
    /// # Errors
    /// It can't be read or written.
    pub(super) fn file(&self, from: &Path, place: impl AsRef<Path>) -> Result<()> {
        let bytes = fs::read(from).with_context(|| format!("can't read {}", from.display()))?;
        self.write(&bytes, place.as_ref(), 0o644)
    }

    /// Writes a file.
    ///
    /// # Errors
    /// There is one already, or it can't be written.
    pub(super) fn write(&self, bytes: &[u8], place: &Path, mode: u32) -> Result<()> {
        let to = self.root().join(place.strip_prefix("/").unwrap_or(place));
        ensure!(!to.exists(), "two files want to be {}", place.display());
        fs::create_dir_all(to.parent().context("a file without a folder")?)?;
        fs::write(&to, bytes).with_context(|| format!("can't write {}", to.display()))?;
        Ok(fs::set_permissions(&to, Permissions::from_mode(mode))?)
    }

    /// Puts a folder's files there, readable by all, but those that are left out by their path in it. Links to elsewhere have no place.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub(super) fn folder(&self, from: &Path, place: &str, is_wanted: impl Fn(&Path) -> bool) -> Result<()> {
        for entry in WalkDir::new(from).sort_by_file_name() {
            let entry = entry.with_context(|| format!("can't read {}", from.display()))?;
            let path = entry.path().strip_prefix(from)?;
            if entry.file_type().is_file() && is_wanted(path) {
                self.file(entry.path(), Path::new(place).join(path))?;
            }
        }
        Ok(())
    }

    /// Where what will be `/` lies.
    pub(super) fn root(&self) -> PathBuf {
        self.context.join("root")
    }

    /// Gives all the same time, and modes that don't depend on the caller's umask.
    ///
    /// # Errors
    /// The folder can't be walked.
    pub(super) fn finish(&self, epoch: u64) -> Result<()> {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(epoch);
        // Contents first, since a change in a folder changes its time.
        for entry in WalkDir::new(self.root()).contents_first(true) {
            let entry = entry?;
            let runs = entry.file_type().is_dir() || entry.metadata()?.permissions().mode() & 0o100 != 0;
            fs::set_permissions(entry.path(), Permissions::from_mode(if runs { 0o755 } else { 0o644 }))?;
            File::open(entry.path())?.set_modified(time)?;
        }
        Ok(())
    }

    /// Of all files.
    ///
    /// # Errors
    /// The folder can't be walked.
    pub(super) fn size(&self) -> Result<ByteSize> {
        let files = WalkDir::new(self.root()).into_iter();
        let sizes =
            files.map(|entry| Ok(entry?.metadata()?).map(|file| if file.is_file() { file.len() } else { 0 }));
        Ok(ByteSize::b(sizes.sum::<Result<u64>>()?))
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
        let stage = Stage::new(folder.path().join("context")).unwrap();
        stage.write(b"12345", Path::new("/usr/share/five"), 0o644).unwrap();
        assert!(stage.write(b"other", Path::new("/usr/share/five"), 0o644).is_err());
        stage.finish(1_700_000_000).unwrap();
        for (path, mode) in [("usr", 0o755), ("usr/share", 0o755), ("usr/share/five", 0o644)] {
            let about = fs::metadata(folder.path().join("context/root").join(path)).unwrap();
            assert_eq!(about.permissions().mode() & 0o777, mode, "{path}");
            let since = about.modified().unwrap().duration_since(SystemTime::UNIX_EPOCH).unwrap();
            assert_eq!(since.as_secs(), 1_700_000_000, "{path}");
        }
        assert_eq!(stage.size().unwrap(), ByteSize::b(5));
    }
}
