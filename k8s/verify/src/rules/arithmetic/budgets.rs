//! Budgets of disruption against the pods that they keep: one that never lets a pod go blocks every drain of a node.

use crate::Failure;
use crate::rules::field::Field;
use crate::rules::targets::{Form, Targets, Within};
use crate::rules::text::Share;

use super::Scaled;

pub(super) fn check(scaled: &Scaled<'_>, failures: &mut Vec<Failure>) {
    let world = scaled.known.world;
    let targets = Targets::of(world);
    for object in world.of("policy", "PodDisruptionBudget") {
        let spec = Field::root(object).at("spec");
        let within = Within::Namespace(object.namespace.as_deref());
        if spec.at("selector").is_empty() {
            continue;
        }
        let pods = targets.taken(&spec.at("selector"), Form::Full, within);
        let counted: Option<Vec<i64>> =
            pods.iter().map(|pod| scaled.replicas(pod).map(|(least, most)| least.max(most.min(1)))).collect();
        let Some(counted) = counted.filter(|counted| !counted.is_empty()) else { continue };
        let replicas: i64 = counted.iter().sum();
        let (least, most) = (spec.at("minAvailable"), spec.at("maxUnavailable"));
        if replicas == 0 {
            continue;
        }
        if let Some(share) = least.value().and_then(Share::read)
            && share.of_rounded_up(replicas) >= replicas
            && !share.is_zero()
        {
            let wrong = format!(
                "{} of {replicas} pods leaves none that may go: a node with one is never drained",
                least.quoted()
            );
            least.fail(failures, wrong, "less than the replicas, or maxUnavailable: 1");
        }
        if most.value().and_then(Share::read).is_some_and(|share| share.of_rounded_up(replicas) == 0) {
            most.fail(failures, "lets no pod go: a node with one is never drained", "1 at least");
        }
    }
}
