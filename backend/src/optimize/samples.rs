//! What the model is asked: `--data` -> items, each one run's inputs, its label and its group (`table` of an `.npz` file, `requests` of a
//! folder, `recorded` traffic, `made_up`). Next: `split` parts them in three.

mod made_up;
mod recorded;
mod requests;
mod split;
mod table;

use std::path::{Path, PathBuf};

use super::arrays::{Array, ArrayError};
use crate::client::InputError;
use crate::engine::signature::Signature;
use crate::settings::SampleSettings;
pub(crate) use split::{FEWEST_REPORTED, Splits};

/// Bytes of tensors that are held in memory at most: 4 GiB.
const MOST_BYTES: u64 = 4 << 30;

/// One run's inputs, with their batch dimension, by name.
pub(crate) type Inputs = Vec<(String, Array)>;

/// One item.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub(crate) inputs: Inputs,
    pub(crate) label: Option<f64>,
    /// Items of one group are drawn together.
    pub(crate) group: u64,
}

/// All items.
#[derive(Debug)]
pub(crate) struct Samples {
    pub(crate) items: Vec<Item>,
    /// BLAKE3 of all of it.
    pub(crate) digest: blake3::Hash,
    pub(crate) is_made_up: bool,
}

/// Data that can't be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SampleError {
    #[error("--data: {0}")]
    Array(#[from] ArrayError),
    #[error("--data: can't read {path}: {source}")]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("--data: {path}: {reason}")]
    Request { path: PathBuf, reason: String },
    #[error("--data: there is no array '{name}' for the model's input; there are {present}")]
    Missing { name: String, present: String },
    #[error(
        "--data: array '{name}' is no input of the model ({inputs}); name it by --labels or --groups if it is that"
    )]
    Unknown { name: String, inputs: String },
    #[error("--data: {what} '{name}' {reason}")]
    Wrong { what: &'static str, name: String, reason: String },
    #[error("--data: {0}")]
    Few(String),
    #[error("inputs can't be made up: {0}")]
    MadeUp(#[from] InputError),
}

impl Samples {
    /// Reads what the settings name, or makes inputs up.
    ///
    /// # Errors
    /// [`SampleError`]: which array, request or label is wrong, and what would be right.
    pub(crate) fn read(
        model: &str,
        signature: &Signature,
        settings: &SampleSettings,
    ) -> Result<Self, SampleError> {
        let items = match (&settings.data, &settings.data_key_file) {
            (None, _) => made_up::items(model, signature, settings.seed)?,
            (Some(folder), Some(key)) => recorded::items(folder, key, model, signature)?,
            (Some(path), None) if path.is_dir() => requests::items(path, model, signature, settings)?,
            (Some(path), None) => table::items(path, signature, settings)?,
        };
        let digest = digest(&items);
        Ok(Self { items, digest, is_made_up: settings.data.is_none() })
    }
}

/// Whether a tensor may be the model's input of that name.
fn check(what: &'static str, signature: &Signature, name: &str, array: &Array) -> Result<(), SampleError> {
    let wrong = |reason: String| SampleError::Wrong { what, name: name.to_owned(), reason };
    let Some(spec) = signature.inputs.iter().find(|spec| spec.name == name) else {
        let inputs: Vec<&str> = signature.inputs.iter().map(|spec| spec.name.as_str()).collect();
        return Err(SampleError::Unknown { name: name.to_owned(), inputs: inputs.join(", ") });
    };
    if array.datatype != spec.datatype {
        return Err(wrong(format!("is of {}, the model takes {}", array.datatype, spec.datatype)));
    }
    let fits = array.shape.len() == spec.shape.len()
        && array.shape.iter().zip(&spec.shape).all(|(size, wanted)| *wanted < 0 || size == wanted);
    if !fits {
        return Err(wrong(format!("has the shape {:?}, the model takes {:?}", array.shape, spec.shape)));
    }
    Ok(())
}

fn digest(items: &[Item]) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new_derive_key("forebay optimize samples v1");
    let mut field = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    for item in items {
        field(&item.label.map(f64::to_le_bytes).unwrap_or_default());
        field(&item.group.to_le_bytes());
        for (name, array) in &item.inputs {
            field(name.as_bytes());
            array.shape.iter().for_each(|size| field(&size.to_le_bytes()));
            field(&array.data);
        }
    }
    hasher.finalize()
}

/// A file's text.
fn unreadable(path: &Path) -> impl FnOnce(std::io::Error) -> SampleError {
    let path = path.to_owned();
    move |source| SampleError::Unreadable { path, source }
}
