//! Sealed Secrets by its real controller: what is sealed here is opened there, in the namespace that it was sealed for and in no other.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::bed::{Bed, RELEASE};
use super::dry_run::install_kinds;
use crate::cluster::await_it::{finished, until};
use crate::cluster::image;
use crate::cluster::programs::{KUBESEAL, SEALED_SECRETS};
use crate::cluster::registry::Registry;

/// # Errors
/// It isn't opened, or is where it should not be.
pub(super) fn opened(bed: &Bed<'_>) -> Result<String> {
    let place = bed.place.as_ref().context("the controller's image is put into a registry of ours")?;
    let (controller, kubeseal) = (SEALED_SECRETS.program(bed.layout)?, KUBESEAL.program(bed.layout)?);
    let version = SEALED_SECRETS.version(bed.layout)?;
    let folder = place.instance.folder.join("images/sealed-secrets");
    let image =
        image::Layout::of(&folder, &[(controller, "/usr/bin/controller".to_owned())], &place.parts.tools)?;
    // By the chart's own name, whatever registry it says.
    Registry::of(place.instance).put(&image, &format!("bitnami/sealed-secrets-controller:{version}"))?;
    // Its kind is ours, as of all checks.
    install_kinds(bed)?;
    let chart = SEALED_SECRETS.source(bed.layout)?.join("helm/sealed-secrets");
    bed.helm(&format!(
        "upgrade --install sealed-secrets {} --namespace kube-system --skip-crds --set image.tag={version} --set command[0]=/usr/bin/controller \
         --set fullnameOverride=sealed-secrets-controller --wait --timeout 120s",
        chart.display()
    ))?;
    let secret = bed.run(
        "create secret generic sealed --from-literal=password=of-a-test-alone --dry-run=client --output yaml",
    )?;
    let mut seal = crate::command::command(
        kubeseal,
        ["--controller-name", "sealed-secrets-controller", "--format", "yaml"],
    );
    seal.env("KUBECONFIG", bed.kube.kubeconfig());
    let sealed = finished(seal, &secret)?;
    ensure!(
        sealed.ok && !sealed.stdout.contains("of-a-test-alone"),
        "kubeseal: {}{}",
        sealed.stdout,
        sealed.stderr
    );
    bed.kube.apply(&sealed.stdout)?;
    until("it is opened", Duration::from_secs(30), || {
        let opened = bed.json("get secret sealed").ok()?;
        // "of-a-test-alone"
        (opened["data"]["password"] == "b2YtYS10ZXN0LWFsb25l").then_some(())
    })?;
    // The same, said to be for another namespace.
    bed.kube.apply(&sealed.stdout.replace(&format!("namespace: {RELEASE}"), "namespace: default"))?;
    let refused = until("it is refused elsewhere", Duration::from_secs(30), || {
        let there = bed.kube.json("--namespace default get sealedsecret sealed").ok()?;
        let condition = &there["status"]["conditions"][0];
        (condition["status"] == "False").then(|| condition["message"].as_str().unwrap_or_default().to_owned())
    })?;
    Ok(format!("by controller {version}; for another namespace: {refused}"))
}
