//! What answers -> its generation: a digest of the version, every file that was read, the effective settings and the
//! engine. Next: `live` publishes it, `store` keys entries with it.

use std::collections::BTreeMap;
use std::sync::Arc;

use forebay_protocol::digest::Generation;
use http::HeaderValue;
use prost::Message as _;

use crate::config::ModelConfig;
use crate::engine::{ModelFiles, SessionOptions};
use crate::settings::Completion;

/// Names this use of BLAKE3 and the layout below; another layout gets another name.
const CONTEXT: &str = "forebay generation v3";
/// The same of models that another server runs.
const ELSEWHERE: &str = "forebay generation of an upstream v1";

/// What a model is served with, besides its version's files.
pub(crate) struct Settings<'a> {
    pub(crate) config: &'a ModelConfig,
    /// Label files by output: classes are named by them.
    pub(crate) labels: &'a BTreeMap<String, Arc<[u8]>>,
    pub(crate) options: SessionOptions,
    pub(crate) completion: Completion,
}

/// The generation of one version of a model. Every field is preceded by its length.
pub(crate) fn of(version: u64, files: &ModelFiles, settings: &Settings<'_>, engine: &str) -> Generation {
    let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
    let mut field = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    field(&version.to_le_bytes());
    field(files.model_file.as_bytes());
    hash_files(&files.files, &mut field);
    field(&settings.config.encode_to_vec());
    hash_files(settings.labels, &mut field);
    field(&(settings.options.intra_op_threads as u64).to_le_bytes());
    field(&[u8::from(settings.completion.is_on)]);
    field(&settings.completion.max_batch_size.to_le_bytes());
    field(engine.as_bytes());
    Generation(*hasher.finalize().as_bytes())
}

/// What another server serves a version of a model with, as far as it is known.
pub(crate) struct Elsewhere<'a> {
    /// What the server says of itself.
    pub(crate) server: &'a str,
    pub(crate) version: &'a str,
    /// What it says of the model.
    pub(crate) said: &'a str,
    /// What was loaded: a digest of the files, or the operator's word.
    pub(crate) loaded: &'a [u8],
}

/// The generation of a version of a model that another server runs.
pub(crate) fn elsewhere(of: &Elsewhere<'_>) -> Generation {
    let mut hasher = blake3::Hasher::new_derive_key(ELSEWHERE);
    for bytes in [of.server.as_bytes(), of.version.as_bytes(), of.said.as_bytes(), of.loaded] {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    }
    Generation(*hasher.finalize().as_bytes())
}

/// As every answer's header says it.
pub(crate) fn header(generation: &Generation) -> HeaderValue {
    HeaderValue::from_str(&generation.to_string()).unwrap_or_else(|_| HeaderValue::from_static(""))
}

fn hash_files(files: &BTreeMap<String, Arc<[u8]>>, field: &mut impl FnMut(&[u8])) {
    field(&(files.len() as u64).to_le_bytes());
    for (name, bytes) in files {
        field(name.as_bytes());
        field(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Platform;
    use crate::engine::entries::Entries;

    fn files(pairs: &[(&str, &str)]) -> ModelFiles {
        let files = pairs.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.as_bytes().into())).collect();
        ModelFiles {
            platform: Platform::OnnxRuntime,
            model_file: "model.onnx".into(),
            files,
            entries: Entries::default(),
        }
    }

    fn generation(version: u64, pairs: &[(&str, &str)], max_batch_size: i32, threads: usize) -> Generation {
        let config = ModelConfig { max_batch_size, ..ModelConfig::default() };
        let options = SessionOptions { intra_op_threads: threads };
        let settings = Settings {
            config: &config,
            labels: &BTreeMap::new(),
            options,
            completion: Completion::default(),
        };
        of(version, &files(pairs), &settings, "engine 1")
    }

    #[test]
    fn anything_that_may_change_an_answer_changes_the_generation() {
        let base = [("data.bin", "weights"), ("model.onnx", "graph")];
        let first = generation(1, &base, 0, 1);
        assert_eq!(first.0, generation(1, &base, 0, 1).0);
        let others = [
            generation(2, &base, 0, 1),
            generation(1, &[("data.bin", "weightz"), ("model.onnx", "graph")], 0, 1),
            generation(1, &[("data.bin", "weightsmodel.onnx"), ("", "graph")], 0, 1),
            generation(1, &[("model.onnx", "graph")], 0, 1),
            generation(1, &base, 8, 1),
            generation(1, &base, 0, 2),
        ];
        assert!(others.iter().all(|other| other.0 != first.0));
    }
}
