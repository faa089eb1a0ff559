//! Where pods may run: tolerations, affinities, spread, gates. What a scheduler would never satisfy, or an API server refuses.

use std::collections::BTreeSet;

use crate::rules::field::Field;
use crate::rules::known::is_near;
use crate::rules::metadata;
use crate::rules::pods::{Pod, is_added, selects};
use crate::rules::{selectors, text};
use crate::{Failure, World};

const EFFECTS: &[&str] = &["NoSchedule", "PreferNoSchedule", "NoExecute"];
const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

/// Says what is wrong with scheduling.
pub fn check(world: &World, failures: &mut Vec<Failure>) {
    for pod in Pod::whole(world) {
        for one in pod.spec.at("tolerations").list() {
            toleration(&one, failures);
        }
        metadata::labels(&pod.spec.at("nodeSelector"), failures);
        for (key, field) in pod.spec.at("nodeSelector").map() {
            if let Some(given) = almost_given(key) {
                field.fail(failures, format!("no node has {key}"), format!("{given}, or another label"));
            }
        }
        node_affinity(&pod.spec.down("affinity.nodeAffinity"), failures);
        for kind in ["podAffinity", "podAntiAffinity"] {
            pod_affinity(&pod.spec.at("affinity").at(kind), failures);
        }
        spread(&pod, failures);
    }
}

pub(crate) fn toleration(toleration: &Field<'_>, failures: &mut Vec<Failure>) {
    let [key, operator, value, effect] = ["key", "operator", "value", "effect"].map(|of| toleration.at(of));
    key.form(failures, text::key);
    typo(&key, failures);
    value.form(failures, text::label_value);
    effect.one_of(failures, EFFECTS);
    operator.one_of(failures, &["Equal", "Exists"]);
    if key.text().is_none() && operator.text() != Some("Exists") {
        operator.fail(failures, "no key is said, so that nothing can be equal", "Exists, or a key");
    }
    if operator.text() == Some("Exists") && value.text().is_some() {
        value.fail(failures, "Exists takes no value", "Equal, or no value");
    }
    let seconds = toleration.at("tolerationSeconds");
    if seconds.is_said() && effect.text() != Some("NoExecute") {
        seconds.fail(failures, "time counts for NoExecute alone", "effect: NoExecute, or without");
    }
}

fn node_affinity(affinity: &Field<'_>, failures: &mut Vec<Failure>) {
    let required = affinity.at(REQUIRED);
    if required.is_said() {
        required.at("nodeSelectorTerms").require(failures, "one term at least");
    }
    for term in required.at("nodeSelectorTerms").list() {
        node_term(&term, failures);
    }
    for preferred in affinity.at(PREFERRED).list() {
        weight(&preferred, failures);
        node_term(&preferred.at("preference"), failures);
    }
}

/// What a term asks of a node: shared with volumes.
pub(crate) fn node_term(term: &Field<'_>, failures: &mut Vec<Failure>) {
    for expression in term.at("matchExpressions").list() {
        let (operator, values) = (expression.at("operator"), expression.at("values"));
        operator.require(failures, "In, NotIn, Exists, DoesNotExist, Gt or Lt");
        operator.one_of(failures, &["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"]);
        expression.at("key").require(failures, "a label's key");
        expression.at("key").form(failures, text::key);
        typo(&expression.at("key"), failures);
        let count = values.list().len();
        match operator.text_or_empty() {
            "In" | "NotIn" if count == 0 => values.fail(failures, "are missing", "one at least"),
            "Exists" | "DoesNotExist" if count > 0 => {
                values.fail(failures, "are said where none count", "none, or In");
            }
            "Gt" | "Lt" => {
                let whole = values
                    .list()
                    .first()
                    .and_then(Field::text)
                    .is_some_and(|value| value.parse::<i64>().is_ok());
                if count != 1 || !whole {
                    values.fail(failures, "are not one whole number", "one, in quotes");
                }
            }
            _ => {}
        }
        for value in values.list() {
            value.form(failures, text::label_value);
        }
    }
}

fn weight(preferred: &Field<'_>, failures: &mut Vec<Failure>) {
    preferred.at("weight").require(failures, "1 to 100");
    preferred.at("weight").between(failures, 1, 100);
}

fn pod_affinity(affinity: &Field<'_>, failures: &mut Vec<Failure>) {
    for preferred in affinity.at(PREFERRED).list() {
        weight(&preferred, failures);
        pod_term(&preferred.at("podAffinityTerm"), failures);
    }
    for term in affinity.at(REQUIRED).list() {
        pod_term(&term, failures);
    }
}

/// Labels and taints that Kubernetes and device plugins give nodes.
const GIVEN: &[&str] = &[
    "kubernetes.io/hostname",
    "kubernetes.io/os",
    "kubernetes.io/arch",
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "node.kubernetes.io/instance-type",
    "node.kubernetes.io/not-ready",
    "node.kubernetes.io/unreachable",
    "node.kubernetes.io/memory-pressure",
    "node.kubernetes.io/disk-pressure",
    "node.kubernetes.io/pid-pressure",
    "node.kubernetes.io/network-unavailable",
    "node.kubernetes.io/unschedulable",
    "node-role.kubernetes.io/control-plane",
    "nvidia.com/gpu",
    "nvidia.com/gpu.present",
    "nvidia.com/gpu.product",
];

/// The key that nodes have, where one is almost that.
fn almost_given(key: &str) -> Option<&'static str> {
    let near = GIVEN.iter().find(|given| is_near(given, key));
    near.copied().filter(|_| !GIVEN.contains(&key))
}

/// A key that is almost one that nodes have.
fn typo(key: &Field<'_>, failures: &mut Vec<Failure>) {
    if let Some(given) = key.text().and_then(almost_given) {
        key.fail(failures, format!("no node has {}", key.quoted()), format!("{given}, or another label"));
    }
}

fn pod_term(term: &Field<'_>, failures: &mut Vec<Failure>) {
    typo(&term.at("topologyKey"), failures);
    term.at("topologyKey").require(failures, "a node's label, as kubernetes.io/hostname");
    term.at("topologyKey").form(failures, text::key);
    selectors::form(&term.at("labelSelector"), failures);
    if !term.at("labelSelector").is_said() {
        term.at("labelSelector").fail(failures, "is missing: no pod is meant", "a selector of labels");
    }
    keys_beside_selector(term, failures);
}

/// Keys of `matchLabelKeys` stand in no selector beside them.
fn keys_beside_selector(term: &Field<'_>, failures: &mut Vec<Failure>) {
    let selector = term.at("labelSelector");
    let by_label = selector.at("matchLabels").map().into_iter().map(|(key, _)| key);
    let expressions = selector.at("matchExpressions").list();
    let keys: BTreeSet<&str> =
        by_label.chain(expressions.iter().map(|one| one.at("key").text_or_empty())).collect();
    for key in term.at("matchLabelKeys").list() {
        key.form(failures, text::key);
        if key.text().is_some_and(|key| keys.contains(key)) {
            key.fail(failures, format!("{} is in the selector too", key.quoted()), "one of the two");
        }
    }
    for list in ["matchLabelKeys", "mismatchLabelKeys"].map(|list| term.at(list)) {
        if !list.is_empty() && !selector.is_said() {
            list.fail(failures, "stand beside no labelSelector", "a selector, or none");
        }
    }
}

fn spread(pod: &Pod<'_>, failures: &mut Vec<Failure>) {
    let mut seen = BTreeSet::new();
    for constraint in pod.spec.at("topologySpreadConstraints").list() {
        let [skew, key, otherwise, domains] =
            ["maxSkew", "topologyKey", "whenUnsatisfiable", "minDomains"].map(|of| constraint.at(of));
        skew.require(failures, "at least 1");
        skew.between(failures, 1, i64::from(i32::MAX));
        key.require(failures, "a node's label, as kubernetes.io/hostname");
        key.form(failures, text::key);
        otherwise.require(failures, "DoNotSchedule or ScheduleAnyway");
        otherwise.one_of(failures, &["DoNotSchedule", "ScheduleAnyway"]);
        domains.between(failures, 1, i64::from(i32::MAX));
        if domains.is_said() && otherwise.text() != Some("DoNotSchedule") {
            domains.fail(
                failures,
                "counts for DoNotSchedule alone",
                "whenUnsatisfiable: DoNotSchedule, or without",
            );
        }
        if !seen.insert((key.text_or_empty(), otherwise.text_or_empty())) {
            constraint.fail(
                failures,
                "says the same topologyKey and whenUnsatisfiable as one before",
                "one of them",
            );
        }
        for policy in ["nodeAffinityPolicy", "nodeTaintsPolicy"] {
            constraint.at(policy).one_of_said(failures, &["Honor", "Ignore"]);
        }
        let selector = constraint.at("labelSelector");
        selectors::form(&selector, failures);
        keys_beside_selector(&constraint, failures);
        let labels = pod.labels();
        for key in constraint.at("matchLabelKeys").list() {
            if key.text().is_some_and(|key| !labels.contains_key(key) && !is_added(key)) {
                key.fail(
                    failures,
                    format!("the pods have no label {}", key.quoted()),
                    "a label of the pod's own, or pod-template-hash",
                );
            }
        }
        typo(&key, failures);
        if !selector.is_said() {
            selector.fail(
                failures,
                "is missing: no pod counts, and nothing is spread",
                "the pod's own labels",
            );
        } else if !selects(&selector, &pod.labels()) {
            selector.fail(failures, "does not select the pods that are spread", "labels of the pod's own");
        }
    }
}
