//! What pods say of others: Secrets and `ConfigMaps` with their keys, claims, accounts, classes.

use crate::Failure;
use crate::rules::field::Field;
use crate::rules::known::Known;
use crate::rules::pods::Pod;

pub(super) fn check(known: &Known<'_>, failures: &mut Vec<Failure>) {
    for pod in Pod::all(known.world) {
        let namespace = pod.object.namespace.as_deref();
        let need = |kind: &str, name: &Field<'_>, failures: &mut Vec<Failure>| {
            known.need(kind, name, namespace, failures);
        };
        need("ServiceAccount", &pod.spec.at("serviceAccountName"), failures);
        if pod.spec.at("serviceAccountName").text().is_none() {
            need("ServiceAccount", &pod.spec.at("serviceAccount"), failures);
        }
        need("PriorityClass", &pod.spec.at("priorityClassName"), failures);
        need("RuntimeClass", &pod.spec.at("runtimeClassName"), failures);
        for secret in pod.spec.at("imagePullSecrets").list() {
            pull(known, &secret.at("name"), namespace, failures);
        }
        for claim in pod.spec.at("resourceClaims").list() {
            need("ResourceClaim", &claim.at("resourceClaimName"), failures);
            need("ResourceClaimTemplate", &claim.at("resourceClaimTemplateName"), failures);
        }
        for volume in pod.volumes() {
            check_volume(known, &volume, namespace, failures);
        }
        for container in pod.all_containers() {
            variables(known, &container, namespace, failures);
        }
        if pod.object.is("apps", "StatefulSet") {
            let name = Field::root(pod.object).down("spec.serviceName");
            need("Service", &name, failures);
            let service = name.text().and_then(|name| known.object("Service", name, namespace));
            if service.is_some_and(|service| service.text("/spec/clusterIP") != Some("None")) {
                name.fail(
                    failures,
                    format!("Service {} is not headless: its pods have no names", name.quoted()),
                    "a Service with clusterIP: None",
                );
            }
        }
    }
}

/// A Secret that a kubelet can sign in with.
pub(super) fn pull(
    known: &Known<'_>,
    name: &Field<'_>,
    namespace: Option<&str>,
    failures: &mut Vec<Failure>,
) {
    if !known.need("Secret", name, namespace, failures) {
        return;
    }
    let Some(secret) = known.object("Secret", name.text_or_empty(), namespace) else { return };
    let kind = Field::root(secret).at("type").text().unwrap_or("Opaque");
    if !matches!(kind, "kubernetes.io/dockerconfigjson" | "kubernetes.io/dockercfg") {
        name.fail(
            failures,
            format!("Secret {} is {kind}: a registry takes none", name.quoted()),
            "type kubernetes.io/dockerconfigjson",
        );
    }
}

fn check_volume(known: &Known<'_>, volume: &Field<'_>, namespace: Option<&str>, failures: &mut Vec<Failure>) {
    by_keys(known, "Secret", &volume.at("secret"), "secretName", namespace, failures);
    by_keys(known, "ConfigMap", &volume.at("configMap"), "name", namespace, failures);
    known.need(
        "PersistentVolumeClaim",
        &volume.at("persistentVolumeClaim").at("claimName"),
        namespace,
        failures,
    );
    for source in volume.at("projected").at("sources").list() {
        by_keys(known, "Secret", &source.at("secret"), "name", namespace, failures);
        by_keys(known, "ConfigMap", &source.at("configMap"), "name", namespace, failures);
    }
    let csi = volume.at("csi");
    known.need("Secret", &csi.at("nodePublishSecretRef").at("name"), namespace, failures);
    if csi.at("driver").text() == Some("secrets-store.csi.k8s.io") {
        let class = csi.at("volumeAttributes").at("secretProviderClass");
        class.require(failures, "the name of a SecretProviderClass");
        known.need("SecretProviderClass", &class, namespace, failures);
    }
    let template = volume.down("ephemeral.volumeClaimTemplate.spec.storageClassName");
    known.need("StorageClass", &template, None, failures);
}

/// A volume of a Secret or a `ConfigMap`, with the keys that it takes.
fn by_keys(
    known: &Known<'_>,
    kind: &str,
    source: &Field<'_>,
    name: &str,
    namespace: Option<&str>,
    failures: &mut Vec<Failure>,
) {
    let name = source.at(name);
    let optional = source.at("optional").is_true();
    if optional && !name.text().is_some_and(|name| known.has(kind, name, namespace)) {
        return;
    }
    if known.need(kind, &name, namespace, failures) && !optional {
        for item in source.at("items").list() {
            known.need_key(kind, name.text_or_empty(), &item.at("key"), namespace, failures);
        }
    }
}

fn variables(known: &Known<'_>, container: &Field<'_>, namespace: Option<&str>, failures: &mut Vec<Failure>) {
    for variable in container.at("env").list() {
        for (of, kind) in [("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret")] {
            let source = variable.at("valueFrom").at(of);
            if !source.at("optional").is_true() && known.need(kind, &source.at("name"), namespace, failures) {
                let name = source.at("name").text_or_empty();
                known.need_key(kind, name, &source.at("key"), namespace, failures);
            }
        }
    }
    for from in container.at("envFrom").list() {
        for (of, kind) in [("configMapRef", "ConfigMap"), ("secretRef", "Secret")] {
            if !from.at(of).at("optional").is_true() {
                known.need(kind, &from.at(of).at("name"), namespace, failures);
            }
        }
    }
}
