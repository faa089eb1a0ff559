//! What is found of a version, each once: exact rewrites, ranges, sensitivities and profiles by the tools; losses, speeds and footprints
//! by the judge. Next: `search` goes by it, `verdict` decides by it.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use super::{ORIGINAL, Split, WorkError, Workshop, json, whole};
use crate::optimize::judge::Footprint;
use crate::optimize::loss::{Compared, Loss, Measure};
use crate::optimize::speed::Speed;
use crate::optimize::tools::recipe::Recipe;
use crate::optimize::tools::{Profile, Source};
use crate::settings::Metric;

impl Workshop<'_> {
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
        // What a hybrid keeps is of its static part.
        let recipe = &match recipe {
            Recipe::Hybrid { r#static, .. } => Recipe::Static(r#static.clone()),
            recipe => recipe.clone(),
        };
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
            let inputs = shop.inputs(Split::Few);
            let (original, variant) =
                (shop.outputs(ORIGINAL, Split::Few)?, shop.outputs(number, Split::Few)?);
            let items = shop.items(Split::Few);
            let compared = Compared { items, inputs: &inputs, original: &original, variant: &variant };
            let measure = Measure { metric: Metric::Error, ..shop.measure };
            Ok(measure.loss(compared, shop.stop)?)
        })
    }

    /// What a version gives for a split, a file for each item.
    ///
    /// # Errors
    /// It can't be computed.
    pub(crate) fn outputs(&self, number: u64, split: Split) -> Result<PathBuf, WorkError> {
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
}
