//! What an operator does under load: a new version of each component, and a node that is emptied.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::bed::{Bed, RELEASE};
use super::install::{TWO, have_two};
use super::load::{none_failed, under_load};
use crate::cluster::await_it::until;

/// # Errors
/// A request fails.
pub(super) fn backend(bed: &Bed<'_>) -> Result<String> {
    renewed(bed, "backend")
}

/// # Errors
/// A request fails.
pub(super) fn gate(bed: &Bed<'_>) -> Result<String> {
    renewed(bed, "gate")
}

/// # Errors
/// A request fails.
pub(super) fn front(bed: &Bed<'_>) -> Result<String> {
    renewed(bed, "front")
}

/// All pods of a component are replaced, by an upgrade that changes them.
fn renewed(bed: &Bed<'_>, component: &str) -> Result<String> {
    have_two(bed)?;
    let before = bed.pods(component)?;
    let ((), sent) = under_load(bed, || {
        let change = format!("{TWO} --set-string {component}.podAnnotations.renewed=yes");
        bed.helm(&bed.release(&change))?;
        bed.run(&format!("rollout status deployment/{RELEASE}-{component} --timeout=180s"))?;
        // The last old pod may still be on its way out, with requests of its own.
        until("the old pods are gone", Duration::from_mins(2), || {
            let pods = bed
                .run(&format!("get pods --selector app.kubernetes.io/component={component} --output name"));
            pods.ok().filter(|pods| before.iter().all(|(name, _)| !pods.contains(name.as_str()))).map(drop)
        })
    })?;
    none_failed(&sent)
}

/// A node is emptied as before an upgrade of its kernel; it comes back, and a new version spreads again.
///
/// # Errors
/// A request fails, or a component has fewer pods ready than its budget wants.
pub(super) fn drain(bed: &Bed<'_>) -> Result<String> {
    have_two(bed)?;
    let (drained, sent) = under_load(bed, || {
        let drained = bed.kube.run("drain node-2 --ignore-daemonsets --delete-emptydir-data --timeout=180s");
        for component in ["backend", "gate", "front"] {
            bed.run(&format!("rollout status deployment/{RELEASE}-{component} --timeout=120s"))?;
        }
        drained
    })?;
    ensure!(drained.contains("evicted"), "nothing was evicted: {drained}");
    for component in ["backend", "gate", "front"] {
        let pods = bed.pods(component)?;
        ensure!(pods.iter().all(|(_, node)| node == "node-1"), "{component} is still there: {pods:?}");
    }
    bed.kube.run("uncordon node-2")?;
    let evicted = drained.lines().filter(|line| line.contains("evicted")).count();
    bed.run(&format!(
        "rollout restart deployment/{RELEASE}-backend deployment/{RELEASE}-gate deployment/{RELEASE}-front"
    ))?;
    for component in ["backend", "gate", "front"] {
        bed.run(&format!("rollout status deployment/{RELEASE}-{component} --timeout=180s"))?;
        let mut nodes: Vec<String> = bed.pods(component)?.into_iter().map(|(_, node)| node).collect();
        nodes.sort();
        nodes.dedup();
        ensure!(nodes.len() == 2, "{component} is on {nodes:?} alone after node-2 came back");
    }
    Ok(format!(
        "{evicted} evicted; {}; spread again",
        none_failed(&sent).context("while node-2 was drained")?
    ))
}
