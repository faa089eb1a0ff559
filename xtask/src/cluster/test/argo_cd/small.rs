//! What this machine changes in k8s/ before Argo CD reads it: sizes that two nodes of it can hold, and models in dev's image, as a user's
//! would be. What Applications, projects and environments are made of stays as it is.

use std::fs;

use anyhow::{Context as _, Result};

use crate::cluster::test::images::SERVE;
use crate::forge::Forge;

const CHART: &str = "k8s/charts/forebay";

/// # Errors
/// What is to be changed is not there.
pub(super) fn fit(forge: &Forge) -> Result<()> {
    let values = format!("{CHART}/values.yaml");
    for (file, from, to) in [
        (values.as_str(), "{ cpu: 500m, memory: 512Mi }", "{ cpu: 100m, memory: 64Mi }"),
        (&values, "{ cpu: 250m, memory: 256Mi }", "{ cpu: 100m, memory: 64Mi }"),
        (
            "k8s/base/backend/deployment.yaml",
            "cpu: 500m\n              memory: 512Mi",
            "cpu: 100m\n              memory: 64Mi",
        ),
        (
            "k8s/base/front/deployment.yaml",
            "cpu: 250m\n              memory: 256Mi",
            "cpu: 100m\n              memory: 64Mi",
        ),
    ] {
        forge.change(file, from, to)?;
    }
    for file in [&format!("{CHART}/values-prod.yaml"), "k8s/components/gpu/backend.yaml"] {
        forge.change(file, "{ cpu: \"4\", memory: 16Gi }", "{ cpu: 100m, memory: 64Mi }")?;
        forge.change(file, "limits: { memory: 16Gi", "limits: { memory: 512Mi")?;
    }
    let models = format!("backend: {{ image: {{ repository: {SERVE} }} }}\ntest:\n");
    forge.change(&format!("{CHART}/values-dev.yaml"), "test:\n", &models)?;
    let images = format!("images: [{{ name: forebay/serve, newName: {SERVE} }}]\nlabels:\n");
    forge.change("k8s/overlays/dev/kustomization.yaml", "labels:\n", &images)
}

/// A second version, which gates alone know from the first.
///
/// # Errors
/// As [`fit`].
pub(super) fn second(forge: &Forge) -> Result<()> {
    let file = forge.work().join(CHART).join("values.yaml");
    let text = fs::read_to_string(&file)?;
    let (before, gate) = text.split_once("\ngate:\n").context("values.yaml has no gate")?;
    let says = format!("podAnnotations: {{ {VERSION}: second }}");
    let gate = gate.replacen("podAnnotations: {}", &says, 1);
    fs::write(file, format!("{before}\ngate:\n{gate}"))?;
    let metadata = "  template:\n    metadata:\n";
    let annotated = format!("{metadata}      annotations: {{ {VERSION}: second }}\n");
    forge.change("k8s/base/gate/deployment.yaml", metadata, &annotated)
}

/// What second gates are known by.
pub(super) const VERSION: &str = "forebay.test/version";
