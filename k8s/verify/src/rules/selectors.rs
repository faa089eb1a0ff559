//! Label selectors: their form wherever one stands, and that a workload's selects its own pods and nobody else's.

use std::collections::BTreeMap;

use crate::rules::field::Field;
use crate::rules::metadata;
use crate::rules::pods::{Pod, labels, selects, selects_plainly};
use crate::rules::text;
use crate::{Failure, World};

/// Where selectors stand beside those of workloads and pods.
const ELSEWHERE: &[(&str, &[&str])] = &[
    ("PodDisruptionBudget", &["spec.selector"]),
    ("NetworkPolicy", &["spec.podSelector"]),
    ("PersistentVolumeClaim", &["spec.selector"]),
    ("PodMonitor", &["spec.selector"]),
    ("ServiceMonitor", &["spec.selector"]),
    ("ValidatingWebhookConfiguration", &[]),
];

/// Says what is wrong with selectors.
pub fn check(world: &World, failures: &mut Vec<Failure>) {
    for object in &world.objects {
        let root = Field::root(object);
        let paths = ELSEWHERE.iter().filter(|(kind, _)| *kind == object.kind).flat_map(|(_, paths)| *paths);
        for path in paths {
            form(&root.down(path), failures);
        }
        if object.is("", "Service") {
            metadata::labels(&root.down("spec.selector"), failures);
        }
    }
    for pod in Pod::whole(world) {
        own(&pod, failures);
    }
    overlaps(world, failures);
}

/// Operators, values and keys of a selector.
pub(crate) fn form(selector: &Field<'_>, failures: &mut Vec<Failure>) {
    metadata::labels(&selector.at("matchLabels"), failures);
    for expression in selector.at("matchExpressions").list() {
        let (operator, values) = (expression.at("operator"), expression.at("values"));
        expression.at("key").require(failures, "a label's key");
        expression.at("key").form(failures, text::key);
        operator.require(failures, "In, NotIn, Exists or DoesNotExist");
        operator.one_of(failures, &["In", "NotIn", "Exists", "DoesNotExist"]);
        match operator.text_or_empty() {
            "In" | "NotIn" if values.is_empty() => values.fail(failures, "are missing", "one at least"),
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                values.fail(failures, "are said where none count", "none, or In");
            }
            _ => {}
        }
        for value in values.list() {
            value.form(failures, text::label_value);
        }
    }
}

/// A workload selects what it makes.
fn own(pod: &Pod<'_>, failures: &mut Vec<Failure>) {
    let selector = Field::root(pod.object).down("spec.selector");
    match (pod.object.group(), pod.object.kind.as_str()) {
        ("apps", _) => {
            form(&selector, failures);
            if !selector.require(failures, "labels of the template's pods") {
                return;
            }
            if selector.at("matchLabels").is_empty() && selector.at("matchExpressions").is_empty() {
                selector.fail(failures, "is empty", "labels of the template's pods");
            } else if !selects(&selector, &pod.labels()) {
                mismatch(pod, &selector.at("matchLabels"), failures);
            }
        }
        ("", "ReplicationController") if selector.is_said() && !selects_plainly(&selector, &pod.labels()) => {
            mismatch(pod, &selector, failures);
        }
        ("batch", "Job")
            if selector.is_said() && !Field::root(pod.object).down("spec.manualSelector").is_true() =>
        {
            selector.fail(failures, "is made by the API server", "leave it out");
        }
        _ => {}
    }
}

fn mismatch(pod: &Pod<'_>, selector: &Field<'_>, failures: &mut Vec<Failure>) {
    let labels = pod.labels();
    let missing =
        selector.map().into_iter().find(|(key, value)| labels.get(key) != Some(&value.text_or_empty()));
    let right = missing.map_or_else(
        || "labels that spec.selector selects".to_owned(),
        |(key, value)| format!("{key}: {} among them, as in spec.selector", value.text_or_empty()),
    );
    pod.metadata.at("labels").fail(failures, "are not selected by the workload's own selector", right);
}

/// Two workloads of one kind that select each other's pods count and delete them in turns.
fn overlaps(world: &World, failures: &mut Vec<Failure>) {
    let pods: Vec<(Pod<'_>, BTreeMap<&str, &str>)> = Pod::whole(world)
        .filter(|pod| pod.object.group() == "apps")
        .map(|pod| {
            let labels = labels(&pod.metadata.at("labels"));
            (pod, labels)
        })
        .collect();
    for (pod, _) in &pods {
        let selector = Field::root(pod.object).down("spec.selector");
        if selector.is_empty() {
            continue;
        }
        for (other, labels) in &pods {
            let is_other = !std::ptr::eq(pod.object, other.object)
                && pod.object.namespace == other.object.namespace
                && (&pod.object.kind, &pod.object.name) != (&other.object.kind, &other.object.name);
            if is_other && selects(&selector, labels) {
                let wrong = format!("selects pods of {} {} too", other.object.kind, other.object.name);
                selector.fail(failures, wrong, "a label that only its own pods have");
            }
        }
    }
}
