//! Workloads: strategies that contradict themselves, counts below zero, restarts that a kind can't have.

use crate::rules::field::Field;
use crate::rules::pods::Pod;
use crate::rules::text::{self, Share};
use crate::{Failure, World};

/// Says what is wrong with workloads.
pub fn check(world: &World, failures: &mut Vec<Failure>) {
    for pod in Pod::whole(world).filter(|pod| pod.object.group() == "apps") {
        let spec = Field::root(pod.object).at("spec");
        for count in ["replicas", "minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"] {
            spec.at(count).between(failures, 0, i64::from(i32::MAX));
        }
        let restart = pod.spec.at("restartPolicy");
        if restart.text().is_some_and(|policy| policy != "Always") {
            restart.fail(
                failures,
                format!("{} in a {}", restart.quoted(), pod.object.kind),
                "Always, which is the default",
            );
        }
        let deadline = pod.spec.at("activeDeadlineSeconds");
        if deadline.is_said() {
            deadline.fail(failures, format!("a {} has none", pod.object.kind), "leave it out");
        }
        match pod.object.kind.as_str() {
            "Deployment" => deployment(&spec, failures),
            "StatefulSet" => stateful_set(&spec, failures),
            "DaemonSet" => daemon_set(&spec.at("updateStrategy"), failures),
            _ => {}
        }
    }
}

/// A share of pods: a number or a percentage, at most all.
pub(crate) fn share(field: &Field<'_>, at_most_all: bool, failures: &mut Vec<Failure>) -> Option<Share> {
    let value = field.value()?;
    let share = Share::read(value);
    match share {
        None => field.fail(
            failures,
            format!("{value} is no share of pods"),
            "a number of at least 0, or a percentage as \"25%\"",
        ),
        Some(Share::Percent(percent)) if at_most_all && percent > 100 => {
            field.fail(failures, format!("{value} is more than all"), "100% at most");
        }
        Some(_) => {}
    }
    share
}

fn deployment(spec: &Field<'_>, failures: &mut Vec<Failure>) {
    let strategy = spec.at("strategy");
    let rolling = strategy.at("rollingUpdate");
    strategy.at("type").one_of(failures, &["Recreate", "RollingUpdate"]);
    if strategy.at("type").text() == Some("Recreate") {
        if rolling.is_said() {
            rolling.fail(failures, "stands beside Recreate", "type: RollingUpdate, or without");
        }
    } else {
        let surge = share(&rolling.at("maxSurge"), false, failures);
        let unavailable = share(&rolling.at("maxUnavailable"), true, failures);
        if let (Some(surge), Some(unavailable)) = (surge, unavailable)
            && surge.is_zero()
            && unavailable.is_zero()
        {
            rolling.at("maxUnavailable").fail(
                failures,
                "is 0, and maxSurge is 0: no pod could ever be replaced",
                "one of them above 0",
            );
        }
    }
    let deadline = spec.at("progressDeadlineSeconds");
    let ready = spec.at("minReadySeconds").number().unwrap_or(0);
    if deadline.number().unwrap_or(600) <= ready {
        let wrong = format!(
            "a rollout fails after {} s, and a pod counts after {ready} s",
            deadline.number().unwrap_or(600)
        );
        deadline.fail(failures, wrong, "more than minReadySeconds");
    }
}

fn stateful_set(spec: &Field<'_>, failures: &mut Vec<Failure>) {
    let strategy = spec.at("updateStrategy");
    strategy.at("type").one_of(failures, &["RollingUpdate", "OnDelete", "Recreate"]);
    let rolling = strategy.at("rollingUpdate");
    if rolling.is_said() && strategy.at("type").text() == Some("OnDelete") {
        rolling.fail(failures, "stands beside OnDelete", "type: RollingUpdate, or without");
    }
    rolling.at("partition").between(failures, 0, i64::from(i32::MAX));
    if share(&rolling.at("maxUnavailable"), true, failures).is_some_and(Share::is_zero) {
        rolling.at("maxUnavailable").fail(failures, "is 0: no pod could ever be replaced", "1 at least");
    }
    spec.at("podManagementPolicy").one_of(failures, &["OrderedReady", "Parallel"]);
    spec.at("serviceName").form(failures, text::label);
    for when in ["whenDeleted", "whenScaled"] {
        spec.at("persistentVolumeClaimRetentionPolicy").at(when).one_of(failures, &["Retain", "Delete"]);
    }
}

fn daemon_set(strategy: &Field<'_>, failures: &mut Vec<Failure>) {
    strategy.at("type").one_of(failures, &["RollingUpdate", "OnDelete"]);
    let rolling = strategy.at("rollingUpdate");
    let surge = share(&rolling.at("maxSurge"), true, failures).unwrap_or(Share::Count(0));
    let unavailable = share(&rolling.at("maxUnavailable"), true, failures).unwrap_or(Share::Count(1));
    if surge.is_zero() && unavailable.is_zero() {
        rolling.at("maxUnavailable").fail(
            failures,
            "is 0, and maxSurge is 0: no pod could ever be replaced",
            "one of them above 0",
        );
    } else if !surge.is_zero() && !unavailable.is_zero() {
        rolling.at("maxSurge").fail(
            failures,
            "stands beside a maxUnavailable above 0, which is 1 by default",
            "one of them 0",
        );
    }
}
