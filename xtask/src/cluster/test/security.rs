//! The standard that pods are held to is really held: what breaks it does not get in.

use anyhow::{Result, ensure};

use super::bed::{Bed, RELEASE};

/// # Errors
/// A pod that runs as root gets in, or one of ours draws a warning.
pub(super) fn restricted(bed: &Bed<'_>) -> Result<String> {
    let pod = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: root\nspec:\n  containers:\n    - name: root\n      image: pause:1\n";
    let said = bed.kube.ask(&format!("--namespace {RELEASE} apply --dry-run=server --filename -"), pod)?;
    ensure!(
        !said.ok && said.stderr.contains("restricted"),
        "a pod without any security gets in: {}{}",
        said.stdout,
        said.stderr
    );
    // Deployments are never refused, only warned of.
    let apply = "apply --server-side --force-conflicts --dry-run=server --filename -";
    let objects = bed.helm(&format!("get manifest {RELEASE} --namespace {RELEASE}"))?;
    let said = bed.kube.ask(&format!("--namespace {RELEASE} {apply}"), &objects)?;
    ensure!(said.ok && said.stderr.trim().is_empty(), "{}", said.stderr.trim());
    Ok("a pod as root is refused, ours draw no warning".to_owned())
}
