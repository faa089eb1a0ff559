//! Where variants are made and kept: a repository of its own with the original as version 1 and each candidate as a further one, the
//! splits as files, and what was found of each. A second run with the same model, data and machine finds all of it again.
//!
//! ```text
//! <folder>/repository/<model>/<n>/   a candidate, as it would be served
//! <folder>/splits/<split>/           inputs of its items
//! <folder>/outputs/<split>/<n>/      what a candidate gives for them
//! <folder>/ranges/                   ranges of activations, by what they are of
//! <folder>/log.jsonl                 what was done, a line each
//! ```

mod candidate;
mod log;
mod steps;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::judge::{Judge, JudgeError};
use super::loss::{self, LossError, Measure};
use super::samples::{Item, Splits};
use super::tools::recipe::Recipe;
use super::tools::{ToolError, Tools};
use crate::models::variant::{self, Variant};
pub(crate) use candidate::{Candidate, Stock};
pub(crate) use log::Log;

/// The original.
pub(crate) const ORIGINAL: u64 = 1;

/// One of the splits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Split {
    Calibrate,
    /// The first of those: enough to see whether a rewrite is exact.
    Few,
    Choose,
    Report,
}

/// Items that a rewrite is tried with.
const FEW: usize = 16;

impl Split {
    fn name(self) -> &'static str {
        match self {
            Self::Calibrate => "calibrate",
            Self::Few => "few",
            Self::Choose => "choose",
            Self::Report => "report",
        }
    }
}

/// A step that came to nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WorkError {
    #[error(transparent)]
    Tool(#[from] ToolError),
    #[error(transparent)]
    Judge(#[from] JudgeError),
    #[error(transparent)]
    Loss(#[from] LossError),
    #[error("can't write to the work folder: {0}")]
    File(#[from] io::Error),
}

impl WorkError {
    /// Whether nobody wants it any more.
    pub(crate) fn is_stop(&self) -> bool {
        matches!(
            self,
            Self::Tool(ToolError::Stopped)
                | Self::Judge(JudgeError::Stopped)
                | Self::Loss(LossError::Command(loss::CommandError::Stopped))
        )
    }

    /// Whether no other step can fare better.
    pub(crate) fn is_full_disk(&self) -> bool {
        matches!(self, Self::File(error) if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
    }
}

/// The place, and who works in it.
pub(crate) struct Workshop<'a> {
    pub(crate) folder: PathBuf,
    pub(crate) tools: &'a Tools,
    pub(crate) judge: Judge<'a>,
    pub(crate) measure: Measure<'a>,
    pub(crate) splits: Splits,
    /// The model's file in a version's folder.
    pub(crate) model_file: String,
    /// What a candidate's `variant.json` says beside what is its own.
    pub(crate) template: Variant,
    pub(crate) stop: &'a AtomicBool,
    /// What was done.
    pub(crate) log: Log,
}

impl Workshop<'_> {
    /// Writes the splits, unless they are there.
    ///
    /// # Errors
    /// The folder can't be written to.
    pub(crate) fn open(&self) -> Result<(), WorkError> {
        for split in [Split::Calibrate, Split::Few, Split::Choose, Split::Report] {
            let folder = self.inputs(split);
            fs::create_dir_all(&folder)?;
            for (at, item) in self.items(split).iter().enumerate() {
                let path = loss::file(&folder, at);
                if !path.exists() {
                    let arrays = item.inputs.iter().map(|(name, array)| (name.as_str(), array));
                    whole(&path, |draft| super::arrays::write(draft, arrays))?;
                }
            }
        }
        fs::create_dir_all(self.folder.join("ranges"))?;
        Ok(())
    }

    /// What was found before, or is found now and kept.
    ///
    /// # Errors
    /// Those of `work`.
    fn once<T: Serialize + DeserializeOwned>(
        &mut self,
        asked: String,
        work: impl FnOnce(&mut Self) -> Result<T, WorkError>,
    ) -> Result<T, WorkError> {
        if let Some(found) = self.log.found(&asked) {
            return Ok(found);
        }
        let found = work(self)?;
        self.log.note(asked, &found)?;
        Ok(found)
    }

    /// The folder of the model's versions.
    pub(crate) fn model(&self) -> PathBuf {
        self.judge.root.join(&self.judge.model)
    }

    /// A version's folder.
    pub(crate) fn version(&self, number: u64) -> PathBuf {
        self.model().join(number.to_string())
    }

    /// A version's model.
    pub(crate) fn file(&self, number: u64) -> PathBuf {
        self.version(number).join(&self.model_file)
    }

    pub(crate) fn items(&self, split: Split) -> &[Item] {
        match split {
            Split::Calibrate => &self.splits.calibrate,
            Split::Few => &self.splits.calibrate[..self.splits.calibrate.len().min(FEW)],
            Split::Choose => &self.splits.choose,
            Split::Report => &self.splits.report,
        }
    }

    pub(crate) fn inputs(&self, split: Split) -> PathBuf {
        self.folder.join("splits").join(split.name())
    }

    /// Removes what a finished run needs no more: candidates but those, and outputs.
    pub(crate) fn tidy<'a>(&self, candidates: impl Iterator<Item = &'a Candidate>, keep: &[u64]) {
        for candidate in
            candidates.filter(|candidate| candidate.recipe != Recipe::Exact && !candidate.recipe.prunes())
        {
            if !keep.contains(&candidate.number) {
                self.forget(candidate.number);
            }
        }
        let _ = fs::remove_dir_all(self.folder.join("outputs"));
    }

    /// A folder for a further version.
    fn fresh(&mut self) -> Result<u64, WorkError> {
        let number = self.log.fresh()?;
        self.file(number).parent().map_or(Ok(()), fs::create_dir_all)?;
        Ok(number)
    }

    fn forget(&self, number: u64) {
        if number != ORIGINAL {
            let _ = fs::remove_dir_all(self.version(number));
        }
    }
}

fn json(recipe: &Recipe) -> Value {
    serde_json::to_value(recipe).unwrap_or_default()
}

/// Bytes of a version that is served: all of its files but what says how it was made.
pub(crate) fn size(folder: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = fs::metadata(entry.path())?;
        bytes += match metadata.is_dir() {
            true => size(&entry.path())?,
            false if entry.file_name() == variant::FILE_NAME => 0,
            false => metadata.len(),
        };
    }
    Ok(bytes)
}

/// A file that is there whole, or not at all.
fn whole<E: From<io::Error>>(path: &Path, write: impl FnOnce(&Path) -> Result<(), E>) -> Result<(), E> {
    let draft = path.with_extension("draft");
    write(&draft)?;
    Ok(fs::rename(&draft, path)?)
}
