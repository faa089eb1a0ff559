//! What makes variants: well-kept Python libraries in an environment of their own (`environment`), driven by our scripts in
//! `backend/optimize/`, one process a call. A job enters as JSON, a reply leaves as JSON. Next: the workshop keeps what they made.

mod environment;

pub(crate) mod recipe;

pub(crate) use environment::digest;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::process::{self, Bounds, ProcessError};
use crate::settings::ToolSettings;
use recipe::Recipe;

/// No call takes longer: entropy's histograms of a large model are the slowest.
const LONGEST: Duration = Duration::from_mins(10);
/// What a call may take past the end of the search.
const GRACE: Duration = Duration::from_secs(30);
/// Nodes whose loss is looked at in the whole model, which takes some tenths of a second for each.
const WORST: usize = 16;
/// Bytes of a reply: names of nodes, mostly.
const MOST_SAID: u64 = 64 << 20;

/// The tools' environment, ready.
pub(crate) struct Tools {
    python: PathBuf,
    script: PathBuf,
    /// Of the scripts, which go with this.
    _scripts: TempDir,
    /// Where what libraries print goes.
    log: PathBuf,
    /// ONNX Runtime's library in it.
    pub(crate) onnxruntime: PathBuf,
    pub(crate) versions: BTreeMap<String, String>,
    /// When the search should be over: no call takes much longer.
    until: Instant,
}

/// A call that came to nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ToolError {
    #[error("the tools can't be set up: {0}")]
    Environment(String),
    #[error("{verb}: {reason}")]
    Call { verb: &'static str, reason: String },
    #[error("stopped")]
    Stopped,
}

/// What a model is made of.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
pub(crate) struct Inspected {
    /// Operators by kind.
    pub(crate) ops: BTreeMap<String, u64>,
    pub(crate) weights_bytes: u64,
    pub(crate) nodes: Vec<Node>,
    /// An ensemble of trees, if it is one.
    pub(crate) trees: Option<Trees>,
    /// Feed-forward parts whose width can be pruned.
    #[serde(default)]
    pub(crate) ffn: Vec<Value>,
    /// Attentions whose heads can be.
    #[serde(default)]
    pub(crate) heads: Vec<Value>,
}

/// One operator.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub(crate) struct Node {
    pub(crate) op: String,
    pub(crate) weights_bytes: u64,
}

/// An ensemble.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub(crate) struct Trees {
    pub(crate) count: u64,
}

/// Where its time goes.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Profile {
    /// Shares by kind of operator.
    pub(crate) by_op: BTreeMap<String, f64>,
}

/// What a rewrite did.
#[derive(Debug, Deserialize)]
pub(crate) struct Rewritten {
    pub(crate) changed: bool,
}

/// What quantizing or pruning did.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
pub(crate) struct Made {
    /// Nodes that stayed as they were, and why.
    #[serde(default)]
    pub(crate) left: Vec<LeftAlone>,
    /// Entries of the session's configuration that it needs.
    #[serde(default)]
    pub(crate) session: BTreeMap<String, String>,
}

/// A node that stayed as it was.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub(crate) struct LeftAlone {
    pub(crate) node: String,
    pub(crate) op: String,
    pub(crate) why: String,
}

#[derive(Deserialize)]
struct Sensitivity {
    nodes: Vec<(String, f64)>,
}

/// Where the environment lies or is made, and where the tools may write.
pub(crate) struct Folders {
    pub(crate) tools: PathBuf,
    pub(crate) work: PathBuf,
}

impl Tools {
    /// Makes the environment, unless it is there.
    ///
    /// # Errors
    /// `Environment`: no fitting Python, or packages that can't be had.
    pub(crate) fn ready(
        settings: &ToolSettings,
        folders: &Folders,
        until: Instant,
        stop: &AtomicBool,
    ) -> Result<Self, ToolError> {
        let place =
            environment::ready(&settings.python, &folders.tools, stop).map_err(ToolError::Environment)?;
        let written = (|| {
            std::fs::create_dir_all(&folders.work)?;
            let scripts = tempfile::tempdir()?;
            Ok((environment::scripts(scripts.path())?, scripts))
        })();
        let (script, scripts) = written.map_err(|error: std::io::Error| {
            ToolError::Environment(format!("their scripts can't be written: {error}"))
        })?;
        let mut tools = Self {
            python: place.python,
            script,
            _scripts: scripts,
            log: folders.work.join("tools.log"),
            onnxruntime: place.onnxruntime,
            versions: BTreeMap::new(),
            until,
        };
        tools.versions = tools.call("versions", &json!({}), stop)?;
        environment::check(&tools.versions).map_err(ToolError::Environment)?;
        Ok(tools)
    }

    /// What a model is made of.
    ///
    /// # Errors
    /// It can't be read.
    pub(crate) fn inspect(&self, model: &Path, stop: &AtomicBool) -> Result<Inspected, ToolError> {
        self.call("inspect", &json!({"model": model}), stop)
    }

    /// Where a model's time goes; `scratch` is a folder that may be written to.
    ///
    /// # Errors
    /// It can't be run.
    pub(crate) fn profile(
        &self,
        model: &Path,
        samples: &Path,
        scratch: &Path,
        stop: &AtomicBool,
    ) -> Result<Profile, ToolError> {
        let job = json!({"model": model, "samples": samples, "count": 8, "session": {}, "scratch": scratch});
        self.call("profile", &job, stop)
    }

    /// Applies one exact rewrite.
    ///
    /// # Errors
    /// It can't be applied.
    pub(crate) fn rewrite(
        &self,
        model: &Path,
        out: &Path,
        pass: &str,
        stop: &AtomicBool,
    ) -> Result<Rewritten, ToolError> {
        self.call("rewrite", &json!({"model": model, "out": out, "pass": pass}), stop)
    }

    /// Makes a model fit to be quantized.
    ///
    /// # Errors
    /// It can't be.
    pub(crate) fn prepare(&self, model: &Path, out: &Path, stop: &AtomicBool) -> Result<(), ToolError> {
        self.call::<Value>("prepare", &json!({"model": model, "out": out}), stop).map(drop)
    }

    /// Ranges of a prepared model's activations.
    ///
    /// # Errors
    /// It can't be run on the samples.
    pub(crate) fn ranges(
        &self,
        model: &Path,
        samples: &Path,
        method: &str,
        out: &Path,
        stop: &AtomicBool,
    ) -> Result<(), ToolError> {
        let job = json!({"model": model, "samples": samples, "method": method, "out": out});
        self.call::<Value>("ranges", &job, stop).map(drop)
    }

    /// Nodes by how much INT8 changes what they give, the worst first.
    ///
    /// # Errors
    /// It can't be run on the samples.
    pub(crate) fn sensitivity(
        &self,
        from: &Source<'_>,
        recipe: &Recipe,
        stop: &AtomicBool,
    ) -> Result<Vec<String>, ToolError> {
        let Source { model, samples, ranges } = *from;
        let job = json!({"model": model, "samples": samples, "ranges": ranges, "recipe": recipe});
        let ask = |by: &str, among: &[String]| -> Result<Vec<String>, ToolError> {
            let mut job = job.clone();
            job["by"] = by.into();
            job["among"] = among.into();
            let said: Sensitivity = self.call("sensitivity", &job, stop)?;
            Ok(said.nodes.into_iter().map(|(node, _)| node).collect())
        };
        // At its own output a node's loss is found in one run of all, at the model's in runs of its own: of the worst alone.
        let nodes = ask("node", &[])?;
        let mut worst = ask("output", &nodes[..nodes.len().min(WORST)])?;
        worst.extend(nodes.into_iter().skip(WORST));
        Ok(worst)
    }

    /// Makes a variant by its recipe.
    ///
    /// # Errors
    /// The recipe doesn't fit the model.
    pub(crate) fn make(
        &self,
        from: &Source<'_>,
        recipe: &Recipe,
        out: &Path,
        stop: &AtomicBool,
    ) -> Result<Made, ToolError> {
        let Source { model, samples, ranges } = *from;
        if recipe.prunes() {
            return self.call(
                "prune",
                &json!({"model": model, "out": out, "recipe": recipe, "samples": samples}),
                stop,
            );
        }
        self.call("quantize", &json!({"model": model, "out": out, "recipe": recipe, "ranges": ranges}), stop)
    }

    fn call<R: DeserializeOwned>(
        &self,
        verb: &'static str,
        job: &Value,
        stop: &AtomicBool,
    ) -> Result<R, ToolError> {
        let failed = |reason: String| ToolError::Call { verb, reason };
        let log = File::options().create(true).append(true).open(&self.log);
        let log = log.map_err(|error| failed(format!("can't write {}: {error}", self.log.display())))?;
        let mut python = Command::new(&self.python);
        python.args(["-I", "-B"]).arg(&self.script).arg(verb).stderr(log);
        let left = self.until.saturating_duration_since(Instant::now());
        let bounds = Bounds { time: LONGEST.min(left + GRACE), output: MOST_SAID, stop };
        let left = process::run(python, job.to_string().as_bytes(), bounds).map_err(|error| match error {
            ProcessError::Stopped => ToolError::Stopped,
            other => failed(other.to_string()),
        })?;
        let said = String::from_utf8_lossy(&left.output);
        let last = said.lines().last().unwrap_or_default();
        if left.status.success() {
            return serde_json::from_str(last)
                .map_err(|error| failed(format!("an answer that can't be read: {error}")));
        }
        let told = serde_json::from_str::<Value>(last).ok();
        let told = told.as_ref().and_then(|value| value["error"].as_str());
        let nothing = || format!("ended with {}; see {}", left.status, self.log.display());
        Err(failed(told.map_or_else(nothing, str::to_owned)))
    }
}

/// What variants are made of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(crate) model: &'a Path,
    pub(crate) samples: &'a Path,
    pub(crate) ranges: Option<&'a Path>,
}
