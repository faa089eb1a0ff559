//! What was made of models, on disk: what was made once is not made again. A digest of all that a file was made from is its
//! name; its last bytes are a digest of those before, so a file that was cut or changed is not used.
//!
//! What a file is made from enters, its place leaves. Next: `ort::optimized` keeps optimised models there,
//! `tensorrt::compile` plans.

use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use tempfile::NamedTempFile;

use super::ModelFiles;

/// The digest of all that a file is made from. Every field is preceded by its length.
#[derive(Clone)]
pub(super) struct Source(blake3::Hasher);

impl PartialEq for Source {
    fn eq(&self, other: &Self) -> bool {
        self.0.finalize() == other.0.finalize()
    }
}

impl Source {
    /// `context` names what is made and which fields follow; anything else gets another name.
    pub(super) fn new(context: &str) -> Self {
        Self(blake3::Hasher::new_derive_key(context))
    }

    pub(super) fn field(mut self, bytes: &[u8]) -> Self {
        self.0.update(&(bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
        self
    }

    /// Which file is the model, and every file with its path.
    pub(super) fn files(self, files: &ModelFiles) -> Self {
        let named = self.field(files.model_file.as_bytes());
        files.files.iter().fold(named, |source, (name, bytes)| source.field(name.as_bytes()).field(bytes))
    }
}

/// A folder of files.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    folder: PathBuf,
    /// Together they take no more; those that were not used for longest go.
    limit_bytes: u64,
}

/// Where one file is, or will be.
pub(super) struct Shelf<'a> {
    kept: &'a Kept,
    path: PathBuf,
}

impl Kept {
    /// Files in `folder`, which is made if it isn't there.
    ///
    /// # Errors
    /// When it can't be made.
    pub(crate) fn at(folder: &Path, limit_bytes: u64) -> std::io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        Ok(Self { folder: folder.to_owned(), limit_bytes })
    }

    /// The place of what is made from `source`.
    pub(super) fn place(&self, source: &Source, extension: &str) -> Shelf<'_> {
        let name = format!("{}.{extension}", source.0.finalize().to_hex());
        Shelf { kept: self, path: self.folder.join(name) }
    }

    /// Removes what was not used for longest, until the rest is within the limit.
    fn prune(&self) -> std::io::Result<()> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&self.folder)? {
            let path = entry?.path();
            // One that is gone was removed by another who keeps files here.
            if is_ours(&path)
                && let Ok(metadata) = path.metadata()
            {
                found.push((metadata.modified()?, metadata.len(), path));
            }
        }
        found.sort_unstable();
        let mut total: u64 = found.iter().map(|(_, bytes, _)| bytes).sum();
        for (_, bytes, path) in found {
            if total <= self.limit_bytes {
                break;
            }
            match std::fs::remove_file(path) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => total -= bytes,
            }
        }
        Ok(())
    }
}

/// Whether it is named by a digest: not a draft, nor a file of others.
fn is_ours(path: &Path) -> bool {
    path.file_stem().and_then(|stem| stem.to_str()).is_some_and(|stem| blake3::Hash::from_hex(stem).is_ok())
}

impl Shelf<'_> {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The file, if it is there and whole.
    pub(super) fn read(&self) -> Option<Vec<u8>> {
        let mut bytes = std::fs::read(&self.path).ok()?;
        let whole = bytes.split_last_chunk::<{ blake3::OUT_LEN }>();
        if whole.is_none_or(|(content, digest)| blake3::hash(content) != *digest) {
            tracing::warn!(path = %self.path.display(), "a kept file is damaged; it is made again");
            return None;
        }
        bytes.truncate(bytes.len() - blake3::OUT_LEN);
        // Used now. A folder that can't be written to only forgets that.
        let _ = std::fs::File::options()
            .append(true)
            .open(&self.path)
            .and_then(|file| file.set_modified(SystemTime::now()));
        Some(bytes)
    }

    /// A file to write to before it is kept; gone when dropped.
    ///
    /// # Errors
    /// When the folder can't be written to.
    pub(super) fn draft(&self) -> std::io::Result<NamedTempFile> {
        NamedTempFile::new_in(&self.kept.folder)
    }

    /// Keeps `content`, whole or not at all.
    ///
    /// # Errors
    /// When the folder can't be written to.
    pub(super) fn keep(&self, content: &[u8]) -> std::io::Result<()> {
        let mut draft = self.draft()?;
        draft.write_all(content)?;
        draft.write_all(blake3::hash(content).as_bytes())?;
        draft.persist(&self.path)?;
        self.kept.prune()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place<'a>(kept: &'a Kept, made_from: &str) -> Shelf<'a> {
        kept.place(&Source::new("test").field(made_from.as_bytes()), "made")
    }

    #[test]
    fn a_file_is_found_again_by_all_that_it_was_made_from() {
        let folder = tempfile::tempdir().unwrap();
        let kept = Kept::at(folder.path(), 1000).unwrap();
        place(&kept, "a").keep(b"made of a").unwrap();
        assert_eq!(place(&kept, "a").read().as_deref(), Some(&b"made of a"[..]));
        assert_eq!(place(&kept, "b").read(), None);
        let split = Source::new("test").field(b"").field(b"a");
        assert_eq!(kept.place(&split, "made").read(), None);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no draft is left");
    }

    #[test]
    fn a_damaged_file_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let kept = Kept::at(folder.path(), 1000).unwrap();
        let place = place(&kept, "a");
        place.keep(b"made").unwrap();
        let whole = std::fs::read(&place.path).unwrap();
        for damaged in [&whole[..whole.len() - 1], &whole[1..], b""] {
            std::fs::write(&place.path, damaged).unwrap();
            assert_eq!(place.read(), None);
        }
    }

    #[test]
    fn the_folder_stays_within_its_limit_and_keeps_what_was_used_last_and_what_is_others() {
        let folder = tempfile::tempdir().unwrap();
        let kept = Kept::at(folder.path(), 2 * (5 + 32)).unwrap();
        std::fs::write(folder.path().join("of_others"), [0; 1000]).unwrap();
        let places = ["a", "b", "c"].map(|made_from| place(&kept, made_from));
        for (age, place) in places[..2].iter().enumerate() {
            place.keep(b"12345").unwrap();
            let file = std::fs::File::options().append(true).open(&place.path).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(age as u64)).unwrap();
        }
        assert!(places[0].read().is_some(), "the older one was used last now");
        places[2].keep(b"12345").unwrap();
        assert_eq!(places.map(|place| place.read().is_some()), [true, false, true]);
        assert!(folder.path().join("of_others").exists());
    }
}
