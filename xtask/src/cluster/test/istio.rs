//! Istio as k8s/istio has it: its own istiod, webhook and agents with stock Envoy as the proxy; our objects, in which nothing is filled in
//! but what a user fills in.
//!
//! The mesh comes up with the first of these checks that is run; each leaves it as it found it, and no proxy with an update that it
//! refused.

mod analysis;
mod ask;
mod caching;
mod control;
mod elsewhere;
mod examples;
mod failover;
mod mesh;
mod mistakes;
mod objects;
mod proxy;
mod update;

use anyhow::Result;

use super::bed::Bed;
use mesh::Mesh;

/// # Errors
/// The mesh does not come up, or a proxy does not get what it should.
pub(super) fn comes_up(bed: &Bed<'_>) -> Result<String> {
    Mesh::of(bed)?.described()
}

/// # Errors
/// Istio's own analysis finds what no page explains.
pub(super) fn analyzed(bed: &Bed<'_>) -> Result<String> {
    held(bed, analysis::all)
}

/// # Errors
/// A request is not answered, or not from where it should be.
pub(super) fn caching(bed: &Bed<'_>) -> Result<String> {
    held(bed, caching::all)
}

/// # Errors
/// One who shows no certificate is answered, or one who may not ask.
pub(super) fn strict(bed: &Bed<'_>) -> Result<String> {
    held(bed, failover::strict)
}

/// # Errors
/// A held request is not answered, or requests go on through the gate.
pub(super) fn failover(bed: &Bed<'_>) -> Result<String> {
    held(bed, failover::over_and_back)
}

/// # Errors
/// A proxy that can't fetch the module refuses requests.
pub(super) fn registry_away(bed: &Bed<'_>) -> Result<String> {
    held(bed, mistakes::registry_away)
}

/// # Errors
/// A proxy that runs refuses requests.
pub(super) fn wrong_digest(bed: &Bed<'_>) -> Result<String> {
    held(bed, mistakes::wrong_digest)
}

/// # Errors
/// A policy that comes after wrong settings is not enforced.
pub(super) fn wrong_settings(bed: &Bed<'_>) -> Result<String> {
    held(bed, mistakes::wrong_settings)
}

/// # Errors
/// It is refused.
pub(super) fn large_body(bed: &Bed<'_>) -> Result<String> {
    held(bed, mistakes::large_body)
}

/// # Errors
/// More is lost than the request at which the filter traps.
pub(super) fn trap(bed: &Bed<'_>) -> Result<String> {
    held(bed, mistakes::trap)
}

/// # Errors
/// Another share goes there, or what it computed is given when it is gone.
pub(super) fn canary(bed: &Bed<'_>) -> Result<String> {
    held(bed, examples::canary)
}

/// # Errors
/// A model's requests go to other backends than its own.
pub(super) fn on_demand(bed: &Bed<'_>) -> Result<String> {
    held(bed, examples::on_demand)
}

/// # Errors
/// A principal is answered with what another one asked.
pub(super) fn inbound(bed: &Bed<'_>) -> Result<String> {
    held(bed, elsewhere::inbound)
}

/// # Errors
/// A request is not answered, or no hit comes.
pub(super) fn extension(bed: &Bed<'_>) -> Result<String> {
    held(bed, elsewhere::extension)
}

/// # Errors
/// A request fails.
pub(super) fn hot_update(bed: &Bed<'_>) -> Result<String> {
    held(bed, update::hot)
}

/// Runs a check in the mesh, after which every proxy has what it was sent.
fn held(bed: &Bed<'_>, check: impl FnOnce(&Mesh<'_>) -> Result<String>) -> Result<String> {
    let mesh = Mesh::of(bed)?;
    let found = check(&mesh)?;
    Ok(format!("{found}; {}", mesh.none_refused()?))
}
