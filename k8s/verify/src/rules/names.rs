//! Names: their form by kind, and no object twice. What an API server refuses before it looks further.

use std::collections::{BTreeMap, BTreeSet};

use crate::rules::field::Field;
use crate::rules::text::{self, Wrong};
use crate::{Failure, World};

/// Kinds that live in no namespace, beside those that `customResourceDefinitions` of the world say.
const OF_THE_CLUSTER: &[(&str, &[&str])] = &[
    ("", &["Namespace", "Node", "PersistentVolume"]),
    ("rbac.authorization.k8s.io", &["ClusterRole", "ClusterRoleBinding"]),
    (
        "storage.k8s.io",
        &["StorageClass", "CSIDriver", "CSINode", "VolumeAttachment", "VolumeAttributesClass"],
    ),
    ("scheduling.k8s.io", &["PriorityClass"]),
    ("node.k8s.io", &["RuntimeClass"]),
    ("networking.k8s.io", &["IngressClass", "IPAddress", "ServiceCIDR"]),
    ("apiextensions.k8s.io", &["CustomResourceDefinition"]),
    ("apiregistration.k8s.io", &["APIService"]),
    (
        "admissionregistration.k8s.io",
        &[
            "ValidatingWebhookConfiguration",
            "MutatingWebhookConfiguration",
            "ValidatingAdmissionPolicy",
            "ValidatingAdmissionPolicyBinding",
            "MutatingAdmissionPolicy",
            "MutatingAdmissionPolicyBinding",
        ],
    ),
    ("certificates.k8s.io", &["CertificateSigningRequest", "ClusterTrustBundle"]),
    ("flowcontrol.apiserver.k8s.io", &["FlowSchema", "PriorityLevelConfiguration"]),
    ("resource.k8s.io", &["DeviceClass", "ResourceSlice"]),
    ("external-secrets.io", &["ClusterSecretStore", "ClusterExternalSecret"]),
    ("keda.sh", &["ClusterTriggerAuthentication"]),
    ("serving.kserve.io", &["ClusterServingRuntime", "ClusterStorageContainer"]),
    ("cert-manager.io", &["ClusterIssuer"]),
    ("gateway.networking.k8s.io", &["GatewayClass"]),
];

/// Groups of files that are never sent to an API server.
const NO_OBJECTS: [&str; 2] = ["kustomize.config.k8s.io", "install.istio.io"];

/// Whether a kind lives in no namespace.
pub(crate) fn is_of_the_cluster(group: &str, kind: &str) -> bool {
    OF_THE_CLUSTER.iter().any(|(of, kinds)| *of == group && kinds.contains(&kind))
}

/// Says what is wrong with names and namespaces.
pub fn check(world: &World, failures: &mut Vec<Failure>) {
    let scopes = scopes(world);
    let mut seen: BTreeMap<(&str, &str, &str, &str), &crate::Object> = BTreeMap::new();
    for object in &world.objects {
        let (group, kind) = (object.group(), object.kind.as_str());
        if kind.is_empty() || NO_OBJECTS.contains(&group) {
            continue;
        }
        let metadata = Field::root(object).at("metadata");
        let (name, namespace) = (metadata.at("name"), metadata.at("namespace"));
        match name.text() {
            Some(text) => {
                if let Some((wrong, right)) = form(group, kind, text) {
                    name.fail(failures, wrong, right);
                }
            }
            None if metadata.at("generateName").text().is_some() => {}
            None => name.fail(failures, "is missing", "a name, or metadata.generateName"),
        }
        // On what lives in no namespace an API server leaves it out.
        namespace.form(failures, text::label);
        if let Some(text) = name.text() {
            let of = if is_of_the_cluster(group, kind) || scopes.contains(&(group, kind)) {
                ""
            } else {
                namespace.text_or_empty()
            };
            let known = (group, kind, of, text);
            if let Some(first) = seen.insert(known, object) {
                let (file, line) = (first.source.file.display(), first.source.line);
                name.fail(
                    failures,
                    format!("this {kind} is there twice, first in {file}:{line}"),
                    "one of them",
                );
            }
        }
    }
}

/// Kinds without namespaces by the definitions that the world brings itself.
fn scopes(world: &World) -> BTreeSet<(&str, &str)> {
    let definitions =
        world.objects.iter().filter(|object| object.kind.as_str() == "CustomResourceDefinition");
    definitions
        .map(|definition| Field::root(definition).at("spec"))
        .filter(|spec| spec.at("scope").text() == Some("Cluster"))
        .map(|spec| (spec.at("group").text_or_empty(), spec.down("names.kind").text_or_empty()))
        .collect()
}

/// The form of a name by kind.
fn form(group: &str, kind: &str, name: &str) -> Wrong {
    match (group, kind) {
        ("", "Namespace") | ("apps", "StatefulSet") => text::label(name),
        ("", "Service") => text::old_label(name),
        ("rbac.authorization.k8s.io", _) => text::segment(name),
        ("batch", "CronJob") => text::subdomain(name).or_else(|| {
            let long = name.len() > 52;
            long.then(|| {
                (
                    format!("\"{name}\" is too long for a CronJob"),
                    "at most 52 characters: its Jobs get 11 more",
                )
            })
        }),
        // Its pods carry the name as a label.
        ("batch", "Job") => text::subdomain(name).or_else(|| {
            let long = name.len() > 63;
            long.then(|| {
                (
                    format!("\"{name}\" is too long for a Job"),
                    "at most 63 characters: its pods carry it as a label",
                )
            })
        }),
        // A pod's name is its host name too, but an API server takes more.
        _ => text::subdomain(name),
    }
}
