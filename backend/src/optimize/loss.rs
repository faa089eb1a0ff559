//! What a variant loses: outputs of the original and of the variant, item by item -> points of the metric, a bound on them, and how many
//! items disagree. Next: `verdict` holds them against what may be lost.
//!
//! A loss is the paired drop of the metric in points of a hundred: what the original had less what the variant has, over the same items.

pub(crate) mod bounds;
mod channels;
mod command;
mod ranking;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::arrays::{self, Array, ArrayError};
use super::samples::Item;
use crate::engine::signature::Signature;
use crate::settings::{LossSettings, Metric};
use channels::Kind;
pub(crate) use command::CommandError;

/// Bytes of one item's outputs at most.
const MOST_ITEM: u64 = 1 << 30;

/// A loss on one split.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Loss {
    /// The estimate: the paired drop in points.
    pub(crate) points: f64,
    /// One-sided 95 % upper bound of it; none where the metric gave one number for all items.
    pub(crate) bound: Option<f64>,
    pub(crate) items: usize,
    /// Items whose class is another, of those that have one.
    pub(crate) disagreements: Option<usize>,
    /// The metric of the original and of the variant, where it is one number of each.
    pub(crate) values: Option<(f64, f64)>,
    /// Where the loss is largest: an output, or one of its channels.
    pub(crate) worst: Option<String>,
}

/// A loss that can't be told.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LossError {
    #[error(transparent)]
    Array(#[from] ArrayError),
    #[error("--output: the model has no output '{name}'; its outputs are {present}")]
    Output { name: String, present: String },
    #[error("--metric {metric}: {reason}")]
    Metric { metric: Metric, reason: String },
    #[error("--metric: {0}")]
    Command(#[from] CommandError),
    #[error("item {item}: output '{name}' is missing, or has another shape than the original's")]
    Shape { item: usize, name: String },
}

/// How losses are measured.
pub(crate) struct Measure<'a> {
    pub(crate) metric: Metric,
    pub(crate) settings: &'a LossSettings,
    pub(crate) signature: &'a Signature,
    /// Decides what is drawn for bounds.
    pub(crate) seed: u64,
}

/// Where the outputs of a split lie.
#[derive(Clone, Copy)]
pub(crate) struct Compared<'a> {
    pub(crate) items: &'a [Item],
    /// Folders that the judge wrote.
    pub(crate) inputs: &'a Path,
    pub(crate) original: &'a Path,
    pub(crate) variant: &'a Path,
}

impl Measure<'_> {
    /// What the variant loses on those items.
    ///
    /// # Errors
    /// [`LossError`].
    pub(crate) fn loss(
        &self,
        compared: Compared<'_>,
        stop: &std::sync::atomic::AtomicBool,
    ) -> Result<Loss, LossError> {
        match &self.metric {
            Metric::Cosine => channels::loss(self, compared, Kind::Cosine),
            Metric::Error => channels::loss(self, compared, Kind::Error),
            Metric::Top1 => ranking::top1(self, compared),
            Metric::Auc => ranking::auc(self, compared),
            Metric::Command(line) => command::loss(self, line, compared, stop),
        }
    }

    /// The output that classes and scores are read from.
    fn output(&self) -> Result<&str, LossError> {
        let outputs = &self.signature.outputs;
        let float = outputs
            .iter()
            .find(|spec| spec.datatype.as_str().starts_with("FP") || spec.datatype.as_str() == "BF16");
        let named = match &self.settings.output {
            Some(name) => outputs.iter().find(|spec| spec.name == *name),
            None => float.or(outputs.first()),
        };
        named.map(|spec| spec.name.as_str()).ok_or_else(|| LossError::Output {
            name: self.settings.output.clone().unwrap_or_default(),
            present: outputs.iter().map(|spec| spec.name.as_str()).collect::<Vec<_>>().join(", "),
        })
    }

    fn wrong(&self, reason: impl Into<String>) -> LossError {
        LossError::Metric { metric: self.metric.clone(), reason: reason.into() }
    }
}

/// The file of an item in any folder of a split.
pub(crate) fn file(folder: &Path, item: usize) -> PathBuf {
    folder.join(format!("{item:06}.npz"))
}

fn read(folder: &Path, item: usize) -> Result<Vec<(String, Array)>, LossError> {
    Ok(arrays::read(&file(folder, item), MOST_ITEM)?)
}

/// An array's elements; none of BYTES.
fn numbers(array: &Array) -> Vec<f64> {
    crate::engine::numbers::of(array.datatype, &array.data).unwrap_or_default()
}

/// One output of an item.
fn one<'a>(outputs: &'a [(String, Array)], item: usize, name: &str) -> Result<&'a Array, LossError> {
    let found = outputs.iter().find(|(known, _)| known == name);
    found.map(|(_, array)| array).ok_or_else(|| LossError::Shape { item, name: name.to_owned() })
}
