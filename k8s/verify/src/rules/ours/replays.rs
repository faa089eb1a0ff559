//! Warm rollouts: what a new pod is to replay is there, and it has the time for it.

use super::keys::{paths, said};
use crate::Failure;
use crate::rules::arithmetic::starts::budget;
use crate::rules::field::Field;
use crate::rules::pods::{Pod, mount_of};

/// Says what keeps a pod from it, or ends it meanwhile.
pub(super) fn check(pod: &Pod<'_>, container: &Field<'_>, failures: &mut Vec<Failure>) {
    for (place, text) in said(container, &["replay-within"]) {
        // What is no time is said by the program.
        let Some(seconds) = seconds(text).filter(|seconds| *seconds > 0) else { continue };
        let startup = container.at("startupProbe");
        if startup.is_said() && budget(&startup) <= seconds {
            let wrong = format!(
                "a start may replay for {seconds} s, and the startupProbe gives the container up after {} s",
                budget(&startup)
            );
            place.fail(failures, wrong, "less, or a startupProbe with more time");
        }
        for (folder, path) in paths(container, &["record-dir"]) {
            let volume = mount_of(container, path).and_then(|mount| pod.volume_of(&mount));
            if volume.is_some_and(|volume| volume.at("emptyDir").is_said()) {
                let wrong =
                    format!("is {path}, the pod's own folder, in which a new pod has nothing to replay");
                folder.fail(failures, wrong, "a claim that the replicas share");
            }
        }
    }
}

/// As the program reads them: a number, or one with a unit.
fn seconds(text: &str) -> Option<i64> {
    let digits = text.trim_end_matches(|unit: char| unit.is_ascii_alphabetic() || unit == ' ');
    let factor = match text[digits.len()..].trim() {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return None,
    };
    digits.parse::<i64>().ok()?.checked_mul(factor)
}
