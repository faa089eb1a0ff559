//! Arithmetic of rollouts: numbers that are each right and don't fit each other. A rollout that can never go on, a budget that never
//! lets go, a pod that is killed before it has ended or before it has begun.

mod budgets;
mod ends;
mod quotas;
mod rollouts;
mod starts;

use crate::{Failure, World};

/// Says which numbers don't fit.
pub fn check(world: &World, failures: &mut Vec<Failure>) {
    rollouts::check(world, failures);
    budgets::check(world, failures);
    ends::check(world, failures);
    starts::check(world, failures);
    quotas::check(world, failures);
}
