//! The chart is installed: dev as it is, then two of each.

use anyhow::{Context, Result, ensure};

use super::bed::{Bed, RELEASE};

/// A namespace that takes nothing but pods of the strictest standard, the pool's secret, and dev's values.
///
/// # Errors
/// Something is not ready in time.
pub(super) fn dev(bed: &Bed<'_>) -> Result<String> {
    namespace(bed, RELEASE)?;
    bed.helm(&bed.release(""))?;
    let pods = bed.json("get pods")?;
    let count = pods["items"].as_array().context("no list of pods")?.len();
    Ok(format!("{count} pods ready"))
}

/// Makes a namespace with pod security `restricted` and the pool's secret.
///
/// # Errors
/// The server refuses.
pub(super) fn namespace(bed: &Bed<'_>, name: &str) -> Result<()> {
    bed.kube.apply(&format!(
        "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {name}\n  labels:\n    \
         pod-security.kubernetes.io/enforce: restricted\n    pod-security.kubernetes.io/enforce-version: latest\n---\n\
         apiVersion: v1\nkind: Secret\nmetadata:\n  name: forebay-pool\n  namespace: {name}\nstringData:\n  \
         pool-secret: 0123456789abcdef0123456789abcdef\n"
    ))
}

/// # Errors
/// The test's pod fails.
pub(super) fn helm_test(bed: &Bed<'_>) -> Result<String> {
    let said = bed.helm(&format!("test {RELEASE} --namespace {RELEASE} --timeout 120s"))?;
    ensure!(said.contains("Succeeded"), "helm test ran nothing:\n{said}");
    Ok("a request, and once more from the cache alone".to_owned())
}

/// # Errors
/// Both of a component are on one node.
pub(super) fn two_of_each(bed: &Bed<'_>) -> Result<String> {
    have_two(bed)?;
    let mut found = Vec::new();
    for component in ["backend", "gate", "front"] {
        bed.run(&format!("rollout status deployment/{RELEASE}-{component} --timeout=120s"))?;
        let pods = bed.pods(component)?;
        let mut nodes: Vec<&str> = pods.iter().map(|(_, node)| node.as_str()).collect();
        nodes.sort_unstable();
        found.push(format!("{component} on {}", nodes.join(" and ")));
        // The first of two was there before the second, so that each has its own node is the scheduler's doing.
        ensure!(nodes == ["node-1", "node-2"], "{}", found.join(", "));
    }
    let budgets = bed.json("get poddisruptionbudgets")?;
    let budgets = budgets["items"].as_array().map_or(0, Vec::len);
    ensure!(budgets >= 3, "{budgets} budgets, not one for each of backend, gate and front");
    Ok(format!("{}; {budgets} budgets", found.join(", ")))
}

/// Makes sure that there are two of each, whatever was run before.
///
/// # Errors
/// They don't get ready.
pub(super) fn have_two(bed: &Bed<'_>) -> Result<()> {
    bed.helm(&bed.release(&format!("--reuse-values {TWO}"))).map(drop)
}

/// Two of each.
pub(super) const TWO: &str = "--set backend.replicas=2 --set gate.replicas=2 --set front.replicas=2";
