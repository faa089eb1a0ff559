//! What the judge is asked, and what it says: JSON on its standard input and output.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A job: what to do with models of a repository.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Job {
    /// ONNX Runtime's library.
    pub(crate) library: PathBuf,
    pub(crate) intra_op_threads: usize,
    pub(crate) root: PathBuf,
    pub(crate) model: String,
    /// Folder with each item's inputs.
    pub(crate) inputs: PathBuf,
    pub(crate) task: Task,
}

/// What is wanted of versions of the model.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Task {
    /// Compute all items; outputs go to a folder, named as the inputs are.
    Outputs { version: u64, outputs: PathBuf },
    /// Time two versions in turns.
    Speed { original: u64, variant: u64, batch: usize, time: Duration },
    /// Load a version, run it, and look at what it holds.
    Footprint { version: u64 },
}

/// What came of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Said {
    Outputs,
    Speed(Vec<Round>),
    Footprint(Footprint),
    /// One line.
    Failed(String),
}

/// One run of each, one right after the other. Seconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Round {
    pub(crate) original: Took,
    pub(crate) variant: Took,
}

/// What a run took, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Took {
    pub(crate) cpu: f64,
    pub(crate) wall: f64,
}

/// What a loaded version costs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Footprint {
    /// Seconds until it can be asked.
    pub(crate) load: f64,
    /// Bytes that are resident after it ran.
    pub(crate) resident: u64,
}
