//! One run at a time may change a model: its folder enters, and a lock on it, held until the run ends, leaves. It lies in the
//! repository, for two runs may know nothing of each other, as Jobs on two nodes. Who may not write there hears it before anything
//! takes long.

use std::fs::{self, File, TryLockError};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::install::{DRAFT, InstallError, failed};

/// A name with a dot is no model's version, and nothing that a server follows.
const NAME: &str = ".optimize-lock";

/// The right to change a model.
pub(crate) struct Turn {
    /// Locked as long as it is open.
    _file: File,
    path: PathBuf,
}

impl Turn {
    /// Takes it, and removes what a run that was killed left half-written.
    ///
    /// # Errors
    /// Another run has it, or the folder can't be written to.
    pub(crate) fn take(model: &Path) -> Result<Self, InstallError> {
        let path = model.join(NAME);
        let file = loop {
            let file = File::create(&path).map_err(failed("write", &path))?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(InstallError::Taken(model.to_owned())),
                Err(TryLockError::Error(source)) => return Err(failed("lock", &path)(source)),
            }
            // One that ended in between took its file away: a lock on that is nobody's.
            if file.metadata().map_err(failed("read", &path))?.nlink() > 0 {
                break file;
            }
        };
        let draft = model.join(DRAFT);
        if draft.exists() {
            fs::remove_dir_all(&draft).map_err(failed("remove", &draft))?;
        }
        Ok(Self { _file: file, path })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        // Before it is unlocked: whoever opens it later makes a new one. One that stays does no harm.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_run_at_a_time_changes_a_model_and_leaves_no_trace() {
        let model = tempfile::tempdir().unwrap();
        let half = model.path().join(DRAFT).join("version");
        fs::create_dir_all(&half).unwrap();
        let turn = Turn::take(model.path()).unwrap();
        let refused = Turn::take(model.path()).err().unwrap();
        assert!(refused.to_string().contains("another run"), "{refused}");
        drop(turn);
        drop(Turn::take(model.path()).unwrap());
        assert_eq!(fs::read_dir(model.path()).unwrap().count(), 0);
    }
}
