//! Which variants there are: the model's operators -> recipes (`plans`) -> each made, compared and timed on the choose split, those that
//! lose too much with their worst nodes left FP32 (`refine`) -> what was found. Next: `verdict` judges the best on the report split.
//!
//! Sensitivities do not add up: what several nodes lose together is measured, never summed.

pub(super) mod plans;
mod refine;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::loss::Loss;
use super::progress::Progress;
use super::speed::{NOT_SLOWER, Speed};
use super::tools::Inspected;
use super::tools::recipe::{Half, Recipe};
use super::workshop::{Candidate, ORIGINAL, Split, Stock, WorkError, Workshop};
use crate::engine::cpu::Cpu;
use crate::settings::Prefer;
use plans::{Bits, Plan};

/// Exact rewrites, in this order: to simplify moves numbers into weights, and the patterns that others look for are gone then.
const PASSES: [&str; 6] = ["opset", "gelu", "layer-norm", "one-hot", "simplify", "fold-batch-norm"];
/// What rounding may change, in points of each channel's range.
pub(super) const ROUNDING: f64 = 0.05;
/// How long a candidate is timed while it is chosen.
const QUICK: Duration = Duration::from_millis(700);

/// A candidate, as the choose split sees it.
#[derive(Debug, Clone)]
pub(crate) struct Tried {
    pub(crate) candidate: Candidate,
    pub(crate) loss: Loss,
    pub(crate) speed: Speed,
}

/// What was no candidate, and why.
#[derive(Debug, Clone)]
pub(crate) struct Rejected {
    pub(crate) what: String,
    pub(crate) why: String,
}

/// All that was found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) tried: Vec<Tried>,
    pub(crate) rejected: Vec<Rejected>,
    /// The search ended before it had tried all.
    pub(crate) was_cut: bool,
}

/// What is looked for.
pub(crate) struct Wanted {
    pub(crate) max_loss: f64,
    pub(crate) prefer: Prefer,
    /// Batch by which speed is chosen.
    pub(crate) batch: usize,
    pub(crate) until: Instant,
}

/// A search.
pub(crate) struct Search<'a, 'b> {
    shop: &'a mut Workshop<'b>,
    wanted: &'a Wanted,
    progress: &'a mut Progress,
    found: Found,
    /// A step could not be done.
    failed: bool,
    bits: Bits,
}

/// A version that candidates are made of.
#[derive(Debug, Clone)]
struct Base {
    number: u64,
    rewrites: Vec<String>,
    /// What came before, which is part of all that is made of it.
    before: Vec<Recipe>,
    session: BTreeMap<String, String>,
}

impl Base {
    fn original() -> Self {
        Self { number: ORIGINAL, rewrites: Vec::new(), before: Vec::new(), session: BTreeMap::new() }
    }
}

impl Tried {
    /// A candidate, compared and timed.
    ///
    /// # Errors
    /// It can't be computed.
    pub(crate) fn of(shop: &mut Workshop<'_>, candidate: Candidate, batch: usize) -> Result<Self, WorkError> {
        let loss = shop.loss(candidate.number, Split::Choose)?;
        let speed = shop.speed(candidate.number, batch, QUICK)?;
        Ok(Self { candidate, loss, speed })
    }
}

impl<'a, 'b> Search<'a, 'b> {
    /// One that has found nothing yet.
    pub(crate) fn new(shop: &'a mut Workshop<'b>, wanted: &'a Wanted, progress: &'a mut Progress) -> Self {
        let bits = Bits::new(Cpu::here().integers());
        Self { shop, wanted, progress, found: Found::default(), failed: false, bits }
    }

    /// Tries what there is time for.
    ///
    /// # Errors
    /// It is stopped, the disk is full, or the original itself can't be run.
    pub(crate) fn run(mut self) -> Result<Found, WorkError> {
        // What the original can't compute, no variant can.
        self.shop.loss(ORIGINAL, Split::Choose)?;
        let mut base = Base::original();
        // Trees have no operators that are rewritten, and are all of the time.
        let are_trees = self.inspected(ORIGINAL).is_ok_and(|original| original.trees.is_some());
        if !are_trees {
            base = self.rewrites(base)?;
        }
        let inspected = self.inspected(base.number)?;
        let shares = if are_trees { BTreeMap::new() } else { self.shares(base.number)? };
        self.all(&base, &plans::of(&inspected, &shares))?;
        self.on_pruned(&inspected, &shares)?;
        self.stored()?;
        Ok(self.found)
    }

    fn inspected(&self, number: u64) -> Result<Inspected, WorkError> {
        Ok(self.shop.tools.inspect(&self.shop.file(number), self.shop.stop)?)
    }

    /// Each kind's part of the time; nothing where that can't be told.
    fn shares(&mut self, number: u64) -> Result<BTreeMap<String, f64>, WorkError> {
        match self.shop.profile(number) {
            Ok(profile) => Ok(profile.by_op),
            Err(error) => self.reject("profile", &error).map(|()| BTreeMap::new()),
        }
    }

    /// Applies the exact rewrites that change nothing.
    fn rewrites(&mut self, mut base: Base) -> Result<Base, WorkError> {
        for pass in PASSES {
            self.progress.trying(&format!("rewrite {pass}"));
            let exact = self.shop.rewritten(base.number, pass).and_then(|number| {
                number.map(|number| Ok((number, self.shop.exactness(number)?))).transpose()
            });
            match exact {
                Ok(None) => {}
                Ok(Some((number, loss))) if loss.points <= ROUNDING => {
                    base =
                        Base { number, rewrites: [&base.rewrites[..], &[pass.to_owned()]].concat(), ..base };
                }
                Ok(Some((_, loss))) => self.note(
                    format!("rewrite {pass}"),
                    format!(
                        "it is not exact: {:.3} points of {} differ",
                        loss.points,
                        loss.worst.unwrap_or_default()
                    ),
                ),
                Err(error) => self.reject(&format!("rewrite {pass}"), &error)?,
            }
        }
        if base.number == ORIGINAL {
            return Ok(base);
        }
        // What ONNX Runtime fuses by itself it may not find any more.
        match self.try_one(&base, &Plan::of(Recipe::Exact))? {
            Some(Tried { speed, .. }) if speed.likely() < NOT_SLOWER => {
                let why = format!("{:.2}x as fast: the others are made of the original", speed.likely());
                self.note(base.rewrites.join(", "), why);
                Ok(Base::original())
            }
            _ => Ok(base),
        }
    }

    /// Tries each plan, and what can be made of it.
    fn all(&mut self, base: &Base, plans: &[Plan]) -> Result<(), WorkError> {
        for plan in plans {
            if self.is_over() {
                return Ok(());
            }
            if plan.is_of_other_ranges() && self.is_kept_by_least_and_most(base) {
                continue;
            }
            let Some((plan, tried)) = self.with_the_better_bits(base, plan)? else { continue };
            self.refine(base, &plan, &tried)?;
        }
        Ok(())
    }

    /// Tries a plan with as many bits as lose the least. As fast are all, and as large.
    fn with_the_better_bits(&mut self, base: &Base, plan: &Plan) -> Result<Option<(Plan, Tried)>, WorkError> {
        let mut best: Option<(Plan, Tried)> = None;
        for plan in self.bits.of(plan) {
            let Some(tried) = self.try_one(base, &plan)? else { continue };
            if best.as_ref().is_none_or(|(_, best)| tried.loss.points < best.loss.points) {
                best = Some((plan, tried));
            }
        }
        if let Some((plan, _)) = &best {
            self.bits.note(&plan.recipe);
        }
        Ok(best)
    }

    /// Whether ranges from the least to the most value lose so little that no others need to be looked for.
    fn is_kept_by_least_and_most(&self, base: &Base) -> bool {
        self.found.tried.iter().any(|tried| {
            tried.candidate.method.as_deref() == Some(plans::LEAST_AND_MOST)
                && tried.candidate.before == base.before
                && tried.loss.points <= self.wanted.max_loss / 4.0
        })
    }

    /// The same on the best of what was pruned.
    fn on_pruned(&mut self, inspected: &Inspected, shares: &BTreeMap<String, f64>) -> Result<(), WorkError> {
        let Some(pruned) = self.best(|recipe| matches!(recipe, Recipe::Width { .. } | Recipe::Heads { .. }))
        else {
            return Ok(());
        };
        let plans = plans::of(inspected, shares);
        let plans: Vec<Plan> = plans.into_iter().filter(|plan| !plan.recipe.prunes()).collect();
        self.all(&pruned, &plans)
    }

    /// What the best of INT8 left as FP32, stored with 16 bits.
    fn stored(&mut self) -> Result<(), WorkError> {
        let Some(base) = self.best(|recipe| recipe.integers().is_some()) else { return Ok(()) };
        self.all(&base, &[Plan::of(Recipe::Storage { r#type: Half::Fp16, keep: Vec::new() })])
    }

    /// The fastest of those recipes that lose no more than they may, to make others of.
    fn best(&self, is_one: impl Fn(&Recipe) -> bool) -> Option<Base> {
        let good = self.found.tried.iter().filter(|tried| {
            is_one(&tried.candidate.recipe)
                && tried.loss.points <= self.wanted.max_loss
                && tried.speed.likely() >= NOT_SLOWER
        });
        let best = good.max_by(|one, other| one.speed.likely().total_cmp(&other.speed.likely()))?;
        let candidate = &best.candidate;
        Some(Base {
            number: candidate.number,
            rewrites: candidate.rewrites.clone(),
            before: [&candidate.before[..], std::slice::from_ref(&candidate.recipe)].concat(),
            session: candidate.made.session.clone(),
        })
    }

    /// Makes a candidate, compares and times it. `None`: it can't be made, and `found` says why.
    fn try_one(&mut self, base: &Base, plan: &Plan) -> Result<Option<Tried>, WorkError> {
        let what = plan.to_string();
        self.progress.trying(&what);
        match self.tried(base, plan) {
            Ok(tried) => {
                self.progress.found(&tried);
                self.found.tried.push(tried.clone());
                Ok(Some(tried))
            }
            Err(error) => {
                self.reject(&what, &error)?;
                Ok(None)
            }
        }
    }

    fn tried(&mut self, base: &Base, plan: &Plan) -> Result<Tried, WorkError> {
        let from = Stock {
            version: base.number,
            rewrites: &base.rewrites,
            before: &base.before,
            session: &base.session,
        };
        let candidate = self.shop.made(&from, &plan.recipe, plan.method)?;
        Tried::of(self.shop, candidate, self.wanted.batch)
    }

    /// Notes that a step failed; what ends all steps goes on.
    fn reject(&mut self, what: &str, error: &WorkError) -> Result<(), WorkError> {
        if error.is_stop() || error.is_full_disk() {
            return Err(match error {
                error if error.is_stop() => WorkError::Tool(super::tools::ToolError::Stopped),
                _ => WorkError::File(std::io::ErrorKind::StorageFull.into()),
            });
        }
        self.failed = true;
        self.note(what.to_owned(), error.to_string());
        Ok(())
    }

    fn note(&mut self, what: String, why: String) {
        self.progress.rejected(&what, &why);
        self.found.rejected.push(Rejected { what, why });
    }

    fn is_over(&mut self) -> bool {
        // The likeliest is tried however long what came before it took, unless that was for a fault.
        let is_first =
            !self.failed && self.found.tried.iter().all(|tried| tried.candidate.recipe == Recipe::Exact);
        let over = !is_first && Instant::now() > self.wanted.until;
        self.found.was_cut |= over;
        over
    }
}
