//! istiod and what its webhook puts into pods: programs enter; images, and a control plane that injects, leave.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::cluster::await_it::until;
use crate::cluster::image;
use crate::cluster::programs::{ISTIOD, PILOT_AGENT};
use crate::cluster::registry::Registry;
use crate::cluster::test::bed::{Bed, Place};
use crate::setup::{self, Part};

/// Where istiod is.
pub(super) const SYSTEM: &str = "istio-system";
/// Names of our images of Istio's; the tag is one that stands for no release.
const HUB: &str = "istio";
const TAG: &str = "of-its-module";
/// How long a part may take on a busy machine.
const PATIENCE: Duration = Duration::from_mins(2);

/// Values of Istio's own charts. A stock Envoy lacks `istio.stats`, metadata exchange and Istio's ALPN filter, and refuses what holds
/// them. Requests are counted where they arrive. The rest is for a small machine.
const VALUES: &str = "
telemetry: { enabled: false }
autoscaleEnabled: false
resources: { requests: { cpu: 50m, memory: 128Mi } }
env: { PILOT_ENABLE_METADATA_EXCHANGE: \"false\", PILOT_ENABLE_ALPN_FILTER: \"false\" }
meshConfig:
  defaultConfig:
    proxyMetadata: { PEER_METADATA_DISCOVERY: \"false\" }
    proxyStatsMatcher: { inclusionPrefixes: [cluster.inbound] }
global:
  defaultPodDisruptionBudget: { enabled: false }
  proxy: { resources: { requests: { cpu: 10m, memory: 64Mi }, limits: { cpu: 2000m, memory: 1024Mi } } }
";

/// Puts istiod there, with its kinds, and waits until its webhooks judge and inject.
///
/// # Errors
/// It does not build, or does not get ready.
pub(super) fn install(bed: &Bed<'_>) -> Result<()> {
    let place = bed.place.as_ref().context("Istio's images are put into a registry of ours")?;
    let upstream = ISTIOD.source(bed.layout)?;
    images(bed, place, &upstream)?;
    // Alerts are of the Prometheus operator's kind.
    let alerts = bed.layout.root.join("k8s/crds/prometheusrules.monitoring.coreos.com.json");
    bed.kube.run(&format!("apply --server-side --force-conflicts --filename {}", alerts.display()))?;
    let charts = upstream.join("manifests/charts");
    let values = place.instance.folder.join("istiod-values.yaml");
    fs::write(&values, VALUES)?;
    let images = format!("--set global.hub={HUB} --set global.tag={TAG}");
    // Istio's kinds are those of the version that runs; an earlier check may have put ours there.
    bed.helm(&format!(
        "upgrade --install istio-base {} --namespace {SYSTEM} --create-namespace --take-ownership --force-conflicts",
        charts.join("base").display()
    ))?;
    bed.helm(&format!(
        "upgrade --install istiod {} --namespace {SYSTEM} --values {} {images} --wait --timeout 180s",
        charts.join("istio-control/istio-discovery").display(),
        values.display()
    ))?;
    // It says so a second after it is ready; before, nobody is judged.
    until("istiod's webhook refuses what it can't judge", PATIENCE, || {
        let webhook = bed.kube.json("get validatingwebhookconfiguration istiod-default-validator").ok()?;
        (webhook["webhooks"][0]["failurePolicy"] == "Fail").then_some(())
    })
}

/// A gateway by Istio's own chart: `istio: ingress` is what Gateways select it by.
///
/// # Errors
/// It does not get ready.
pub(super) fn gateway(bed: &Bed<'_>) -> Result<()> {
    let chart = ISTIOD.source(bed.layout)?.join("manifests/charts/gateway");
    bed.helm(&format!(
        "upgrade --install {own} {} --namespace {own} --set service.type=ClusterIP --set autoscaling.enabled=false \
         --set resources.requests.cpu=10m --set resources.requests.memory=64Mi --wait --timeout 180s",
        chart.display(),
        own = bed.namespace
    ))
    .map(drop)
}

fn images(bed: &Bed<'_>, place: &Place<'_>, upstream: &Path) -> Result<()> {
    setup::install(bed.layout, &[Part::Envoy])?;
    let (registry, tools) = (Registry::of(place.instance), &place.parts.tools);
    let scratch = place.instance.folder.join("images");
    let pilot = [(ISTIOD.program(bed.layout)?, "/usr/bin/pilot-discovery".to_owned())];
    let pilot = image::Layout::of_user(&scratch.join("pilot"), &pilot, "1337", tools)?;
    registry.put(&pilot, &format!("{HUB}/pilot:{TAG}"))?;
    let proxy = image::Layout::of(&scratch.join("proxyv2"), &proxy(bed, &scratch, upstream)?, tools)?;
    registry.put(&proxy, &format!("{HUB}/proxyv2:{TAG}"))
}

/// What is in the proxy's image: the agent, Envoy, and iptables for the container that sends a pod's connections through both.
fn proxy(bed: &Bed<'_>, scratch: &Path, upstream: &Path) -> Result<Vec<(PathBuf, String)>> {
    let place = bed.place.as_ref().context("iptables are those of our nodes")?;
    let tools = &place.parts.tools;
    let mut files = vec![(PILOT_AGENT.program(bed.layout)?, "/usr/bin/pilot-agent".to_owned())];
    files.extend(image::Layout::linked(&bed.layout.bin("envoy"), "/usr/local/bin/envoy", tools)?);
    let bootstrap = upstream.join("tools/packaging/common/envoy_bootstrap.json");
    files.push((bootstrap, "/var/lib/istio/envoy/envoy_bootstrap_tmpl.json".to_owned()));
    let debian = bed.layout.nodes().join("usr");
    let tables = debian.join("sbin/xtables-nft-multi");
    for name in
        ["iptables", "iptables-save", "iptables-restore", "ip6tables", "ip6tables-save", "ip6tables-restore"]
    {
        files.extend(image::Layout::linked(&tables, &format!("/usr/bin/{name}"), tools)?);
    }
    let modules = format!("lib/{}-linux-gnu/xtables", std::env::consts::ARCH);
    files.push((debian.join(&modules), format!("/usr/{modules}")));
    // Whom to believe outside of the mesh: the agent says at each call when there is nothing.
    let believed = place.instance.folder.join("keys/ca.crt");
    files.push((believed, "/etc/ssl/certs/ca-certificates.crt".to_owned()));
    let empty = scratch.join("empty");
    fs::create_dir_all(&empty)?;
    files.push((empty, "/tmp".to_owned()));
    Ok(files)
}
