//! Surge, unavailability and replicas; autoscalers and what they scale; spread that can't be satisfied.

use crate::Failure;
use crate::rules::field::Field;
use crate::rules::pods::Pod;
use crate::rules::text::Share;

use super::Scaled;

pub(super) fn check(scaled: &Scaled<'_>, failures: &mut Vec<Failure>) {
    for pod in Pod::whole(scaled.known.world) {
        let Some((least, most)) = scaled.replicas(&pod) else { continue };
        if pod.object.is("apps", "Deployment") {
            strategy(scaled, &pod, (least, most), failures);
        }
        alone_on_nodes(&pod, most, failures);
    }
    // Who is scaled does not say its own replicas, or the next apply takes them back.
    for scale in &scaled.by {
        let replicas = Field::root(scale.target).down("spec.replicas");
        if let Some(said) = replicas.number() {
            let by = format!(
                "{} {} scales from {} to {}",
                scale.autoscaler.kind, scale.autoscaler.name, scale.least, scale.most
            );
            replicas.fail(
                failures,
                format!("{said} is said, and {by}: each apply sets it back"),
                "leave it out",
            );
        }
    }
}

fn strategy(scaled: &Scaled<'_>, pod: &Pod<'_>, (least, most): (i64, i64), failures: &mut Vec<Failure>) {
    let strategy = Field::root(pod.object).down("spec.strategy");
    let rolling = strategy.at("rollingUpdate");
    if strategy.at("type").text() == Some("Recreate") || most < 1 {
        return;
    }
    let read = |field: Field<'_>| field.value().and_then(Share::read).unwrap_or(Share::Percent(25));
    let (surge, unavailable) = (read(rolling.at("maxSurge")), read(rolling.at("maxUnavailable")));
    let gone = unavailable.of_rounded_down(least);
    if least > 1 && gone >= least {
        let field = rolling.at("maxUnavailable");
        let wrong = format!(
            "{} of {least} replicas are all of them: a rollout takes the service down",
            field.quoted()
        );
        field.fail(failures, wrong, "fewer, or strategy Recreate where that is meant");
    }
    claims(scaled, pod, surge, most, failures);
    let ports = pod.containers().into_iter().flat_map(|container| container.at("ports").list());
    let on_host = pod.spec.at("hostNetwork").is_true()
        || ports.into_iter().any(|port| port.at("hostPort").number().unwrap_or(0) > 0);
    if on_host && gone == 0 && !surge.is_zero() && is_bound(pod) {
        rolling.at("maxSurge").fail(
            failures,
            "a second pod finds its port taken on the one node",
            "maxSurge 0 and maxUnavailable 1",
        );
    }
}

/// Bound to one node by name.
fn is_bound(pod: &Pod<'_>) -> bool {
    pod.spec.at("nodeSelector").at("kubernetes.io/hostname").text().is_some()
        || pod.spec.at("nodeName").text().is_some()
}

/// A claim that one pod has alone is not given to the next beside it.
fn claims(scaled: &Scaled<'_>, pod: &Pod<'_>, surge: Share, replicas: i64, failures: &mut Vec<Failure>) {
    for volume in pod.spec.at("volumes").list() {
        let claim = volume.at("persistentVolumeClaim").at("claimName");
        let Some(name) = claim.text() else { continue };
        let Some(object) =
            scaled.known.object("PersistentVolumeClaim", name, pod.object.namespace.as_deref())
        else {
            continue;
        };
        let modes = Field::root(object).down("spec.accessModes").list();
        let only = |mode: &str| !modes.is_empty() && modes.iter().all(|one| one.text() == Some(mode));
        if only("ReadWriteOncePod") && (replicas > 1 || !surge.is_zero()) {
            let wrong = format!(
                "claim {name} is one pod's alone (ReadWriteOncePod), and a rollout or {replicas} replicas want two"
            );
            claim.fail(failures, wrong, "one replica with strategy Recreate, or another access mode");
        } else if only("ReadWriteOnce") && replicas > 1 {
            let wrong = format!(
                "claim {name} is one node's alone (ReadWriteOnce), and there are {replicas} replicas"
            );
            claim.fail(failures, wrong, "ReadWriteMany or ReadOnlyMany, or a StatefulSet's own claims");
        }
    }
}

/// Pods that may not share a node need as many nodes as there are of them: what a cluster has, is not known, but a surge beside a
/// single node that is named can never be.
fn alone_on_nodes(pod: &Pod<'_>, replicas: i64, failures: &mut Vec<Failure>) {
    let host = is_bound(pod);
    for constraint in pod.spec.at("topologySpreadConstraints").list() {
        let hard = constraint.at("whenUnsatisfiable").text() == Some("DoNotSchedule");
        let domains = constraint.at("minDomains").number().unwrap_or(1);
        let skew = constraint.at("maxSkew").number().unwrap_or(1);
        if hard
            && host
            && constraint.at("topologyKey").text() == Some("kubernetes.io/hostname")
            && domains > 1
            && replicas > skew
        {
            constraint.at("minDomains").fail(
                failures,
                format!("asks for {domains} nodes, and the pod is bound to one"),
                "no nodeSelector of one node, or without",
            );
        }
    }
    let rules =
        pod.spec.down("affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution").list();
    for rule in rules {
        let own = crate::rules::pods::selects(&rule.at("labelSelector"), &pod.labels());
        if host && replicas > 1 && own && rule.at("topologyKey").text() == Some("kubernetes.io/hostname") {
            rule.fail(
                failures,
                format!("{replicas} replicas may not share a node, and are bound to one"),
                "one replica, or no nodeSelector of one node",
            );
        }
    }
}
