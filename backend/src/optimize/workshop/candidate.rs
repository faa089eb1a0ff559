//! What a recipe makes of a version -> a candidate: a further version in the workshop, which says of itself how it was made. Next:
//! `steps` find out what it loses and how fast it is.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Split, WorkError, Workshop, json, size, whole};
use crate::models::variant::{self, Variant};
use crate::optimize::install;
use crate::optimize::tools::recipe::Recipe;
use crate::optimize::tools::{Made, Source};

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

impl Workshop<'_> {
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
        let known = self.log.found::<Candidate>(&asked);
        if known.is_some_and(|candidate| !self.version(candidate.number).exists()) {
            self.log.drop(&asked);
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
}
