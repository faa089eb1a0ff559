//! A Triton-style repository on disk: `<root>/<model>/config.pbtxt` and `<root>/<model>/<version>/model.onnx`; or the folder of one model,
//! which is called as its user says.
//! Folder -> names, versions, files as bytes, and a fingerprint that tells whether anything changed. Next: `models`
//! loads them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use super::variant::{self, Known, VariantError};
use crate::config::{self, ConfigError, ModelConfig, Platform, PolicyChoice, Written};
use crate::engine::ModelFiles;

/// Of a file so much is in memory while it is hashed.
const PIECE: usize = 256 << 10;
/// Names this use of BLAKE3.
const FILES: &str = "forebay files of a model v1";

/// A model that can't be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RepositoryError {
    #[error("can't read {path}: {source}")]
    Unreadable { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("{path} has no version: a folder named by a whole number, such as 1")]
    NoVersion { path: PathBuf },
    #[error("{place}: version_policy.specific: none of the versions is there; {present:?} are")]
    NoSuchVersion { place: String, present: Vec<u64> },
    #[error("{path} has no file {file}")]
    NoModelFile { path: PathBuf, file: String },
    #[error("{path}: {source}")]
    Variant { path: PathBuf, source: Box<VariantError> },
}

fn unreadable(path: &Path) -> impl FnOnce(io::Error) -> RepositoryError {
    let path = path.to_owned();
    move |source| RepositoryError::Unreadable { path, source }
}

/// The models of the repository by name, sorted. Names that begin with a dot are not models.
///
/// # Errors
/// When the folder can't be read.
pub(crate) fn model_names(root: &Path) -> Result<Vec<String>, RepositoryError> {
    let mut names: Vec<String> =
        entries(root)?.into_iter().filter(|(_, path)| path.is_dir()).map(|(name, _)| name).collect();
    names.sort_unstable();
    Ok(names)
}

/// Whether it can be a model's folder.
pub(crate) fn is_name(model: &str) -> bool {
    !model.is_empty() && !model.starts_with('.') && !model.contains(['/', '\\', '\0'])
}

/// Whether the root is no repository but a model's own folder.
pub(crate) fn is_model(root: &Path) -> bool {
    let numbers = |folder: &Path| -> Vec<PathBuf> {
        let entries = entries(folder).unwrap_or_default().into_iter();
        entries
            .filter(|(name, path)| version_number(name).is_some() && path.is_dir())
            .map(|(_, path)| path)
            .collect()
    };
    // A model may be called by a number: its folder has versions, which a version has not.
    root.join(config::FILE_NAME).is_file() || numbers(root).iter().any(|version| numbers(version).is_empty())
}

/// A model's folder.
pub(crate) fn folder(root: &Path, model: &str) -> PathBuf {
    let inside = root.join(model);
    if !inside.is_dir() && is_model(root) { root.to_owned() } else { inside }
}

/// Reads and checks a model's `config.pbtxt`; an empty one where there is none.
///
/// # Errors
/// `Unreadable` and `Config`.
pub(crate) fn read_config(root: &Path, model: &str) -> Result<Written, RepositoryError> {
    let folder = folder(root, model);
    let path = folder.join(config::FILE_NAME);
    match std::fs::read(&path) {
        Ok(bytes) if folder == root => {
            let mut written = config::read(&path, &bytes, config::ANY_NAME)?;
            written.config.name.clear();
            Ok(written)
        }
        Ok(bytes) => Ok(config::read(&path, &bytes, model)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Written::nothing(&path)),
        Err(error) => Err(unreadable(&path)(error)),
    }
}

/// The versions to serve, ascending. Without a policy that is the highest, as in Triton.
///
/// # Errors
/// `Unreadable`, `NoVersion` and `NoSuchVersion`.
pub(crate) fn versions(root: &Path, model: &str, written: &Written) -> Result<Vec<u64>, RepositoryError> {
    let path = folder(root, model);
    let mut found: Vec<u64> = entries(&path)?
        .into_iter()
        .filter(|(_, path)| path.is_dir())
        .filter_map(|(name, _)| version_number(&name))
        .collect();
    found.sort_unstable();
    if found.is_empty() {
        return Err(RepositoryError::NoVersion { path });
    }
    match written.config.version_policy.as_ref().and_then(|policy| policy.policy_choice.as_ref()) {
        None => Ok(found.split_off(found.len() - 1)),
        Some(PolicyChoice::All(_)) => Ok(found),
        Some(PolicyChoice::Latest(latest)) => {
            let count = usize::try_from(latest.num_versions.max(1)).unwrap_or(usize::MAX);
            Ok(found.split_off(found.len().saturating_sub(count)))
        }
        Some(PolicyChoice::Specific(specific)) => {
            let asked =
                |version: &u64| specific.versions.iter().any(|asked| u64::try_from(*asked) == Ok(*version));
            let (present, place) = (found.clone(), |index: usize| {
                written.places.at(&format!("version_policy.specific.versions[{index}]"))
            });
            found.retain(asked);
            for (index, version) in specific.versions.iter().enumerate() {
                // As Triton has it: the others are served (model_lifecycle.cc).
                if !u64::try_from(*version).is_ok_and(|version| found.contains(&version)) {
                    tracing::warn!("{}: version {version} is not there, the others are served", place(index));
                }
            }
            if found.is_empty() {
                return Err(RepositoryError::NoSuchVersion { place: place(0), present });
            }
            Ok(found)
        }
    }
}

/// `1`, not `01` or `+1`: a version has one spelling, so a request has one too.
pub(crate) fn version_number(name: &str) -> Option<u64> {
    let number: u64 = name.parse().ok()?;
    (number.to_string() == name).then_some(number)
}

/// A version as it was read.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) files: ModelFiles,
    /// What made it of another version.
    pub(crate) variant: Option<Known>,
}

/// Reads every file of a version, once: what is hashed is what is loaded.
///
/// # Errors
/// `Unreadable`, `NoModelFile` and `Variant`.
pub(crate) fn read_files(
    root: &Path,
    model: &str,
    version: u64,
    config: &ModelConfig,
) -> Result<Read, RepositoryError> {
    let path = folder(root, model).join(version.to_string());
    let mut files: BTreeMap<String, Arc<[u8]>> = BTreeMap::new();
    for (name, file) in walk(&path)? {
        let bytes: Arc<[u8]> = std::fs::read(&file).map_err(unreadable(&file))?.into();
        files.insert(name, bytes);
    }
    let has = |name: &str| files.contains_key(name) || files.contains_key(&inside(name));
    let platform = config.platform(has);
    let named = config.model_file(platform, has);
    let model_file = [named.to_owned(), inside(named)].into_iter().find(|file| files.contains_key(file));
    let wrong = |source: VariantError| RepositoryError::Variant { path: path.clone(), source: source.into() };
    let variant = files.get(variant::FILE_NAME).map(|bytes| Known::read(bytes)).transpose().map_err(wrong)?;
    let entries = variant.as_ref().map(|variant| variant.is.session.clone()).unwrap_or_default();
    if platform == Platform::TensorRt && !entries.is_empty() {
        return Err(wrong(VariantError::Entries));
    }
    match model_file {
        Some(model_file) => Ok(Read { files: ModelFiles { platform, model_file, files, entries }, variant }),
        None => Err(RepositoryError::NoModelFile { path, file: named.to_owned() }),
    }
}

/// What made a version of another one, without reading the rest of it.
///
/// # Errors
/// `Unreadable` and `Variant`.
pub(crate) fn read_variant(root: &Path, model: &str, version: u64) -> Result<Option<Known>, RepositoryError> {
    let path = folder(root, model).join(version.to_string());
    let file = path.join(variant::FILE_NAME);
    let mut bytes = Vec::new();
    match File::open(&file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        // One byte more than may be there, for that to be told.
        Ok(opened) => opened.take(variant::MOST_BYTES as u64 + 1).read_to_end(&mut bytes),
        Err(error) => Err(error),
    }
    .map_err(unreadable(&file))?;
    let known = Known::read(&bytes);
    known.map(Some).map_err(|source| RepositoryError::Variant { path, source: source.into() })
}

/// What runs a version, by the names of its files.
///
/// # Errors
/// `Unreadable`.
pub(crate) fn platform(
    root: &Path,
    model: &str,
    version: u64,
    config: &ModelConfig,
) -> Result<Platform, RepositoryError> {
    let files = walk(&folder(root, model).join(version.to_string()))?;
    let has = |name: &str| files.iter().any(|(file, _)| file == name || *file == inside(name));
    Ok(config.platform(has))
}

/// The model, where what should be its file is a folder, as Triton has it (`ModelState::LoadModel` in `src/onnxruntime.cc` of its
/// backend).
fn inside(folder: &str) -> String {
    format!("{folder}/{}", Platform::OnnxRuntime.model_file())
}

/// A digest of what a version of a model can be loaded from, read piece by piece: the files of the version, and those beside the
/// folders of versions.
///
/// # Errors
/// `Unreadable`.
pub(crate) fn digest(root: &Path, model: &str, version: &str) -> Result<[u8; 32], RepositoryError> {
    let is_of_another = |name: &str| {
        let folder = name.split_once('/').map(|(folder, _)| folder);
        folder.is_some_and(|folder| folder != version && version_number(folder).is_some())
    };
    let mut whole = blake3::Hasher::new_derive_key(FILES);
    for (name, path) in walk(&folder(root, model))?.into_iter().filter(|(name, _)| !is_of_another(name)) {
        let file = digest_of(&path).map_err(unreadable(&path))?;
        // A name's length stands before it, a digest has one length.
        whole.update(&(name.len() as u64).to_le_bytes()).update(name.as_bytes()).update(file.as_bytes());
    }
    Ok(*whole.finalize().as_bytes())
}

fn digest_of(path: &Path) -> io::Result<blake3::Hash> {
    let (mut hasher, mut file, mut piece) = (blake3::Hasher::new(), File::open(path)?, vec![0; PIECE]);
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(hasher.finalize()),
            size => hasher.update(&piece[..size]),
        };
    }
}

/// The label files of a model's outputs, by output.
///
/// # Errors
/// `Unreadable`.
pub(crate) fn read_labels(
    root: &Path,
    model: &str,
    config: &ModelConfig,
) -> Result<BTreeMap<String, Arc<[u8]>>, RepositoryError> {
    let labelled = config.output.iter().filter(|output| !output.label_filename.is_empty());
    labelled
        .map(|output| {
            let path = folder(root, model).join(&output.label_filename);
            let bytes = std::fs::read(&path).map_err(unreadable(&path))?;
            Ok((output.name.clone(), bytes.into()))
        })
        .collect()
}

/// Tells whether a model's folder changed, without reading the files.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Fingerprint(Vec<(String, u64, Option<SystemTime>)>);

/// The fingerprint of a model's folder as it is now.
///
/// # Errors
/// `Unreadable`, as while a file is replaced.
pub(crate) fn fingerprint(root: &Path, model: &str) -> Result<Fingerprint, RepositoryError> {
    let mut files = Vec::new();
    for (name, path) in walk(&folder(root, model))? {
        let metadata = std::fs::metadata(&path).map_err(unreadable(&path))?;
        files.push((name, metadata.len(), metadata.modified().ok()));
    }
    Ok(Fingerprint(files))
}

/// All files below a folder, by their path inside it, sorted. Links are followed; names that begin with a dot are
/// skipped (mounted configuration keeps its own there).
fn walk(folder: &Path) -> Result<Vec<(String, PathBuf)>, RepositoryError> {
    let mut files = Vec::new();
    let mut folders = vec![(String::new(), folder.to_owned())];
    while let Some((prefix, folder)) = folders.pop() {
        for (name, path) in entries(&folder)? {
            let name = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
            let metadata = std::fs::metadata(&path).map_err(unreadable(&path))?;
            if metadata.is_dir() { folders.push((name, path)) } else { files.push((name, path)) }
        }
    }
    files.sort_unstable();
    Ok(files)
}

fn entries(folder: &Path) -> Result<Vec<(String, PathBuf)>, RepositoryError> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable(folder))? {
        let entry = entry.map_err(unreadable(folder))?;
        if let Ok(name) = entry.file_name().into_string()
            && !name.starts_with('.')
        {
            found.push((name, entry.path()));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
