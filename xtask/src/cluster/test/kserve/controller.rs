//! KServe itself: a cluster enters; its kinds, webhooks and running controller leave.
//!
//! All of it is upstream's own `config/default`, by Kustomize: without cert-manager, so its certificate is made here, and without
//! Ingresses, for nothing is there that would serve them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::json;

use crate::cluster::image;
use crate::cluster::keys;
use crate::cluster::programs::KSERVE;
use crate::cluster::registry::Registry;
use crate::cluster::test::bed::Bed;
use crate::cluster::test::dry_run::install_kinds;
use crate::command::{command, output};

const NAMESPACE: &str = "kserve";
/// As `config/default` calls it.
const IMAGE: &str = "kserve/kserve-controller:latest";
/// Whom its webhooks' certificate is for.
const WEBHOOKS: &str = "kserve-webhook-server-service.kserve.svc";

/// Installs it, unless it is there.
///
/// # Errors
/// It can't be built, the server refuses something, or it does not get ready.
pub(super) fn install(bed: &Bed<'_>) -> Result<()> {
    let ready =
        format!("--namespace {NAMESPACE} rollout status deployment/kserve-controller-manager --timeout=180s");
    if bed.kube.run(&format!("get namespace {NAMESPACE}")).is_ok() {
        return bed.kube.run(&ready).map(drop);
    }
    let place = bed.place.as_ref().context("the controller's image is put into a registry of ours")?;
    let folder = place.instance.folder.join("kserve");
    let program = KSERVE.program(bed.layout)?;
    let image =
        image::Layout::of(&folder.join("image"), &[(program, "/manager".to_owned())], &place.parts.tools)?;
    Registry::of(place.instance).put(&image, IMAGE)?;
    // It watches KEDA's kind where that is known.
    install_kinds(bed)?;
    keys::server(&folder.join("keys"), &[WEBHOOKS.to_owned()], &place.parts.tools)?;
    bed.kube.apply(&format!("apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {NAMESPACE}\n"))?;
    let keys = folder.join("keys");
    bed.kube.run(&format!(
        "--namespace {NAMESPACE} create secret tls kserve-webhook-server-cert --cert {keys}/tls.crt --key {keys}/tls.key",
        keys = keys.display()
    ))?;
    let objects = objects(bed, &folder)?;
    let apply = "apply --server-side --force-conflicts --filename -";
    bed.kube.ask(apply, &objects)?.well(&format!("kubectl {apply}"))?;
    bed.kube.run(&ready).map(drop)
}

/// Takes it away, with its kinds.
///
/// # Errors
/// The server refuses.
pub(super) fn remove(bed: &Bed<'_>) -> Result<()> {
    let place = bed.place.as_ref().context("it was installed by us")?;
    let objects = objects(bed, &place.instance.folder.join("kserve"))?;
    let delete = "delete --ignore-not-found --filename -";
    bed.kube.ask(delete, &objects)?.well(&format!("kubectl {delete}"))?;
    bed.kube.run(&format!("delete namespace {NAMESPACE} --ignore-not-found")).map(drop)
}

/// Upstream's objects with what is ours.
fn objects(bed: &Bed<'_>, folder: &Path) -> Result<String> {
    let overlay = folder.join("overlay");
    fs::create_dir_all(&overlay)?;
    let upstream = from(&overlay, &KSERVE.source(bed.layout)?.join("config"))?;
    let upstream = upstream.display();
    let mut base64 = command("base64", ["--wrap=0"]);
    base64.arg(folder.join("keys/ca.crt"));
    let bundle = output(base64)?;
    let trusts = |webhook: usize| json!({"op": "add", "path": format!("/webhooks/{webhook}/clientConfig/caBundle"), "value": bundle.trim()});
    let kustomization = json!({
        "resources": [format!("{upstream}/default"), format!("{upstream}/configmap")],
        "patches": [
            {"patch": json!({
                "apiVersion": "cert-manager.io/v1", "kind": "Certificate", "$patch": "delete",
                "metadata": {"name": "serving-cert", "namespace": NAMESPACE},
            }).to_string()},
            {"target": {"kind": "ValidatingWebhookConfiguration"}, "patch": json!([trusts(0)]).to_string()},
            {"target": {"kind": "MutatingWebhookConfiguration"}, "patch": json!([trusts(0), trusts(1)]).to_string()},
            {"patch": manager().to_string()},
            {"patch": settings().to_string()},
        ],
    });
    fs::write(overlay.join("kustomization.yaml"), kustomization.to_string())?;
    bed.kube.run(&format!("kustomize {}", overlay.display()))
}

/// Its Deployment: a user for an image that names none, no proxy for its metrics, nobody who might lead in its place, for a busy machine
/// is late with a lease, and readiness that is looked at each second.
fn manager() -> serde_json::Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "kserve-controller-manager", "namespace": NAMESPACE},
        "spec": {"template": {"spec": {
            "securityContext": {"runAsUser": 65532},
            "containers": [
                {"name": "kube-rbac-proxy", "$patch": "delete"},
                {"name": "manager", "args": ["--metrics-addr=127.0.0.1:8080"], "imagePullPolicy": "IfNotPresent", "resources": {"limits": {"cpu": null}},
                 "readinessProbe": {"initialDelaySeconds": 1, "periodSeconds": 1}},
            ],
        }}},
    })
}

/// Its settings: Deployments, and no Ingress.
fn settings() -> serde_json::Value {
    let ingress = json!({
        "ingressGateway": "knative-serving/knative-ingress-gateway",
        "localGateway": "knative-serving/knative-local-gateway",
        "localGatewayService": "knative-local-gateway.istio-system.svc.cluster.local",
        "kserveIngressGateway": "kserve/kserve-ingress-gateway",
        "ingressDomain": "example.com", "urlScheme": "http",
        "domainTemplate": "{{ .Name }}-{{ .Namespace }}.{{ .IngressDomain }}",
        "disableIstioVirtualHost": true, "disableIngressCreation": true,
    });
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "inferenceservice-config", "namespace": NAMESPACE},
        "data": {
            "_example": null,
            "ingress": ingress.to_string(),
            "deploy": json!({"defaultDeploymentMode": "Standard"}).to_string(),
        },
    })
}

/// A folder as seen from another one: Kustomize takes no path from the root.
fn from(here: &Path, there: &Path) -> Result<PathBuf> {
    let here = here.canonicalize()?;
    let up: PathBuf = here.components().skip(1).map(|_| "..").collect();
    Ok(up.join(there.strip_prefix("/")?))
}
