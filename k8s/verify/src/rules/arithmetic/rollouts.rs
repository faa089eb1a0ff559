//! Surge, unavailability and replicas; autoscalers and what they scale; spread that can't be satisfied.

use crate::rules::field::Field;
use crate::rules::known::Known;
use crate::rules::pods::Pod;
use crate::rules::text::Share;
use crate::{Failure, World};

pub(super) fn check(world: &World, failures: &mut Vec<Failure>) {
    for pod in Pod::whole(world) {
        let spec = Field::root(pod.object).at("spec");
        if pod.object.is("apps", "Deployment") {
            strategy(world, &pod, &spec, failures);
        }
        if let Some(replicas) = pod.replicas() {
            alone_on_nodes(&pod, replicas, failures);
        }
    }
    autoscaled(world, failures);
}

fn strategy(world: &World, pod: &Pod<'_>, spec: &Field<'_>, failures: &mut Vec<Failure>) {
    let strategy = spec.at("strategy");
    let replicas = spec.at("replicas").number().unwrap_or(1);
    let rolling = strategy.at("rollingUpdate");
    let recreates = strategy.at("type").text() == Some("Recreate");
    let default = Share::Percent(25);
    let read = |field: Field<'_>| field.value().and_then(Share::read).unwrap_or(default);
    let (surge, unavailable) = (read(rolling.at("maxSurge")), read(rolling.at("maxUnavailable")));
    if recreates || replicas < 1 {
        return;
    }
    // What rounds to nothing: the controller then takes one, so that only what is said outright can stand still.
    let down = unavailable.of_rounded_down(replicas);
    if replicas > 1 && down >= replicas && rolling.at("maxUnavailable").is_said() {
        rolling.at("maxUnavailable").fail(
            failures,
            format!(
                "{} of {replicas} replicas are all of them: a rollout takes the service down",
                rolling.at("maxUnavailable").quoted()
            ),
            "fewer, or strategy Recreate where that is meant",
        );
    }
    claims(world, pod, surge, replicas, failures);
    let on_host = pod.spec.at("hostNetwork").is_true()
        || pod
            .containers()
            .iter()
            .flat_map(|container| container.at("ports").list())
            .any(|port| port.at("hostPort").number().unwrap_or(0) > 0);
    if on_host && down == 0 && surge.of_rounded_up(replicas) > 0 && pod.spec.at("nodeName").text().is_some() {
        rolling.at("maxSurge").fail(
            failures,
            "a second pod finds its port taken on that node",
            "maxSurge 0 and maxUnavailable 1",
        );
    }
}

/// A claim that one pod has alone is not given to the next beside it.
fn claims(world: &World, pod: &Pod<'_>, surge: Share, replicas: i64, failures: &mut Vec<Failure>) {
    let known = Known::of(world);
    for volume in pod.spec.at("volumes").list() {
        let claim = volume.at("persistentVolumeClaim").at("claimName");
        let Some(name) = claim.text() else { continue };
        let Some(object) = known.object("PersistentVolumeClaim", name, pod.object.namespace.as_deref())
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
    let host = pod.spec.at("nodeSelector").at("kubernetes.io/hostname").text().is_some()
        || pod.spec.at("nodeName").text().is_some();
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

/// Who is scaled does not say its own replicas, or the next apply takes them back.
fn autoscaled(world: &World, failures: &mut Vec<Failure>) {
    let known = Known::of(world);
    for object in &world.objects {
        let spec = Field::root(object).at("spec");
        let (least, most) = match (object.group(), object.kind.as_str()) {
            ("autoscaling", "HorizontalPodAutoscaler") => (
                spec.at("minReplicas").number().unwrap_or(1),
                spec.at("maxReplicas").number().unwrap_or(i64::MAX),
            ),
            ("keda.sh", "ScaledObject") => (
                spec.at("minReplicaCount").number().unwrap_or(0),
                spec.at("maxReplicaCount").number().unwrap_or(100),
            ),
            _ => continue,
        };
        let target = spec.at("scaleTargetRef");
        let kind = target.at("kind").text().unwrap_or("Deployment");
        let Some(scaled) = known.object(kind, target.at("name").text_or_empty(), object.namespace.as_deref())
        else {
            continue;
        };
        let replicas = Field::root(scaled).down("spec.replicas");
        if let Some(said) = replicas.number() {
            let wrong = format!(
                "{said} is said, and {} {} scales from {least} to {most}: each apply sets it back",
                object.kind, object.name
            );
            replicas.fail(failures, wrong, "leave it out");
        }
    }
}
