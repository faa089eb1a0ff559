//! Optimised models on disk: a model that was loaded before is not optimised again. What an optimised model depends on
//! makes its file's name; its last bytes are a digest of those before, so a file that was cut or changed is not used.
//!
//! A model's files and configuration enter, the place of the optimised model leaves. Next: the session is opened from it.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use tempfile::TempPath;

use crate::engine::ModelFiles;
use crate::model_config::ModelConfig;

/// Names this use of BLAKE3 and what is hashed; anything else gets another name.
const CONTEXT: &str = "forebay optimized model v1";
/// How the files end.
const EXTENSION: &str = "onnx";

/// A folder of optimised models.
pub(crate) struct Optimized {
    folder: PathBuf,
    /// Together they take no more; those that were not used for longest go.
    limit_bytes: u64,
    processor: String,
}

/// Where one optimised model is, or will be.
pub(super) struct Place<'a> {
    optimized: &'a Optimized,
    path: PathBuf,
}

impl Optimized {
    /// Optimised models in `folder`, which is made if it isn't there.
    ///
    /// # Errors
    /// When it can't be made.
    pub(crate) fn at(folder: &Path, limit_bytes: u64) -> std::io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        Ok(Self { folder: folder.to_owned(), limit_bytes, processor: processor() })
    }

    /// The place of a model. `engine` is the library's name and version.
    pub(super) fn place(&self, files: &ModelFiles, config: &ModelConfig, engine: &str) -> Place<'_> {
        let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
        let mut field = |bytes: &[u8]| {
            hasher.update(&(bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        };
        field(engine.as_bytes());
        field(self.processor.as_bytes());
        field(&config.optimization.as_ref().map(prost::Message::encode_to_vec).unwrap_or_default());
        field(files.model_file.as_bytes());
        for (name, bytes) in &files.files {
            field(name.as_bytes());
            field(bytes);
        }
        let name = format!("{}.{EXTENSION}", hasher.finalize().to_hex());
        Place { optimized: self, path: self.folder.join(name) }
    }

    /// Removes what was not used for longest, until the rest is within the limit.
    fn prune(&self) -> std::io::Result<()> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&self.folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == EXTENSION) {
                let metadata = path.metadata()?;
                found.push((metadata.modified()?, metadata.len(), path));
            }
        }
        found.sort_unstable();
        let mut total: u64 = found.iter().map(|(_, bytes, _)| bytes).sum();
        for (_, bytes, path) in found {
            if total <= self.limit_bytes {
                break;
            }
            std::fs::remove_file(path)?;
            total -= bytes;
        }
        Ok(())
    }
}

impl Place<'_> {
    /// The optimised model, if it is there and whole.
    pub(super) fn read(&self) -> Option<Vec<u8>> {
        let mut bytes = std::fs::read(&self.path).ok()?;
        let (model, digest) = bytes.split_last_chunk::<{ blake3::OUT_LEN }>()?;
        if blake3::hash(model) != *digest {
            tracing::warn!(path = %self.path.display(), "an optimised model is damaged; it is made again");
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

    /// Where the model is to be written before it is kept; gone if it isn't.
    ///
    /// # Errors
    /// When the folder can't be written to.
    pub(super) fn draft(&self) -> std::io::Result<TempPath> {
        Ok(tempfile::Builder::new().tempfile_in(&self.optimized.folder)?.into_temp_path())
    }

    /// Keeps the draft, whole or not at all.
    ///
    /// # Errors
    /// When the folder can't be written to.
    pub(super) fn keep(&self, draft: TempPath) -> std::io::Result<()> {
        let mut model = std::fs::read(&draft)?;
        let digest = blake3::hash(&model);
        model.extend_from_slice(digest.as_bytes());
        std::fs::write(&draft, model)?;
        draft.persist(&self.path)?;
        self.optimized.prune()
    }
}

/// What this machine's processor can do: some optimisations are for it alone.
fn processor() -> String {
    let all = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let tells =
        |line: &&str| ["model name", "flags", "Features", "CPU part"].iter().any(|key| line.starts_with(key));
    let first: Vec<&str> = all.split("\n\n").next().unwrap_or_default().lines().filter(tells).collect();
    format!("{} {}", std::env::consts::ARCH, first.join("\n"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::model_config::Platform;

    fn files(bytes: &str) -> ModelFiles {
        let files = BTreeMap::from([("model.onnx".to_owned(), bytes.as_bytes().into())]);
        ModelFiles { platform: Platform::OnnxRuntime, model_file: "model.onnx".to_owned(), files }
    }

    fn keep(place: &Place<'_>, model: &str) {
        let draft = place.draft().unwrap();
        std::fs::write(&draft, model).unwrap();
        place.keep(draft).unwrap();
    }

    #[test]
    fn a_model_is_found_again_by_all_that_it_was_made_from() {
        let folder = tempfile::tempdir().unwrap();
        let optimized = Optimized::at(folder.path(), 1000).unwrap();
        let config = ModelConfig::default();
        keep(&optimized.place(&files("a"), &config, "engine 1"), "optimised a");
        let read = |bytes, engine| optimized.place(&files(bytes), &config, engine).read();
        assert_eq!(read("a", "engine 1").as_deref(), Some(&b"optimised a"[..]));
        assert_eq!(read("b", "engine 1"), None);
        assert_eq!(read("a", "engine 2"), None);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no draft is left");
    }

    #[test]
    fn a_damaged_file_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let optimized = Optimized::at(folder.path(), 1000).unwrap();
        let (model, config) = (files("a"), ModelConfig::default());
        let place = optimized.place(&model, &config, "engine");
        keep(&place, "optimised");
        let whole = std::fs::read(&place.path).unwrap();
        for damaged in [&whole[..whole.len() - 1], &whole[1..], b""] {
            std::fs::write(&place.path, damaged).unwrap();
            assert_eq!(place.read(), None);
        }
    }

    #[test]
    fn the_folder_stays_within_its_limit_and_keeps_what_was_used_last() {
        let folder = tempfile::tempdir().unwrap();
        let optimized = Optimized::at(folder.path(), 2 * (5 + 32)).unwrap();
        let config = ModelConfig::default();
        let all = ["a", "b", "c"].map(files);
        let places = all.each_ref().map(|files| optimized.place(files, &config, "engine"));
        for (age, place) in places[..2].iter().enumerate() {
            keep(place, "12345");
            let file = std::fs::File::options().append(true).open(&place.path).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(age as u64)).unwrap();
        }
        assert!(places[0].read().is_some(), "the older one was used last now");
        keep(&places[2], "12345");
        assert_eq!(places.map(|place| place.read().is_some()), [true, false, true]);
    }
}
