//! The gate gives External metrics in a cluster without Prometheus: the API server hands on what it says, the HPA goes by it, and a second
//! release that wants to give them too is refused.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::bed::{Bed, RELEASE};
use super::install::namespace;
use crate::cluster::await_it::until;

/// Of the release, and of the one that is refused.
const OWN: &str = "forebay-external";
const OTHER: &str = "forebay-other";
const SETTINGS: &str = "--set front.enabled=false --set gate.hold.enabled=true --set scaling.mode=hpa --set scaling.metrics=gate";
/// How long the API server and the HPA may take to see what is there: the one looks each 30 seconds where it found nothing.
const PATIENCE: Duration = Duration::from_mins(2);

/// # Errors
/// A figure does not come, or somebody has it who should not.
pub(super) fn all(bed: &Bed<'_>) -> Result<String> {
    namespace(bed, OWN)?;
    let bed = bed.in_namespace(OWN);
    bed.helm(&bed.release(&format!("{SETTINGS} --set gate.replicas=2")))?;
    bed.kube
        .run("wait --for=condition=Available --timeout=120s apiservice/v1beta1.external.metrics.k8s.io")?;
    let busy = until("both figures are told", PATIENCE, || {
        value(&bed, "forebay-requests").ok()?;
        value(&bed, "forebay-busy").ok()
    })?;
    let read = until("the HPA goes by both", PATIENCE, || read(&bed).ok())?;
    let elsewhere = bed.kube.ask(&format!("get --raw {}", path("default", "forebay-requests")), "")?;
    ensure!(
        !elsewhere.ok && elsewhere.stderr.contains("NotFound"),
        "another namespace: {}",
        elsewhere.stderr
    );
    refused(&bed)?;
    bed.helm(&format!("uninstall {RELEASE} --namespace {OWN} --wait"))?;
    let left =
        bed.kube.run("get apiservice v1beta1.external.metrics.k8s.io --ignore-not-found --output name")?;
    ensure!(left.trim().is_empty(), "the release is gone, and {left} is not");
    bed.kube.run(&format!("delete namespace {OWN}"))?;
    Ok(format!("of two gates, busy {busy}; the HPA read {read}; a second release is refused"))
}

fn path(namespace: &str, metric: &str) -> String {
    format!("/apis/external.metrics.k8s.io/v1beta1/namespaces/{namespace}/{metric}")
}

/// What the API server hands on, of the bed's namespace.
///
/// # Errors
/// Nobody gives that figure.
pub(super) fn value(bed: &Bed<'_>, metric: &str) -> Result<String> {
    let told = bed.kube.run(&format!("get --raw {}", path(&bed.namespace, metric)))?;
    let list: Value = serde_json::from_str(&told)?;
    Ok(list["items"][0]["value"].as_str().context("no value")?.to_owned())
}

/// What the HPA has read, if that is both.
///
/// # Errors
/// It has not.
pub(super) fn read(bed: &Bed<'_>) -> Result<String> {
    let hpa = bed.json(&format!("get horizontalpodautoscaler {RELEASE}-backend"))?;
    let read = hpa["status"]["currentMetrics"].as_array().context("nothing yet")?;
    let figure = |metric: &Value| {
        let external = &metric["external"];
        Some(format!(
            "{} {}",
            external["metric"]["name"].as_str()?,
            external["current"]["averageValue"].as_str()?
        ))
    };
    let figures: Vec<String> = read.iter().filter_map(figure).collect();
    let conditions = hpa["status"]["conditions"].as_array().context("no conditions")?;
    let is_active = |one: &Value| one["type"] == "ScalingActive" && one["status"] == "True";
    ensure!(figures.len() == 2 && conditions.iter().any(is_active), "{hpa}");
    Ok(figures.join(", "))
}

/// Another release does not take the cluster's External metrics away.
fn refused(bed: &Bed<'_>) -> Result<()> {
    let other = bed.in_namespace(OTHER);
    let Err(error) = other.helm(&other.release(&format!("{SETTINGS} --create-namespace"))) else {
        bail!("a second release took External metrics from the first");
    };
    let said = format!("{error:#}");
    ensure!(said.contains(&format!("Service {OWN}/{RELEASE}-gate is it")), "{said}");
    Ok(())
}
