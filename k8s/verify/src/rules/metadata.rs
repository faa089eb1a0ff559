//! Labels, annotations and what else is in `metadata`, of objects and of the pods that they make.

use crate::rules::field::Field;
use crate::rules::pods::Pod;
use crate::rules::text;
use crate::{Failure, World};

/// All annotations of an object together, in bytes.
const MOST_ANNOTATIONS: usize = 256 << 10;
const LEVELS: &[&str] = &["privileged", "baseline", "restricted"];

/// Says what is wrong with metadata.
pub fn check(world: &World, failures: &mut Vec<Failure>) {
    for object in &world.objects {
        let metadata = Field::root(object).at("metadata");
        check_one(&metadata, failures);
        if object.kind == "Namespace" {
            pod_security(&metadata.at("labels"), failures);
        }
        for template in Field::root(object).down("spec.volumeClaimTemplates").list() {
            check_one(&template.at("metadata"), failures);
        }
    }
    for pod in Pod::whole(world).filter(|pod| pod.object.kind != "Pod") {
        check_one(&pod.metadata, failures);
    }
}

fn check_one(metadata: &Field<'_>, failures: &mut Vec<Failure>) {
    labels(&metadata.at("labels"), failures);
    let mut size = 0;
    for (key, value) in metadata.at("annotations").map() {
        // Capitals are allowed in what comes before the slash here, and nowhere else.
        if let Some((wrong, right)) = text::key(&key.to_lowercase()) {
            value.fail(failures, wrong, right);
        }
        size += key.len() + value.text_or_empty().len();
    }
    if size > MOST_ANNOTATIONS {
        let right = format!("at most {MOST_ANNOTATIONS} all together");
        metadata.at("annotations").fail(failures, format!("hold {size} bytes"), right);
    }
    for finalizer in metadata.at("finalizers").list() {
        finalizer.form(failures, text::key);
    }
    owners(metadata, failures);
}

fn owners(metadata: &Field<'_>, failures: &mut Vec<Failure>) {
    let owners = metadata.at("ownerReferences").list();
    for owner in &owners {
        for needed in ["apiVersion", "kind", "name", "uid"] {
            owner.at(needed).require(failures, "an owner named in full");
        }
    }
    if owners.iter().filter(|owner| owner.at("controller").is_true()).count() > 1 {
        metadata.at("ownerReferences").fail(
            failures,
            "more than one owner controls the object",
            "one at most",
        );
    }
}

/// Keys and values of labels.
pub(crate) fn labels(labels: &Field<'_>, failures: &mut Vec<Failure>) {
    for (key, value) in labels.map() {
        if let Some((wrong, right)) = text::key(key).or_else(|| text::label_value(value.text_or_empty())) {
            value.fail(failures, wrong, right);
        }
    }
}

/// What a namespace asks of its pods.
fn pod_security(labels: &Field<'_>, failures: &mut Vec<Failure>) {
    for (key, value) in labels.map() {
        let Some(asked) = key.strip_prefix("pod-security.kubernetes.io/") else { continue };
        match asked {
            "enforce" | "audit" | "warn" => value.one_of(failures, LEVELS),
            "enforce-version" | "audit-version" | "warn-version" => {
                let said = value.text_or_empty();
                let minor = said.strip_prefix("v1.").is_some_and(|minor| minor.parse::<u16>().is_ok());
                if said != "latest" && !minor {
                    value.fail(failures, format!("\"{said}\" is no version"), "latest, or as v1.37");
                }
            }
            _ => value.fail(
                failures,
                format!("pod security knows no \"{asked}\""),
                "enforce, audit or warn, or one with -version",
            ),
        }
    }
}
