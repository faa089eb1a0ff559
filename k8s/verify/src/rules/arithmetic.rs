//! Arithmetic of rollouts: numbers that are each right and don't fit each other. A rollout that can never go on, a budget that never
//! lets go, a pod that is killed before it has ended or before it has begun.

mod budgets;
mod claims;
mod ends;
mod quotas;
mod rollouts;
pub(super) mod starts;

use crate::rules::field::Field;
use crate::rules::known::Known;
use crate::rules::pods::Pod;
use crate::{Failure, Object, World};

/// Says which numbers don't fit.
pub fn check(world: &World, failures: &mut Vec<Failure>) {
    let scaled = Scaled::of(world);
    rollouts::check(&scaled, failures);
    budgets::check(&scaled, failures);
    ends::check(world, failures);
    starts::check(world, failures);
    quotas::check(&scaled, failures);
    claims::check(&scaled, failures);
}

/// Who is scaled by whom, within which bounds.
struct Scaled<'a> {
    known: Known<'a>,
    by: Vec<Scale<'a>>,
}

/// One autoscaler and what it scales.
struct Scale<'a> {
    target: &'a Object,
    autoscaler: &'a Object,
    least: i64,
    most: i64,
}

impl<'a> Scaled<'a> {
    fn of(world: &'a World) -> Self {
        let known = Known::of(world);
        let by = world.objects.iter().filter_map(|autoscaler| {
            let spec = Field::root(autoscaler).at("spec");
            let (least, most) = match (autoscaler.group(), autoscaler.kind.as_str()) {
                ("autoscaling", "HorizontalPodAutoscaler") => {
                    (spec.at("minReplicas").number().unwrap_or(1), spec.at("maxReplicas").number()?)
                }
                ("keda.sh", "ScaledObject") => (
                    spec.at("minReplicaCount").number().unwrap_or(0),
                    spec.at("maxReplicaCount").number().unwrap_or(100),
                ),
                _ => return None,
            };
            let target = spec.at("scaleTargetRef");
            let kind = target.at("kind").text().unwrap_or("Deployment");
            let target = known.object(kind, target.at("name").text()?, autoscaler.namespace.as_deref())?;
            Some(Scale { target, autoscaler, least, most })
        });
        let by = by.collect();
        Self { known, by }
    }

    /// The least and the most pods that there shall be of a workload; none where its kind has no count.
    fn replicas(&self, pod: &Pod<'_>) -> Option<(i64, i64)> {
        let own = pod.replicas()?;
        let by = self.by.iter().find(|scale| std::ptr::eq(scale.target, pod.object));
        Some(by.map_or((own, own), |scale| (scale.least, scale.most)))
    }
}
