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

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::install;
use super::judge::{Footprint, Judge, JudgeError};
use super::loss::{self, Compared, Loss, LossError, Measure};
use super::samples::{Item, Splits};
use super::speed::Speed;
use super::tools::recipe::Recipe;
use super::tools::{Made, Profile, Source, ToolError, Tools};
use crate::models::variant::{self, Variant};

/// What was done, in the workshop's folder.
const LOG: &str = "log.jsonl";
/// The highest version that there ever was, among it.
const LAST: &str = "last";
/// The original.
pub(crate) const ORIGINAL: u64 = 1;

/// One of the splits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Split {
    Calibrate,
    Choose,
    Report,
}

impl Split {
    fn name(self) -> &'static str {
        match self {
            Self::Calibrate => "calibrate",
            Self::Choose => "choose",
            Self::Report => "report",
        }
    }
}

/// Something lighter than the original, perhaps.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Candidate {
    /// Its version in the workshop.
    pub(crate) number: u64,
    pub(crate) recipe: Recipe,
    /// How ranges were found, of a static recipe.
    pub(crate) method: Option<String>,
    /// Exact rewrites that came before.
    pub(crate) rewrites: Vec<String>,
    /// Other recipes that came before.
    pub(crate) before: Vec<Recipe>,
    pub(crate) made: Made,
    /// Bytes of its files.
    pub(crate) bytes: u64,
}

impl std::fmt::Display for Candidate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.before.iter().try_for_each(|recipe| write!(f, "{recipe}, then "))?;
        write!(f, "{}", self.recipe)?;
        self.method.as_ref().map_or(Ok(()), |method| write!(f, ", ranges by {method}"))
    }
}

/// What candidates are made of: a version, and what was done to it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stock<'a> {
    pub(crate) version: u64,
    pub(crate) rewrites: &'a [String],
    pub(crate) before: &'a [Recipe],
    /// What its session needs.
    pub(crate) session: &'a BTreeMap<String, String>,
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
    /// What was done, by what was asked.
    pub(crate) done: BTreeMap<String, Value>,
    /// The highest version.
    pub(crate) last: u64,
}

impl Workshop<'_> {
    /// Writes the splits, unless they are there, and reads what was done before.
    ///
    /// # Errors
    /// The folder can't be written to.
    pub(crate) fn open(&mut self) -> Result<(), WorkError> {
        for split in [Split::Calibrate, Split::Choose, Split::Report] {
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
        let lines = fs::read_to_string(self.folder.join(LOG)).unwrap_or_default();
        for line in lines.lines() {
            // The last may be torn.
            if let Ok((asked, found)) = serde_json::from_str::<(String, Value)>(line) {
                self.done.insert(asked, found);
            }
        }
        if !lines.is_empty() && !lines.ends_with('\n') {
            // What is written next is a line of its own.
            File::options().append(true).open(self.folder.join(LOG))?.write_all(b"\n")?;
        }
        self.last = self.done.get(LAST).and_then(Value::as_u64).unwrap_or(ORIGINAL);
        Ok(())
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
            Split::Choose => &self.splits.choose,
            Split::Report => &self.splits.report,
        }
    }

    pub(crate) fn inputs(&self, split: Split) -> PathBuf {
        self.folder.join("splits").join(split.name())
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
        if let Some(found) =
            self.done.get(&asked).and_then(|found| serde_json::from_value(found.clone()).ok())
        {
            return Ok(found);
        }
        let found = work(self)?;
        let value = serde_json::to_value(&found).map_err(io::Error::other)?;
        self.note(asked, value)?;
        Ok(found)
    }

    fn note(&mut self, asked: String, found: Value) -> Result<(), WorkError> {
        let mut log = File::options().create(true).append(true).open(self.folder.join(LOG))?;
        let line = serde_json::to_string(&(&asked, &found)).map_err(io::Error::other)?;
        log.write_all(format!("{line}\n").as_bytes())?;
        self.done.insert(asked, found);
        Ok(())
    }

    /// Makes a version of another by an exact rewrite; `None` where there was nothing to rewrite.
    ///
    /// # Errors
    /// It can't be rewritten.
    pub(crate) fn rewritten(&mut self, of: u64, pass: &str) -> Result<Option<u64>, WorkError> {
        self.once(format!("rewrite {of} {pass}"), |shop| {
            let number = shop.fresh()?;
            let rewritten = shop.tools.rewrite(&shop.file(of), &shop.file(number), pass, shop.stop);
            let changed = rewritten.inspect_err(|_| shop.forget(number))?.changed;
            if !changed {
                shop.forget(number);
            }
            Ok(changed.then_some(number))
        })
    }

    /// Makes a version fit to be quantized.
    ///
    /// # Errors
    /// It can't be.
    pub(crate) fn prepared(&mut self, of: u64) -> Result<PathBuf, WorkError> {
        let number: u64 = self.once(format!("prepare {of}"), |shop| {
            let number = shop.fresh()?;
            shop.tools
                .prepare(&shop.file(of), &shop.file(number), shop.stop)
                .inspect_err(|_| shop.forget(number))?;
            Ok(number)
        })?;
        Ok(self.file(number))
    }

    /// Ranges of what a version computes.
    ///
    /// # Errors
    /// It can't be run.
    pub(crate) fn ranges(&mut self, of: u64, method: &str) -> Result<PathBuf, WorkError> {
        let path = self.folder.join("ranges").join(format!("{of}-{method}.json"));
        if !path.exists() {
            let (model, samples) = (self.prepared(of)?, self.inputs(Split::Calibrate));
            whole(&path, |draft| {
                let made = self.tools.ranges(&model, &samples, method, draft, self.stop);
                made.map_err(WorkError::from)
            })?;
        }
        Ok(path)
    }

    /// Nodes of a version by how much it costs to make them INT8, the worst first.
    ///
    /// # Errors
    /// It can't be run.
    pub(crate) fn sensitivity(
        &mut self,
        of: u64,
        recipe: &Recipe,
        method: Option<&str>,
    ) -> Result<Vec<String>, WorkError> {
        let model = self.prepared(of)?;
        let ranges = method.map(|method| self.ranges(of, method)).transpose()?;
        self.once(format!("sensitivity {of} {} {method:?}", json(recipe)), |shop| {
            let samples = shop.inputs(Split::Calibrate);
            let from = Source { model: &model, samples: &samples, ranges: ranges.as_deref() };
            Ok(shop.tools.sensitivity(&from, recipe, shop.stop)?)
        })
    }

    /// Where a version's time goes.
    ///
    /// # Errors
    /// It can't be run.
    pub(crate) fn profile(&self, of: u64) -> Result<Profile, WorkError> {
        let (samples, scratch) = (self.inputs(Split::Calibrate), tempfile::tempdir_in(&self.folder)?);
        Ok(self.tools.profile(&self.file(of), &samples, scratch.path(), self.stop)?)
    }

    /// Makes a candidate.
    ///
    /// # Errors
    /// The recipe doesn't fit, or a tool fails.
    pub(crate) fn made(
        &mut self,
        from: &Stock<'_>,
        recipe: &Recipe,
        method: Option<&str>,
    ) -> Result<Candidate, WorkError> {
        let of = from.version;
        let asked = format!("make {of} {} {method:?}", json(recipe));
        // One that was tidied away is made again.
        let known = self.done.get(&asked).and_then(|candidate| candidate["number"].as_u64());
        if known.is_some_and(|number| !self.version(number).exists()) {
            self.done.remove(&asked);
        }
        self.once(asked, |shop| {
            let number = if *recipe == Recipe::Exact { of } else { shop.fresh()? };
            let made = shop.make(of, number, recipe, method).inspect_err(|_| shop.forget(number))?;
            let candidate = Candidate {
                number,
                recipe: recipe.clone(),
                method: method.map(str::to_owned),
                rewrites: from.rewrites.to_vec(),
                before: from.before.to_vec(),
                bytes: 0,
                made: Made {
                    session: from.session.clone().into_iter().chain(made.session).collect(),
                    ..made
                },
            };
            shop.describe(&candidate, &shop.template)?;
            Ok(Candidate { bytes: size(&shop.version(number))?, ..candidate })
        })
    }

    fn make(
        &mut self,
        of: u64,
        number: u64,
        recipe: &Recipe,
        method: Option<&str>,
    ) -> Result<Made, WorkError> {
        if *recipe == Recipe::Exact {
            return Ok(Made::default());
        }
        // What is stored otherwise may be quantized already, and is taken as it is.
        let model = if matches!(recipe, Recipe::Storage { .. }) { self.file(of) } else { self.prepared(of)? };
        let ranges = method.map(|method| self.ranges(of, method)).transpose()?;
        let samples = self.inputs(Split::Calibrate);
        let from = Source { model: &model, samples: &samples, ranges: ranges.as_deref() };
        Ok(self.tools.make(&from, recipe, &self.file(number), self.stop)?)
    }

    /// Takes a variant in as it was installed, as a candidate that nothing is known of.
    ///
    /// # Errors
    /// Its files can't be read.
    pub(crate) fn adopted(&mut self, folder: &Path) -> Result<Candidate, WorkError> {
        let number = self.fresh()?;
        install::copy(folder, &self.version(number)).map_err(io::Error::other)?;
        let text = fs::read(folder.join(variant::FILE_NAME))?;
        let variant = Variant::read(&text).map_err(io::Error::other)?;
        let recipes = serde_json::from_value::<Vec<Recipe>>(variant.recipe.clone());
        let recipes = recipes.or_else(|_| serde_json::from_value(variant.recipe).map(|recipe| vec![recipe]));
        let mut before = recipes.map_err(io::Error::other)?;
        let recipe = before.pop().unwrap_or(Recipe::Exact);
        let bytes = size(&self.version(number))?;
        Ok(Candidate {
            number,
            recipe,
            method: None,
            rewrites: variant.rewrites,
            before,
            made: Made::default(),
            bytes,
        })
    }

    /// Writes a candidate's `variant.json`.
    ///
    /// # Errors
    /// It can't be written, or asks for what a session may not be asked for.
    pub(crate) fn describe(&self, candidate: &Candidate, template: &Variant) -> Result<(), WorkError> {
        let session = candidate.made.session.clone().try_into().map_err(io::Error::other)?;
        let recipes: Vec<Value> = candidate.before.iter().chain([&candidate.recipe]).map(json).collect();
        let recipe = if recipes.len() == 1 { recipes[0].clone() } else { Value::Array(recipes) };
        let variant = Variant { recipe, rewrites: candidate.rewrites.clone(), session, ..template.clone() };
        let text = variant.write().map_err(io::Error::other)?;
        whole(&self.version(candidate.number).join(variant::FILE_NAME), |draft| fs::write(draft, &text))?;
        Ok(())
    }

    /// What a version loses on a split, against the original.
    ///
    /// # Errors
    /// It can't be computed, or compared.
    pub(crate) fn loss(&mut self, number: u64, split: Split) -> Result<Loss, WorkError> {
        self.once(format!("loss {number} {} {}", split.name(), self.measure.metric), |shop| {
            let inputs = shop.inputs(split);
            let (original, variant) = (shop.outputs(ORIGINAL, split)?, shop.outputs(number, split)?);
            let items = shop.items(split);
            let compared = Compared { items, inputs: &inputs, original: &original, variant: &variant };
            let loss = shop.measure.loss(compared, shop.stop);
            // They are as large as the data, and are not looked at again.
            if number != ORIGINAL {
                let _ = fs::remove_dir_all(&variant);
            }
            Ok(loss?)
        })
    }

    /// Whether a version gives what the original gives, but for rounding.
    ///
    /// # Errors
    /// It can't be computed.
    pub(crate) fn exactness(&mut self, number: u64) -> Result<Loss, WorkError> {
        self.once(format!("exactness {number}"), |shop| {
            let inputs = shop.inputs(Split::Calibrate);
            let original = shop.outputs(ORIGINAL, Split::Calibrate)?;
            let variant = shop.outputs(number, Split::Calibrate)?;
            let items = shop.items(Split::Calibrate);
            let compared = Compared { items, inputs: &inputs, original: &original, variant: &variant };
            let measure = Measure { metric: crate::settings::Metric::Error, ..shop.measure };
            Ok(measure.loss(compared, shop.stop)?)
        })
    }

    fn outputs(&self, number: u64, split: Split) -> Result<PathBuf, WorkError> {
        let folder = self.folder.join("outputs").join(split.name()).join(number.to_string());
        if !folder.exists() {
            let draft = folder.with_extension("draft");
            let _ = fs::remove_dir_all(&draft);
            self.judge.outputs(number, &self.inputs(split), &draft)?;
            fs::rename(&draft, &folder)?;
        }
        Ok(folder)
    }

    /// How fast a version is against the original.
    ///
    /// # Errors
    /// It can't be run with such a batch.
    pub(crate) fn speed(&mut self, number: u64, batch: usize, time: Duration) -> Result<Speed, WorkError> {
        self.once(format!("speed {number} {batch} {}", time.as_millis()), |shop| {
            let inputs = shop.inputs(Split::Choose);
            let rounds = shop.judge.speed((ORIGINAL, number), &inputs, batch, time)?;
            Ok(Speed::of(&rounds, batch, shop.measure.seed))
        })
    }

    /// What a version costs to load and to hold.
    ///
    /// # Errors
    /// It can't be run.
    pub(crate) fn footprint(&mut self, number: u64) -> Result<Footprint, WorkError> {
        self.once(format!("footprint {number}"), |shop| {
            Ok(shop.judge.footprint(number, &shop.inputs(Split::Choose))?)
        })
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
        self.last += 1;
        // Noted first: a number that had a version is never another's, for what was found is kept by number.
        self.note(LAST.to_owned(), self.last.into())?;
        let file = self.file(self.last);
        file.parent().map_or(Ok(()), fs::create_dir_all)?;
        Ok(self.last)
    }

    fn forget(&self, number: u64) {
        if number != ORIGINAL {
            let _ = fs::remove_dir_all(self.version(number));
        }
    }
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

fn json(recipe: &Recipe) -> Value {
    serde_json::to_value(recipe).unwrap_or_default()
}

/// A file that is there whole, or not at all.
fn whole<E: From<io::Error>>(path: &Path, write: impl FnOnce(&Path) -> Result<(), E>) -> Result<(), E> {
    let draft = path.with_extension("draft");
    write(&draft)?;
    Ok(fs::rename(&draft, path)?)
}
