//! What Istio's own analyzers, those of `istioctl analyze`, find in the cluster with our objects: nothing but what k8s/istio/README.md
//! explains by its code.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};

use super::mesh::Mesh;
use crate::cluster::programs::ISTIO_ANALYZE;
use crate::command::{command, output};

/// # Errors
/// It can't be run, or finds something that is not explained.
pub(super) fn all(mesh: &Mesh<'_>) -> Result<String> {
    let program = ISTIO_ANALYZE.program(mesh.bed.layout)?;
    let mut analyze = command(&program, [] as [&str; 0]);
    analyze.env("KUBECONFIG", mesh.bed.kube.kubeconfig());
    let found = output(analyze)?;
    let page = mesh.bed.layout.root.join("k8s/istio/README.md");
    let page = std::fs::read_to_string(&page).with_context(|| format!("can't read {}", page.display()))?;
    let explained: BTreeSet<&str> =
        page.lines().filter_map(|line| line.strip_prefix("| `IST")?.split('`').next()).collect();
    let mut codes = BTreeSet::new();
    for line in found.lines() {
        let (_, rest) =
            line.split_once("[IST").with_context(|| format!("a finding without a code: {line}"))?;
        let code = rest.split(']').next().unwrap_or_default();
        ensure!(explained.contains(code), "k8s/istio/README.md does not explain: {line}");
        codes.insert(format!("IST{code}"));
    }
    let codes = codes.into_iter().collect::<Vec<_>>().join(", ");
    Ok(format!("{} findings: {codes}", found.lines().count()))
}
