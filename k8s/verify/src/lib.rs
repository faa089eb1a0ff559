//! Judges Kubernetes manifests before a cluster sees them. Files enter ([`read`]), objects leave ([`object`]), the families of
//! [`rules`] look at the whole [`World`] of them, and what is wrong leaves as [`Failure`]s: one line each, with what would be right.

mod entries;
pub mod failure;
pub mod object;
pub mod outsiders;
pub mod path;
pub mod project;
pub mod read;
pub mod rules;
pub mod schema;
pub mod skips;
pub mod tools;
pub mod world;

pub use failure::Failure;
pub use object::Object;
pub use tools::Tools;
pub use world::World;

/// Everything that is wrong in a world, in the order of files and lines.
#[must_use]
pub fn judge(world: &World) -> Vec<Failure> {
    let mut failures = world.faults.clone();
    for (family, check) in rules::FAMILIES {
        let mut found = Vec::new();
        check(world, &mut found);
        failures.extend(if *family == "restricted" { world.skips.leave(found) } else { found });
    }
    failures.sort();
    failures.dedup();
    failures
}
