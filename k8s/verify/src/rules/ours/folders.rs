//! Folders that the programs write to: a flag or a variable names one, and what is mounted there can be written to.

use super::keys::paths;
use crate::Failure;
use crate::rules::field::Field;
use crate::rules::pods::{Pod, mount_of};

/// Flags of the servers that name such a folder; as variables with `FOREBAY_` before them.
const FLAGS: [&str; 3] = ["key-trace-dir", "optimized-model-dir", "record-dir"];
const RIGHT: &str = "an emptyDir, or a claim that can be written to";

/// Says which can't be written to.
pub(super) fn check(pod: &Pod<'_>, container: &Field<'_>, failures: &mut Vec<Failure>) {
    let is_sealed = container.at("securityContext").at("readOnlyRootFilesystem").is_true();
    for (place, path) in paths(container, &FLAGS) {
        let Some(mount) = mount_of(container, path) else {
            if is_sealed {
                let wrong = format!("is {path}, where nothing is mounted, and the root is only read");
                place.fail(failures, wrong, RIGHT);
            }
            continue;
        };
        let of_claim = |volume: &Field<'_>| volume.at("persistentVolumeClaim").at("readOnly").is_true();
        if mount.at("readOnly").is_true() || pod.volume_of(&mount).as_ref().is_some_and(of_claim) {
            place.fail(failures, format!("is {path}, which is mounted to be read alone"), RIGHT);
        }
    }
}
