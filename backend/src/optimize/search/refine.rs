//! A candidate that is nearly good -> better ones: one that loses too much gets its worst nodes back in FP32, as few as suffice; one that
//! is slow gets back the kind of operator that made it so.

use super::plans::Plan;
use super::{Base, Search, Tried};
use crate::optimize::speed::NOT_SLOWER;
use crate::optimize::tools::recipe::Recipe;
use crate::optimize::workshop::WorkError;

/// A candidate that loses more than this, and more than ten times what it may, is not worth the search.
const HOPELESS: f64 = 30.0;

impl Search<'_, '_> {
    /// Tries what may mend a candidate.
    ///
    /// # Errors
    /// As [`Search::run`].
    pub(super) fn refine(&mut self, base: &Base, plan: &Plan, tried: &Tried) -> Result<(), WorkError> {
        if tried.candidate.recipe.integers().is_none() {
            return Ok(());
        }
        if tried.speed.likely() < NOT_SLOWER {
            return self.without_a_kind(base, plan);
        }
        let hope = HOPELESS.max(10.0 * self.wanted.max_loss);
        if tried.loss.points > self.wanted.max_loss && tried.loss.points <= hope {
            return self.keeping(base, plan);
        }
        Ok(())
    }

    /// Bisects over how many of the worst nodes stay FP32.
    fn keeping(&mut self, base: &Base, plan: &Plan) -> Result<(), WorkError> {
        // Which nodes lose how much is told of ranges that were seen alone.
        if plan.method.is_none() {
            return Ok(());
        }
        let worst = match self.shop.sensitivity(base.number, &plan.recipe, plan.method) {
            Ok(worst) => worst,
            Err(error) => return self.reject(&format!("sensitivity of {plan}"), &error),
        };
        // With more than half of them back there is nothing left to gain.
        let (mut bad, mut good) = (0, worst.len() / 2 + 1);
        while good - bad > 1 && !self.is_over() {
            let middle = usize::midpoint(bad, good);
            let plan = Plan { recipe: plan.recipe.keeping(&worst[..middle]), method: plan.method };
            let tried = self.try_one(base, &plan)?;
            if tried.is_some_and(|tried| tried.loss.points <= self.wanted.max_loss) {
                good = middle;
            } else {
                bad = middle;
            }
        }
        Ok(())
    }

    /// Leaves out each kind by itself.
    fn without_a_kind(&mut self, base: &Base, plan: &Plan) -> Result<(), WorkError> {
        let Some(integers) = plan.recipe.integers().filter(|integers| integers.ops.len() > 1) else {
            return Ok(());
        };
        for kind in integers.ops.clone() {
            if self.is_over() {
                return Ok(());
            }
            let fewer = |recipe: &Recipe| {
                let mut recipe = recipe.clone();
                if let Some(integers) = recipe.integers_mut() {
                    integers.ops.retain(|op| *op != kind);
                }
                recipe
            };
            let plan = Plan { recipe: fewer(&plan.recipe), method: plan.method };
            if let Some(tried) = self.try_one(base, &plan)?
                && tried.speed.likely() >= NOT_SLOWER
                && tried.loss.points > self.wanted.max_loss
            {
                self.keeping(base, &plan)?;
            }
        }
        Ok(())
    }
}
