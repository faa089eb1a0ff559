//! KEDA itself, in a cluster: upstream's programs and manifests enter; an operator that scales, and its adapter, leave.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::cluster::await_it::until;
use crate::cluster::image;
use crate::cluster::programs::{KEDA, KEDA_ADAPTER};
use crate::cluster::registry::Registry;
use crate::cluster::test::bed::Bed;
use crate::command::{command, output};

/// It makes certificates for itself first, and starts once more with them.
const PATIENCE: Duration = Duration::from_mins(3);

/// Installs it, by upstream's own kustomization; its version.
///
/// # Errors
/// It is not ready in time.
pub(super) fn start(bed: &Bed<'_>) -> Result<String> {
    let place = bed.place.as_ref().context("KEDA's image is put into a registry of ours")?;
    let (operator, adapter) = (KEDA.program(bed.layout)?, KEDA_ADAPTER.program(bed.layout)?);
    let version = KEDA.version(bed.layout)?;
    let folder = place.instance.folder.join("images/keda");
    let files = [(operator, "/keda".to_owned()), (adapter, "/keda-adapter".to_owned())];
    let image = image::Layout::of(&folder, &files, &place.parts.tools)?;
    for name in ["keda", "keda-metrics-apiserver"] {
        Registry::of(place.instance).put(&image, &format!("kedacore/{name}:{version}"))?;
    }
    let own = place.instance.folder.join("keda");
    fs::create_dir_all(own.join("test"))?;
    let mut copy = command("cp", ["-r", "--no-preserve=mode"]);
    copy.arg(KEDA.source(bed.layout)?.join("config")).arg(&own);
    output(copy)?;
    fs::write(own.join("test/kustomization.yaml"), KUSTOMIZATION.replace("@VERSION@", &version))?;
    let objects = bed.kube.run(&format!("kustomize {}", own.join("test").display()))?;
    let words = "apply --server-side --force-conflicts --filename -";
    bed.kube.ask(words, &objects)?.well(&format!("kubectl {words}"))?;
    for name in ["keda-operator", "keda-metrics-apiserver"] {
        bed.kube.run(&format!("--namespace keda rollout status deployment/{name} --timeout=180s"))?;
    }
    until("KEDA answers an HPA's questions", PATIENCE, || {
        let service = bed.kube.json("get apiservice v1beta1.external.metrics.k8s.io").ok()?;
        let conditions = service["status"]["conditions"].as_array()?;
        conditions.iter().any(|one| one["type"] == "Available" && one["status"] == "True").then_some(())
    })?;
    Ok(version)
}

/// Says how many operators there are: none, or one.
///
/// # Errors
/// The server refuses, or it does not become so.
pub(super) fn operators(bed: &Bed<'_>, count: u32) -> Result<()> {
    bed.kube.run(&format!("--namespace keda scale deployment/keda-operator --replicas={count}"))?;
    bed.kube.run("--namespace keda rollout status deployment/keda-operator --timeout=120s")?;
    until("as many operators are there", PATIENCE, || {
        let pods = bed.kube.json("--namespace keda get pods --selector app=keda-operator").ok()?;
        (pods["items"].as_array()?.len() == count as usize).then_some(())
    })
}

/// Takes it away: another one may answer an HPA's questions then.
///
/// # Errors
/// The server refuses.
pub(super) fn stop(bed: &Bed<'_>) -> Result<()> {
    bed.kube.run("delete apiservice v1beta1.external.metrics.k8s.io --ignore-not-found")?;
    bed.kube.run("delete namespace keda --ignore-not-found").map(drop)
}

/// Upstream's, of that version, as a user that is not root, ready as soon as it is, and on the node that is never lost.
const KUSTOMIZATION: &str = r#"
resources: [../config/minimal]
images:
  - { name: ghcr.io/kedacore/keda, newTag: "@VERSION@" }
  - { name: ghcr.io/kedacore/keda-metrics-apiserver, newTag: "@VERSION@" }
patches:
  - target: { kind: Deployment }
    patch: |
      - { op: replace, path: /spec/template/spec/containers/0/imagePullPolicy, value: IfNotPresent }
      - { op: add, path: /spec/template/spec/securityContext/runAsUser, value: 65532 }
      - { op: add, path: /spec/template/spec/nodeName, value: node-1 }
      - { op: replace, path: /spec/template/spec/containers/0/readinessProbe/initialDelaySeconds, value: 1 }
  - target: { kind: Deployment, name: keda-operator }
    patch: |
      - { op: add, path: /spec/template/spec/containers/0/args/-, value: --enable-webhook-patching=false }
"#;
