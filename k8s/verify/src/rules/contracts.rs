//! What controllers ask of objects beyond their schemas: annotations that they read, fields that must fit each other. Nobody refuses
//! these when they are applied; they do nothing, or something else than meant.

mod annotations;
mod authorization;
mod gitops;
mod istio;
mod keda;
mod kserve;
mod monitors;
mod sealed;
mod traffic;
mod vault;

use crate::failure::Failure;
use crate::world::World;

/// Says which contracts are broken.
pub fn check(world: &World, failures: &mut Vec<Failure>) {
    annotations::check(world, failures);
    istio::check(world, failures);
    traffic::check(world, failures);
    authorization::check(world, failures);
    monitors::check(world, failures);
    keda::check(world, failures);
    kserve::check(world, failures);
    vault::check(world, failures);
    sealed::check(world, failures);
    gitops::check(world, failures);
}
