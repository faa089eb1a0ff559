//! Optimised models on disk: a model that was loaded before is not optimised again.
//!
//! A model's files and configuration enter, the place of the optimised model leaves. Next: the session is opened from it.

use crate::config::ModelConfig;
use crate::engine::ModelFiles;
use crate::engine::kept::{Kept, Shelf, Source};

/// Names what is kept and what it is made from.
const CONTEXT: &str = "forebay optimized model v1";
/// How the files end.
const EXTENSION: &str = "onnx";

/// The optimised models.
pub(super) struct Optimized {
    kept: Kept,
    processor: String,
}

impl Optimized {
    pub(super) fn new(kept: Kept) -> Self {
        Self { kept, processor: processor() }
    }

    /// The place of a model. `engine` is the library's name and version.
    pub(super) fn place(&self, files: &ModelFiles, config: &ModelConfig, engine: &str) -> Shelf<'_> {
        let settings = config.optimization.as_ref().map(prost::Message::encode_to_vec).unwrap_or_default();
        let source = Source::new(CONTEXT).field(engine.as_bytes()).field(self.processor.as_bytes());
        self.kept.place(&source.field(&settings).files(files), EXTENSION)
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
    use crate::config::Platform;
    use crate::engine::entries::Entries;

    fn files(bytes: &str) -> ModelFiles {
        let files = BTreeMap::from([("model.onnx".to_owned(), bytes.as_bytes().into())]);
        ModelFiles {
            platform: Platform::OnnxRuntime,
            model_file: "model.onnx".to_owned(),
            files,
            entries: Entries::default(),
        }
    }

    #[test]
    fn another_model_or_library_is_another_place() {
        let folder = tempfile::tempdir().unwrap();
        let optimized = Optimized::new(Kept::at(folder.path(), 1000).unwrap());
        let path =
            |bytes, engine| optimized.place(&files(bytes), &ModelConfig::default(), engine).path().to_owned();
        let first = path("a", "engine 1");
        assert_eq!(first, path("a", "engine 1"));
        assert_ne!(first, path("b", "engine 1"));
        assert_ne!(first, path("a", "engine 2"));
    }
}
