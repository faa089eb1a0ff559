//! What bounds others: budgets of disruption, quotas, limit ranges, priorities, runtime classes.

use std::collections::BTreeSet;

use crate::rules::field::Field;
use crate::rules::quantity::Quantity;
use crate::rules::{metadata, quantities, scheduling, text, workload};
use crate::{Failure, World};

/// A user's priority is at most this.
const MOST_PRIORITY: i64 = 1_000_000_000;
const SCOPES: &[&str] = &[
    "Terminating",
    "NotTerminating",
    "BestEffort",
    "NotBestEffort",
    "PriorityClass",
    "CrossNamespacePodAffinity",
    "VolumeAttributesClass",
];

/// Says what is wrong with policies.
pub fn check(world: &World, failures: &mut Vec<Failure>) {
    for object in &world.objects {
        let root = Field::root(object);
        match (object.group(), object.kind.as_str()) {
            ("policy", "PodDisruptionBudget") => budget(&root.at("spec"), failures),
            ("", "ResourceQuota") => quota(&root.at("spec"), failures),
            ("", "LimitRange") => ranges(&root.down("spec.limits"), failures),
            ("scheduling.k8s.io", "PriorityClass") => priority(&root, failures),
            ("node.k8s.io", "RuntimeClass") => runtime(&root, failures),
            _ => {}
        }
    }
}

fn budget(spec: &Field<'_>, failures: &mut Vec<Failure>) {
    let (least, most) = (spec.at("minAvailable"), spec.at("maxUnavailable"));
    workload::share(&least, true, failures);
    workload::share(&most, true, failures);
    if least.is_said() && most.is_said() {
        most.fail(failures, "stands beside minAvailable", "one of the two");
    } else if !least.is_said() && !most.is_said() {
        spec.fail(failures, "bounds nothing", "minAvailable or maxUnavailable");
    }
    spec.at("unhealthyPodEvictionPolicy").one_of_said(failures, &["IfHealthyBudget", "AlwaysAllow"]);
    if spec.at("selector").is_empty() {
        spec.at("selector").fail(
            failures,
            "is empty: every pod of the namespace is meant, or none",
            "labels of the pods",
        );
    }
}

fn quota(spec: &Field<'_>, failures: &mut Vec<Failure>) {
    let hard = spec.at("hard");
    hard.require(failures, "what is bounded");
    let plain = [
        "cpu",
        "memory",
        "ephemeral-storage",
        "pods",
        "services",
        "secrets",
        "configmaps",
        "persistentvolumeclaims",
        "resourcequotas",
        "replicationcontrollers",
        "services.nodeports",
        "services.loadbalancers",
        "requests.cpu",
        "requests.memory",
        "requests.storage",
        "requests.ephemeral-storage",
        "limits.cpu",
        "limits.memory",
        "limits.ephemeral-storage",
    ];
    for (name, field) in hard.map() {
        quantities::amount(&field, failures);
        let known = plain.contains(&name) || name.contains('/') || name.contains("hugepages-");
        if let Some((wrong, right)) = text::key(name) {
            field.fail(failures, wrong, right);
        } else if !known {
            field.fail(
                failures,
                format!("a quota knows no \"{name}\""),
                "as requests.cpu, limits.memory, pods or count/jobs.batch",
            );
        } else if name.starts_with("limits.") && name.contains('/') {
            field.fail(failures, format!("\"{name}\" is never counted"), "requests. before a device's name");
        }
    }
    for scope in spec.at("scopes").list() {
        scope.one_of_said(failures, SCOPES);
    }
    let scopes: Vec<&str> = spec.at("scopes").list().iter().filter_map(Field::text).collect();
    for (one, other) in [("BestEffort", "NotBestEffort"), ("Terminating", "NotTerminating")] {
        if scopes.contains(&one) && scopes.contains(&other) {
            spec.at("scopes").fail(
                failures,
                format!("{one} and {other} are never one pod's"),
                "one of the two",
            );
        }
    }
    for expression in spec.down("scopeSelector.matchExpressions").list() {
        expression.at("scopeName").one_of(failures, SCOPES);
        let (operator, values) = (expression.at("operator"), expression.at("values"));
        operator.one_of(failures, &["In", "NotIn", "Exists", "DoesNotExist"]);
        match operator.text_or_empty() {
            "In" | "NotIn" if values.is_empty() => values.fail(failures, "are missing", "one at least"),
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                values.fail(failures, "are said where none count", "none, or In");
            }
            _ => {}
        }
    }
    let by_selector = spec.down("scopeSelector.matchExpressions").list();
    let scopes = scopes.into_iter().chain(by_selector.iter().map(|one| one.at("scopeName").text_or_empty()));
    for scope in scopes {
        for (name, field) in hard.map().into_iter().filter(|(name, _)| plain.contains(name)) {
            let of_pods = name == "pods"
                || scope != "BestEffort" && ["cpu", "memory"].iter().any(|of| name.ends_with(of));
            let counted = if scope == "VolumeAttributesClass" {
                name.contains("storage") || name == "persistentvolumeclaims"
            } else {
                of_pods
            };
            if !counted {
                field.fail(
                    failures,
                    format!("{name} is not counted in the scope {scope}"),
                    "a quota of its own, without scopes",
                );
            }
        }
    }
}

fn ranges(limits: &Field<'_>, failures: &mut Vec<Failure>) {
    let mut kinds = BTreeSet::new();
    for limit in limits.list() {
        let kind = limit.at("type");
        kind.require(failures, "Container, Pod or PersistentVolumeClaim");
        if kind.text().is_some_and(|kind| kind.contains('/')) {
            kind.form(failures, text::key);
        } else {
            kind.one_of(failures, &["Container", "Pod", "PersistentVolumeClaim"]);
        }
        if kind.text().is_some_and(|kind| !kinds.insert(kind)) {
            kind.fail(failures, format!("{} is there twice", kind.quoted()), "each type once");
        }
        if kind.text() == Some("Pod") {
            for never in ["default", "defaultRequest"] {
                if !limit.at(never).is_empty() {
                    limit.at(never).fail(failures, "a Pod has no defaults", "type: Container");
                }
            }
        }
        for (_, ratio) in limit.at("maxLimitRequestRatio").map() {
            if ratio.quantity().is_some_and(|ratio| ratio < Quantity::ONE) {
                ratio.fail(failures, format!("{} is below 1", ratio.quoted()), "1 at least");
            }
        }
        for of in ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"] {
            for (name, field) in limit.at(of).map() {
                if kind.text() == Some("PersistentVolumeClaim") {
                    if name != "storage" {
                        field.fail(failures, format!("a claim has no resource \"{name}\""), "storage");
                    }
                } else {
                    quantities::named(name, &field, failures);
                }
                quantities::amount(&field, failures);
            }
        }
        for (less, more) in [
            ("min", "max"),
            ("min", "defaultRequest"),
            ("min", "default"),
            ("defaultRequest", "default"),
            ("defaultRequest", "max"),
            ("default", "max"),
        ] {
            for (name, field) in limit.at(less).map() {
                let other = limit.at(more).at(name);
                if field.quantity().zip(other.quantity()).is_some_and(|(less, more)| less > more) {
                    field.fail(
                        failures,
                        format!("{} is above {more} of {}", field.quoted(), other.quoted()),
                        format!("at most {more}"),
                    );
                }
            }
        }
    }
}

fn priority(root: &Field<'_>, failures: &mut Vec<Failure>) {
    let (name, value) = (root.down("metadata.name"), root.at("value"));
    value.require(failures, "the priority");
    if name.text().is_some_and(|name| name.starts_with("system-")) {
        if !matches!(name.text(), Some("system-cluster-critical" | "system-node-critical")) {
            name.fail(failures, "begins with system-, which is Kubernetes' own", "another name");
        }
    } else if value.number().is_some_and(|value| value > MOST_PRIORITY) {
        value.fail(
            failures,
            format!("{} is above what users may have", value.quoted()),
            format!("{MOST_PRIORITY} at most"),
        );
    }
    root.at("preemptionPolicy").one_of_said(failures, &["PreemptLowerPriority", "Never"]);
}

fn runtime(root: &Field<'_>, failures: &mut Vec<Failure>) {
    root.at("handler").require(failures, "the handler's name on nodes");
    root.at("handler").form(failures, text::label);
    for (name, field) in root.down("overhead.podFixed").map() {
        quantities::named(name, &field, failures);
        quantities::amount(&field, failures);
    }
    let mut seen = BTreeSet::new();
    for toleration in root.down("scheduling.tolerations").list() {
        scheduling::toleration(&toleration, failures);
        let of = ["key", "operator", "value", "effect"].map(|of| toleration.at(of).text_or_empty());
        if !seen.insert(of) {
            toleration.fail(failures, "is there twice", "each toleration once");
        }
    }
    metadata::labels(&root.down("scheduling.nodeSelector"), failures);
}
