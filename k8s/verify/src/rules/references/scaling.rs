//! Who is scaled and who is kept: autoscalers, KEDA's objects, budgets of disruption.

use std::collections::BTreeMap;

use crate::rules::field::Field;
use crate::rules::known::Known;
use crate::rules::pods::Pod;
use crate::rules::targets::{Form, Targets, Within, declared};
use crate::{Failure, Object};

pub(super) fn check(known: &Known<'_>, failures: &mut Vec<Failure>) {
    let targets = Targets::of(known.world);
    let mut scaled: BTreeMap<(Option<&str>, &str, &str), &Object> = BTreeMap::new();
    let mut kept: Vec<(&Pod<'_>, &Object)> = Vec::new();
    for object in &known.world.objects {
        let root = Field::root(object);
        let namespace = object.namespace.as_deref();
        match (object.group(), object.kind.as_str()) {
            ("autoscaling", "HorizontalPodAutoscaler") | ("keda.sh", "ScaledObject") => {
                let target = root.down("spec.scaleTargetRef");
                let kind = target.at("kind").text().unwrap_or("Deployment");
                if matches!(kind, "DaemonSet" | "Job" | "CronJob" | "Pod") {
                    target.at("kind").fail(
                        failures,
                        format!("a {kind} has no number of replicas to scale"),
                        "Deployment or StatefulSet",
                    );
                }
                known.need(kind, &target.at("name"), namespace, failures);
                let name = target.at("name");
                if let Some(other) = scaled.insert((namespace, kind, name.text_or_empty()), object) {
                    let wrong =
                        format!("{kind} {} is scaled by {} {} too", name.quoted(), other.kind, other.name);
                    name.fail(failures, wrong, "one autoscaler a workload");
                }
                if let Some(workload) = known.object(kind, name.text_or_empty(), namespace) {
                    let replicas = Field::root(workload).down("spec.replicas");
                    if replicas.is_said() {
                        let wrong = format!(
                            "is set back by each apply, and {} {} scales it",
                            object.kind, object.name
                        );
                        replicas.fail(failures, wrong, "without it");
                    }
                }
                if object.kind == "ScaledObject" {
                    scaled_object(known, object, kind, failures);
                } else {
                    containers(known, object, kind, failures);
                }
            }
            ("keda.sh", "ScaledJob") => triggers(known, object, failures),
            ("keda.sh", "TriggerAuthentication" | "ClusterTriggerAuthentication") => {
                authentication(known, object, failures);
            }
            ("policy", "PodDisruptionBudget") => {
                let selector = root.down("spec.selector");
                if selector.is_empty() {
                    continue;
                }
                let within = Within::Namespace(namespace);
                let pods = targets.taken(&selector, Form::Full, within);
                if pods.is_empty() && !targets.are_declared(&selector, Form::Full, within) {
                    selector.fail(failures, "selects no pod", declared(&selector, Form::Full, namespace));
                }
                for pod in pods {
                    if let Some((_, other)) =
                        kept.iter().find(|(kept, _)| std::ptr::eq(kept.object, pod.object))
                    {
                        let wrong = format!(
                            "{} {} is kept by {} too: no pod of it can be evicted",
                            pod.object.kind, pod.object.name, other.name
                        );
                        selector.fail(failures, wrong, "one budget a pod");
                    }
                    kept.push((pod, object));
                }
            }
            _ => {}
        }
    }
}

/// Fails where it names a container that the pods have not.
fn need_container(pod: &Pod<'_>, container: &Field<'_>, failures: &mut Vec<Failure>) {
    let names: Vec<&str> =
        pod.all_containers().iter().map(|container| container.at("name").text_or_empty()).collect();
    if container.text().is_some_and(|name| !names.contains(&name)) {
        container.fail(
            failures,
            format!("the pods have no container {}", container.quoted()),
            format!("one of {}", names.join(", ")),
        );
    }
}

fn containers(known: &Known<'_>, object: &Object, kind: &str, failures: &mut Vec<Failure>) {
    let spec = Field::root(object).at("spec");
    let name = spec.down("scaleTargetRef.name").text_or_empty();
    let Some(pod) = known.object(kind, name, object.namespace.as_deref()).and_then(Pod::of) else { return };
    let limited = known.world.of("", "LimitRange").next().is_some();
    for metric in spec.at("metrics").list() {
        let container = metric.at("containerResource").at("container");
        need_container(&pod, &container, failures);
        // A share of what is asked for needs that something is asked for.
        let resource = metric.at("resource");
        let asked = resource.at("name").text_or_empty();
        if resource.at("target").at("averageUtilization").is_said() && !limited && !pod.is_partial {
            let without = pod.running().into_iter().find(|container| {
                let resources = container.at("resources");
                !resources.at("requests").at(asked).is_said() && !resources.at("limits").at(asked).is_said()
            });
            if let Some(without) = without {
                let wrong = format!(
                    "container {} asks for no {asked}: its share can't be known",
                    without.at("name").quoted()
                );
                resource.at("target").fail(
                    failures,
                    wrong,
                    format!("resources.requests.{asked} in each container"),
                );
            }
        }
    }
}

fn scaled_object(known: &Known<'_>, object: &Object, kind: &str, failures: &mut Vec<Failure>) {
    let spec = Field::root(object).at("spec");
    let (least, most, idle) =
        (spec.at("minReplicaCount"), spec.at("maxReplicaCount"), spec.at("idleReplicaCount"));
    if least.number().unwrap_or(0) > most.number().unwrap_or(100) {
        least.fail(
            failures,
            format!("{} is above maxReplicaCount of {}", least.quoted(), most.number().unwrap_or(100)),
            "at most that",
        );
    }
    if idle.number().is_some_and(|idle| idle >= least.number().unwrap_or(0)) {
        idle.fail(
            failures,
            format!("{} is not below minReplicaCount", idle.quoted()),
            "0 with a minReplicaCount above, or without",
        );
    }
    let container = spec.down("scaleTargetRef.envSourceContainerName");
    let name = spec.down("scaleTargetRef.name").text_or_empty();
    if let Some(pod) = known.object(kind, name, object.namespace.as_deref()).and_then(Pod::of) {
        need_container(&pod, &container, failures);
    }
    triggers(known, object, failures);
}

fn triggers(known: &Known<'_>, object: &Object, failures: &mut Vec<Failure>) {
    let triggers = Field::root(object).down("spec.triggers");
    triggers.require(failures, "one trigger at least");
    for trigger in triggers.list() {
        let reference = trigger.at("authenticationRef");
        let kind = reference.at("kind").text().unwrap_or("TriggerAuthentication");
        let namespace = if kind.starts_with("Cluster") { None } else { object.namespace.as_deref() };
        known.need(kind, &reference.at("name"), namespace, failures);
    }
}

fn authentication(known: &Known<'_>, object: &Object, failures: &mut Vec<Failure>) {
    let spec = Field::root(object).at("spec");
    if object.kind.starts_with("Cluster") {
        // Its Secrets are in KEDA's own namespace, which nothing here names.
        return;
    }
    for (list, kind) in [("secretTargetRef", "Secret"), ("configMapTargetRef", "ConfigMap")] {
        for reference in spec.at(list).list() {
            let namespace = object.namespace.as_deref();
            known.need_entry(kind, &reference, namespace, failures);
        }
    }
}
