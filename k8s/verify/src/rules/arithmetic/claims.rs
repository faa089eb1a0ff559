//! Claims against the volumes that they name, and folders in memory against the memory that there is.

use crate::Failure;
use crate::rules::field::Field;
use crate::rules::pods::Pod;

use super::Scaled;

pub(super) fn check(scaled: &Scaled<'_>, failures: &mut Vec<Failure>) {
    let world = scaled.known.world;
    for object in world.of("", "PersistentVolumeClaim") {
        let claim = Field::root(object).at("spec");
        let Some(name) = claim.at("volumeName").text() else { continue };
        let Some(volume) = scaled.known.object("PersistentVolume", name, None) else { continue };
        bound(&claim, &Field::root(volume).at("spec"), name, failures);
    }
    for pod in Pod::whole(world) {
        for volume in pod.spec.at("volumes").list() {
            let folder = volume.at("emptyDir");
            if folder.at("medium").text() == Some("Memory") {
                in_memory(&pod, &volume, failures);
            }
        }
    }
}

fn bound(claim: &Field<'_>, volume: &Field<'_>, name: &str, failures: &mut Vec<Failure>) {
    let (asked, there) = (claim.down("resources.requests.storage"), volume.down("capacity.storage"));
    if asked.quantity().zip(there.quantity()).is_some_and(|(asked, there)| asked > there) {
        asked.fail(
            failures,
            format!("{} is more than volume {name} has, {}", asked.quoted(), there.quoted()),
            "at most that",
        );
    }
    let modes = volume.at("accessModes").list();
    for mode in claim.at("accessModes").list() {
        if !modes.iter().any(|one| one.text() == mode.text()) {
            mode.fail(
                failures,
                format!("volume {name} is not {}", mode.quoted()),
                "a mode that the volume has",
            );
        }
    }
    let (own, other) = (claim.at("storageClassName"), volume.at("storageClassName"));
    if own.is_said() && own.text_or_empty() != other.text_or_empty() {
        own.fail(failures, format!("{} is not volume {name}'s class", own.quoted()), other.quoted());
    }
}

/// A folder in memory counts to the memory of the container that fills it.
fn in_memory(pod: &Pod<'_>, volume: &Field<'_>, failures: &mut Vec<Failure>) {
    let size = volume.at("emptyDir").at("sizeLimit");
    let name = volume.at("name").text();
    let mounts = |container: &Field<'_>| {
        container.at("volumeMounts").list().iter().any(|mount| mount.at("name").text() == name)
    };
    let limits = pod
        .running()
        .into_iter()
        .filter(mounts)
        .map(|container| container.at("resources").at("limits").at("memory"));
    let limits: Vec<Field<'_>> = limits.filter(|limit| limit.quantity().is_some()).collect();
    let Some(most) = limits.iter().max_by_key(|limit| limit.quantity()) else { return };
    if size.quantity().zip(most.quantity()).is_some_and(|(size, most)| size >= most) {
        let wrong = format!("{} in memory fill the container's limit of {}", size.quoted(), most.quoted());
        size.fail(failures, wrong, "less than the limit");
    }
}
