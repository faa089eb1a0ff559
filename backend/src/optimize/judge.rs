//! Runs models as `serve` does, in a child process: a model that ends its process ends no more than one job. What enters: versions of
//! the workshop's repository, folders of inputs. What leaves: folders of outputs, times, memory. Next: `loss` and `verdict` compare them.

pub(crate) mod child;
mod job;
mod timing;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::process::{self, Bounds, ProcessError};
use crate::settings::JUDGE;
pub(crate) use job::{Footprint, Round, Took};
use job::{Job, Said, Task};

/// No job takes longer.
const LONGEST: Duration = Duration::from_mins(10);
/// Bytes of an answer.
const MOST_SAID: u64 = 64 << 20;
/// What a child prints before its answer; what libraries print has none.
const MARK: &str = "forebay judge: ";

/// Runs versions of one model.
pub(crate) struct Judge<'a> {
    pub(crate) library: PathBuf,
    pub(crate) intra_op_threads: usize,
    /// Where its versions lie, as in any repository.
    pub(crate) root: PathBuf,
    pub(crate) model: String,
    /// Where what the children say of themselves goes.
    pub(crate) log: PathBuf,
    pub(crate) stop: &'a AtomicBool,
}

/// A job that came to nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JudgeError {
    #[error("{0}")]
    Failed(String),
    #[error("the process that ran the model ended with {0}")]
    Died(std::process::ExitStatus),
    #[error("the process that runs the model {0}")]
    Process(String),
    #[error("stopped")]
    Stopped,
}

impl Judge<'_> {
    /// Computes all items of `inputs` into `outputs`, a new folder.
    ///
    /// # Errors
    /// The version can't be loaded, or an item can't be computed.
    pub(crate) fn outputs(&self, version: u64, inputs: &Path, outputs: &Path) -> Result<(), JudgeError> {
        match self.ask(inputs, Task::Outputs { version, outputs: outputs.to_owned() })? {
            Said::Outputs => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    /// Times a variant against another version, in turns, for about that long.
    ///
    /// # Errors
    /// As [`Self::outputs`]; or the model takes no such batch.
    pub(crate) fn speed(
        &self,
        (original, variant): (u64, u64),
        inputs: &Path,
        batch: usize,
        time: Duration,
    ) -> Result<Vec<Round>, JudgeError> {
        match self.ask(inputs, Task::Speed { original, variant, batch, time })? {
            Said::Speed(rounds) => Ok(rounds),
            other => Err(unexpected(&other)),
        }
    }

    /// What a version costs to load and to hold.
    ///
    /// # Errors
    /// As [`Self::outputs`].
    pub(crate) fn footprint(&self, version: u64, inputs: &Path) -> Result<Footprint, JudgeError> {
        match self.ask(inputs, Task::Footprint { version })? {
            Said::Footprint(footprint) => Ok(footprint),
            other => Err(unexpected(&other)),
        }
    }

    fn ask(&self, inputs: &Path, task: Task) -> Result<Said, JudgeError> {
        let job = Job {
            library: self.library.clone(),
            intra_op_threads: self.intra_op_threads,
            root: self.root.clone(),
            model: self.model.clone(),
            inputs: inputs.to_owned(),
            task,
        };
        let failed = |reason: String| JudgeError::Process(reason);
        let job = serde_json::to_vec(&job).map_err(|error| failed(error.to_string()))?;
        // This very program, also where its file was replaced since it was started.
        let mut program = Command::new("/proc/self/exe");
        let log = File::options().create(true).append(true).open(&self.log);
        program.arg(JUDGE).stderr(log.map_or_else(|_| Stdio::null(), Stdio::from));
        let bounds = Bounds { time: LONGEST, output: MOST_SAID, stop: self.stop };
        let left = process::run(program, &job, bounds).map_err(|error| match error {
            ProcessError::Stopped => JudgeError::Stopped,
            other => failed(other.to_string()),
        })?;
        let text = String::from_utf8_lossy(&left.output);
        let answer = text.lines().rev().find_map(|line| line.strip_prefix(MARK));
        let Some(answer) = answer else { return Err(JudgeError::Died(left.status)) };
        match serde_json::from_str(answer)
            .map_err(|error| failed(format!("said what can't be read: {error}")))?
        {
            Said::Failed(reason) => Err(JudgeError::Failed(reason)),
            said => Ok(said),
        }
    }
}

fn unexpected(said: &Said) -> JudgeError {
    JudgeError::Process(format!("said what was not asked: {said:?}"))
}
