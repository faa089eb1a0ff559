//! Files that are replaced while a process runs: secrets, certificates, credentials. Their paths enter; each change is told once.
//! Next: who holds what was in them reads it again.

use std::fs::metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// How often they are looked at: rotation is a matter of minutes.
const LOOK: Duration = Duration::from_secs(2);

/// Files, and how they looked last.
#[derive(Debug, Clone)]
pub(crate) struct Watched {
    files: Vec<PathBuf>,
    seen: Vec<Option<Looks>>,
}

/// When a file was written, its length and its inode. Links are followed: Kubernetes replaces a link.
type Looks = (SystemTime, u64, u64);

impl Watched {
    /// They are looked at now: to be made before they are read, so that no change between is missed.
    pub(crate) fn new<'a>(files: impl IntoIterator<Item = &'a PathBuf>) -> Self {
        let files: Vec<_> = files.into_iter().cloned().collect();
        let seen = files.iter().map(|file| looks(file)).collect();
        Self { files, seen }
    }

    /// Waits until one of them is another.
    pub(crate) async fn changed(&mut self) {
        while !self.look() {
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Whether one of them is another than at the last look. A file that isn't there is another, too.
    pub(crate) fn look(&mut self) -> bool {
        let now: Vec<_> = self.files.iter().map(|file| looks(file)).collect();
        let is_another = now != self.seen;
        self.seen = now;
        is_another
    }
}

fn looks(file: &Path) -> Option<Looks> {
    let metadata = metadata(file).ok()?;
    Some((metadata.modified().ok()?, metadata.len(), metadata.ino()))
}

#[cfg(test)]
mod tests {
    use std::fs::{File, remove_file, rename, write};
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_file_that_is_replaced_by_its_equal_in_age_and_length_is_another_and_so_is_a_link_elsewhere() {
        let folder = tempfile::tempdir().unwrap();
        let [file, other, link] = ["file", "other", "link"].map(|name| folder.path().join(name));
        let written = SystemTime::now();
        for (path, text) in [(&file, "one"), (&other, "two")] {
            write(path, text).unwrap();
            File::open(path).unwrap().set_modified(written).unwrap();
        }
        symlink(&file, &link).unwrap();
        let mut watched = Watched::new([&link]);
        assert!(!watched.look());
        rename(&other, &file).unwrap();
        assert!(watched.look() && !watched.look());
        write(&other, "two").unwrap();
        remove_file(&link).unwrap();
        assert!(watched.look() && !watched.look());
        symlink(&other, &link).unwrap();
        assert!(watched.look() && !watched.look());
    }
}
