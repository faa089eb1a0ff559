//! A folder of files that are bounded together, as those of records are: its files of one kind by age, whichever process wrote them, and
//! which of them go. Nothing else in it is touched.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{DirBuilder, read_dir, remove_file};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use metrics::{Counter, counter};

/// A kind of files.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kind {
    /// What their names end with.
    pub(crate) ending: &'static str,
    /// The metric that counts those that were dropped.
    pub(crate) removed: &'static str,
}

/// Segments of records.
pub(super) const SEGMENTS: Kind = Kind { ending: ".record", removed: "forebay_record_removed" };

/// A file's name: when it was begun, in milliseconds, and something by chance. The oldest comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Name {
    pub(super) began_ms: u64,
    chance: u64,
    ending: &'static str,
}

impl Kind {
    pub(crate) fn name(self, began_ms: u64, chance: u64) -> Name {
        Name { began_ms, chance, ending: self.ending }
    }

    /// That of a segment, by its salt.
    pub(super) fn salted(self, began_ms: u64, salt: &[u8; 32]) -> Name {
        self.name(began_ms, salt.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes)))
    }

    fn parse(self, text: &str) -> Option<Name> {
        let (began, chance) = text.strip_suffix(self.ending)?.split_once('-')?;
        let name = self.name(began.parse().ok()?, u64::from_str_radix(chance, 16).ok()?);
        // Numbers may be written in many ways, names of files in one.
        (name.to_string() == text).then_some(name)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:013}-{:016x}{}", self.began_ms, self.chance, self.ending)
    }
}

/// What could not be done to a file or a folder.
#[derive(Debug, thiserror::Error)]
#[error("can't {what} {}: {source}", path.display())]
pub(crate) struct Trouble {
    what: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl Trouble {
    /// As an error of a file's is turned into one that says which.
    pub(crate) fn with(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self { what, path, source }
    }
}

/// The files of that kind in a folder, with their bytes.
pub(super) fn files(kind: Kind, folder: &Path) -> Result<BTreeMap<Name, u64>, Trouble> {
    let mut found = BTreeMap::new();
    for entry in read_dir(folder).map_err(Trouble::with("read", folder))? {
        let entry = entry.map_err(Trouble::with("read", folder))?;
        let Some(name) = entry.file_name().to_str().and_then(|name| kind.parse(name)) else { continue };
        match entry.metadata() {
            Ok(metadata) if metadata.is_file() => {
                found.insert(name, metadata.len());
            }
            Ok(_) => {}
            // Another replica drops what is old, too.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(Trouble::with("look at", &entry.path())(error)),
        }
    }
    Ok(found)
}

/// The folder, and how much of it may be kept for how long.
pub(crate) struct Folder {
    pub(crate) path: PathBuf,
    kind: Kind,
    most: u64,
    age_ms: u64,
    too_old: Counter,
    too_many: Counter,
}

impl Folder {
    /// Makes it if it isn't there, for this program's user alone.
    ///
    /// # Errors
    /// When it can't be made, or not be written.
    pub(crate) fn open(kind: Kind, path: &Path, most: u64, age: Duration) -> Result<Self, Trouble> {
        match DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(Trouble::with("make the folder", path)(error));
            }
            Ok(()) | Err(_) => {}
        }
        tempfile::tempfile_in(path).map_err(Trouble::with("write to", path))?;
        Ok(Self {
            path: path.to_owned(),
            kind,
            most,
            age_ms: u64::try_from(age.as_millis()).unwrap_or(u64::MAX),
            too_old: counter!(kind.removed, "reason" => "age"),
            too_many: counter!(kind.removed, "reason" => "bytes"),
        })
    }

    /// Drops what is too old, and the oldest of the rest until so many more bytes fit. How many are kept.
    ///
    /// # Errors
    /// When the folder can't be read, or something of it not be dropped.
    pub(crate) fn make_room(&self, now_ms: u64, more: u64) -> Result<u64, Trouble> {
        let files = files(self.kind, &self.path)?;
        let mut kept: u64 = files.values().sum();
        for (name, bytes) in files {
            let removed = if name.began_ms.saturating_add(self.age_ms) <= now_ms {
                &self.too_old
            } else if kept.saturating_add(more) > self.most {
                &self.too_many
            } else {
                break;
            };
            let path = self.path.join(name.to_string());
            match remove_file(&path) {
                Ok(()) => removed.increment(1),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(Trouble::with("drop", &path)(error)),
            }
            kept -= bytes;
        }
        Ok(kept)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{create_dir, write};

    use proptest::prelude::*;

    use super::*;

    fn folder(most: u64, age_ms: u64) -> (tempfile::TempDir, Folder) {
        let root = tempfile::tempdir().unwrap();
        let folder =
            Folder::open(SEGMENTS, &root.path().join("records"), most, Duration::from_millis(age_ms))
                .unwrap();
        (root, folder)
    }

    impl Folder {
        fn add(&self, began_ms: u64, bytes: usize) -> Name {
            let name = SEGMENTS.salted(began_ms, &[7; 32]);
            write(self.path.join(name.to_string()), vec![0; bytes]).unwrap();
            name
        }

        fn names(&self) -> Vec<u64> {
            files(SEGMENTS, &self.path).unwrap().keys().map(|name| name.began_ms).collect()
        }
    }

    #[test]
    fn what_is_too_old_goes_and_then_the_oldest_until_there_is_room() {
        let (_root, folder) = folder(100, 1000);
        for (began_ms, bytes) in [(1000, 10), (2000, 20), (2500, 30), (2600, 40)] {
            folder.add(began_ms, bytes);
        }
        assert_eq!(folder.make_room(1999, 0).unwrap(), 100);
        assert_eq!((folder.make_room(2000, 0).unwrap(), folder.names()), (90, vec![2000, 2500, 2600]));
        assert_eq!((folder.make_room(2000, 30).unwrap(), folder.names()), (70, vec![2500, 2600]));
        assert_eq!((folder.make_room(2000, 31).unwrap(), folder.names()), (40, vec![2600]));
        assert_eq!((folder.make_room(2000, 61).unwrap(), folder.names()), (0, vec![]));
    }

    #[test]
    fn what_is_of_no_such_kind_stays() {
        let (_root, folder) = folder(0, 0);
        let own = folder.add(5, 1).to_string();
        assert_eq!(own, "0000000000005-0707070707070707.record");
        let others = ["notes", "5-7.record", "0000000000005-070707070707070.record", "x-y.record"];
        for other in others {
            write(folder.path.join(other), "text").unwrap();
        }
        create_dir(folder.path.join("0000000000006-0707070707070707.record")).unwrap();
        assert_eq!(folder.make_room(1 << 40, 1).unwrap(), 0);
        assert_eq!(read_dir(&folder.path).unwrap().count(), others.len() + 1);
    }

    #[test]
    fn a_folder_that_can_not_be_made_or_read_is_named() {
        let (root, folder) = folder(1, 1);
        let file = root.path().join("file");
        write(&file, "").unwrap();
        for path in [root.path().join("no/such"), file] {
            let refused =
                Folder::open(SEGMENTS, &path, 1, Duration::ZERO).map(|_| ()).unwrap_err().to_string();
            assert!(refused.contains(&*path.to_string_lossy()), "{refused}");
        }
        std::fs::remove_dir(&folder.path).unwrap();
        let refused = folder.make_room(1, 1).unwrap_err().to_string();
        assert!(refused.contains("can't read") && refused.contains("records"), "{refused}");
    }

    proptest! {
        #[test]
        fn a_name_is_read_as_it_is_written(began_ms in 0_u64..10_000_000_000_000, salt: [u8; 32]) {
            let name = SEGMENTS.salted(began_ms, &salt);
            prop_assert_eq!(SEGMENTS.parse(&name.to_string()), Some(name));
            let other = Kind { ending: ".trace", ..SEGMENTS };
            prop_assert_eq!(other.parse(&name.to_string()), None);
        }
    }
}
