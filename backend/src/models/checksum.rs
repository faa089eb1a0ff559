//! `model_repository_agents` of a configuration -> whether the files are what their sums say, as Triton's agent `checksum` tells it
//! (checksum.cc of its repository): each key is `MD5:<path in the model's folder>`, the value the sum in hex. `load` sees that no
//! file changes meanwhile.

use std::io;
use std::path::{Path, PathBuf};

use md5::{Digest as _, Md5};

use crate::config::{self, ModelConfig};

/// The one kind of sum that there is.
const ALGORITHM: &str = "MD5";

/// Sums that refuse their model.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChecksumError {
    #[error("checksum {key:?} must be {ALGORITHM}:<path in the model's folder>")]
    Key { agent: usize, key: String },
    #[error("checksum {key:?}: can't read {path}: {source}")]
    Unreadable { agent: usize, key: String, path: PathBuf, source: io::Error },
    #[error("checksum {key:?} is {found}, expected {expected:?}")]
    Differs { agent: usize, key: String, found: String, expected: String },
}

impl ChecksumError {
    /// The field that is wrong.
    pub(crate) fn field(&self) -> String {
        let (Self::Key { agent, key }
        | Self::Unreadable { agent, key, .. }
        | Self::Differs { agent, key, .. }) = self;
        format!("model_repository_agents.agents[{agent}].parameters[{key}]")
    }
}

/// Compares the files of the model in that folder.
///
/// # Errors
/// The first that is not what its sum says.
pub(crate) fn check(folder: &Path, config: &ModelConfig) -> Result<(), ChecksumError> {
    let agents = config.model_repository_agents.iter().flat_map(|agents| &agents.agents);
    for (agent, checksums) in agents.enumerate() {
        for (key, expected) in &checksums.parameters {
            let file = file(key).ok_or_else(|| ChecksumError::Key { agent, key: key.clone() })?;
            let path = folder.join(file);
            let found = sum(&path).map_err(|source| ChecksumError::Unreadable {
                agent,
                key: key.clone(),
                path: path.clone(),
                source,
            })?;
            if !found.eq_ignore_ascii_case(expected) {
                let (key, expected) = (key.clone(), expected.clone());
                return Err(ChecksumError::Differs { agent, key, found, expected });
            }
        }
    }
    Ok(())
}

/// The path that a key names.
fn file(key: &str) -> Option<&str> {
    let (algorithm, file) = key.split_once(':')?;
    let is_fine = algorithm.eq_ignore_ascii_case(ALGORITHM) && !file.is_empty() && !config::is_outside(file);
    is_fine.then_some(file)
}

fn sum(path: &Path) -> io::Result<String> {
    let mut hasher = Md5::new();
    io::copy(&mut std::fs::File::open(path)?, &mut hasher)?;
    Ok(format!("{:x}", hasher.finalize()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of "abc", from RFC 1321.
    const ABC: &str = "900150983cd24fb0d6963f7d28e17f72";

    fn checked(key: &str, expected: &str) -> Result<(), String> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("1")).unwrap();
        std::fs::write(folder.path().join("1/model.onnx"), "abc").unwrap();
        let text = format!(
            "model_repository_agents {{\nagents [ {{\nname: \"checksum\"\n parameters {{ key: {key:?} value: {expected:?} }} }} ] }}"
        );
        let written = config::read(Path::new("m/config.pbtxt"), text.as_bytes(), "m").unwrap();
        check(folder.path(), &written.config)
            .map_err(|error| format!("{}: {error}", written.places.at(&error.field())))
    }

    #[test]
    fn files_are_what_the_checksums_say_or_the_model_is_refused() {
        assert_eq!(checked("MD5:1/model.onnx", ABC), Ok(()));
        assert_eq!(checked("md5:1/model.onnx", &ABC.to_uppercase()), Ok(()));
        for (key, expected, error) in [
            ("MD5:1/model.onnx", "d726", format!("is {ABC}, expected \"d726\"")),
            ("MD5:2/model.onnx", ABC, "can't read".to_owned()),
            ("SHA256:1/model.onnx", ABC, "must be MD5:".to_owned()),
            ("1/model.onnx", ABC, "must be MD5:".to_owned()),
            ("MD5:../x", ABC, "must be MD5:".to_owned()),
            ("MD5:/etc/passwd", ABC, "must be MD5:".to_owned()),
        ] {
            let found = checked(key, expected).unwrap_err();
            assert!(found.starts_with("m/config.pbtxt:4: ") && found.contains(&error), "{found}");
        }
    }
}
