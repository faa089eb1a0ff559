//! A release of the chart in a mesh, clients and a gateway: a cluster enters; all of it, up, leaves.

use std::time::Duration;

use anyhow::{Context, Result};

use super::ask::Client;
use super::control;
use super::objects::Objects;
use super::proxy::Proxy;
use crate::cluster::await_it::until;
use crate::cluster::registry::Registry;
use crate::cluster::test::bed::{Bed, RELEASE};
use crate::cluster::test::install::namespace;

/// Namespaces, as k8s/istio names them.
pub(super) const CLIENTS: &str = "clients";
pub(super) const INGRESS: &str = "istio-ingress";
/// How long a proxy may take to have what it is sent: on a busy machine it compiles the module for minutes, and says nothing meanwhile.
pub(super) const PATIENCE: Duration = Duration::from_mins(6);

/// What the page says of the chart's values: the label that backends and gate are found by, and a gate that holds. Nobody comes by the
/// front.
const RELEASED: &str = "--set front.enabled=false --set gate.hold.enabled=true \
                        --set backend.podLabels.forebay\\.dev/answers=inference --set gate.podLabels.forebay\\.dev/answers=inference";

pub(super) struct Mesh<'a> {
    /// The release's namespace.
    pub(super) bed: Bed<'a>,
    pub(super) clients: Bed<'a>,
    pub(super) ingress: Bed<'a>,
    pub(super) objects: Objects,
    /// Digest of the module's manifest, without its kind.
    pub(super) digest: String,
    /// Where the module is, for an agent.
    pub(super) uri: String,
}

impl<'a> Mesh<'a> {
    /// The mesh; it comes up if it isn't.
    ///
    /// # Errors
    /// A part does not get ready.
    pub(super) fn of(bed: &Bed<'a>) -> Result<Self> {
        let place = bed.place.as_ref().context("a mesh's images are put into a registry of ours")?;
        let digest = bed.images.load_filter(bed.layout, place.instance)?;
        let digest = digest.trim_start_matches("sha256:").to_owned();
        let version = env!("CARGO_PKG_VERSION");
        let uri = format!("{}/forebay/filter:{version}", Registry::address(place.instance)?);
        let objects = Objects::filled(bed, place.instance.folder.join("istio"), &uri, &digest)?;
        let [clients, ingress] = [CLIENTS, INGRESS].map(|name| bed.in_namespace(name));
        let mesh = Self { bed: bed.in_namespace(RELEASE), clients, ingress, objects, digest, uri };
        // The last that is made.
        if mesh.ingress.run("get envoyfilter forebay-passes").is_err() {
            mesh.come_up()?;
        }
        Ok(mesh)
    }

    fn come_up(&self) -> Result<()> {
        control::install(&self.bed)?;
        // Before there was a mesh, its namespace took no pod that changes its own network.
        let namespace_of = self.bed.kube.json(&format!("get namespace {RELEASE}"));
        if namespace_of.is_ok_and(|own| own["metadata"]["labels"]["istio-injection"] != "enabled") {
            self.bed.kube.run(&format!("delete namespace {RELEASE}"))?;
        }
        for bed in [&self.bed, &self.clients, &self.ingress] {
            let own = &bed.namespace;
            namespace(bed, own)?;
            bed.kube.run(&format!(
                "label namespace {own} --overwrite istio-injection=enabled pod-security.kubernetes.io/enforce=privileged"
            ))?;
        }
        until("the mesh's certificate is there", PATIENCE, || {
            self.bed.run("get configmap istio-ca-root-cert").ok()
        })?;
        self.release("")?;
        control::gateway(&self.ingress)?;
        self.new_clients()?;
        self.objects.apply(&self.bed, "")?;
        // Without it a gateway has no listener, and fetches nothing.
        Objects::apply_text(&self.ingress, &self.objects.text("examples/gateway.yaml")?)?;
        self.filter(true)
    }

    /// The chart's release as the page says it, with more settings.
    ///
    /// # Errors
    /// It does not get ready.
    pub(super) fn release(&self, more: &str) -> Result<()> {
        self.bed.helm(&self.bed.release(&format!("{RELEASED} {more}"))).map(drop)
    }

    /// The filter in clients and the gateway, or nowhere; returns when all proxies have it so.
    ///
    /// # Errors
    /// The server refuses, or a proxy does not get it.
    pub(super) fn filter(&self, there: bool) -> Result<()> {
        let kustomized = self.objects.folder().join("clients");
        if there {
            self.objects.apply(&self.clients, "clients")?;
            let rendered = self.bed.kube.run(&format!("kustomize {}", kustomized.display()))?;
            let elsewhere = rendered.replace("namespace: clients", &format!("namespace: {INGRESS}"));
            Objects::apply_text(&self.ingress, &elsewhere)?;
        } else {
            for bed in [&self.clients, &self.ingress] {
                bed.run("delete envoyfilter forebay forebay-passes")?;
            }
        }
        self.has_filter(there)
    }

    /// Waits until all proxies of clients and of the gateway have the module, or none has.
    ///
    /// # Errors
    /// One does not get so.
    pub(super) fn has_filter(&self, there: bool) -> Result<()> {
        for proxy in self.filtered()? {
            proxy
                .until_it("has the filter as it should", |proxy| Ok(proxy.has_module("forebay")? == there))?;
        }
        Ok(())
    }

    /// Clients in place of those that were, with proxies that have fetched nothing yet.
    ///
    /// # Errors
    /// They don't get ready.
    pub(super) fn new_clients(&self) -> Result<()> {
        self.clients.run("delete pod client stranger --ignore-not-found")?;
        self.bed.kube.apply(CLIENT_PODS)?;
        self.clients.run("wait --for=condition=Ready pod/client pod/stranger --timeout=180s").map(drop)
    }

    /// The gateway's proxy.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn gateway(&self) -> Result<Proxy<'_>> {
        Proxy::all(&self.ingress)?.into_iter().next().context("no gateway runs")
    }

    /// Proxies of clients and of the gateway.
    ///
    /// # Errors
    /// The server does not answer.
    pub(super) fn filtered(&self) -> Result<Vec<Proxy<'_>>> {
        let mut all = Proxy::all(&self.clients)?;
        all.extend(Proxy::all(&self.ingress)?);
        Ok(all)
    }

    /// No proxy of the mesh has refused an update of listeners or clusters.
    ///
    /// # Errors
    /// One has.
    pub(super) fn none_refused(&self) -> Result<String> {
        let mut all = self.filtered()?;
        all.extend(Proxy::all(&self.bed)?);
        for proxy in &all {
            proxy.has_refused_nothing()?;
        }
        Ok(format!("{} proxies, no update refused", all.len()))
    }

    /// A client of that name behind its sidecar, asking the backends by the name that it knows.
    ///
    /// # Errors
    /// The Service has no address.
    pub(super) fn client(&self, pod: &'static str) -> Result<Client<'_>> {
        let address = self.bed.service("backend")?;
        let name = format!("{RELEASE}-backend.{RELEASE}.svc.cluster.local");
        let (url, grpc_url) = (format!("http://{address}:8000"), format!("grpc://{address}:8001"));
        Ok(Client { bed: &self.clients, pod: Some(pod), url, grpc_url, name })
    }

    /// One outside of the mesh, who comes by the gateway.
    ///
    /// # Errors
    /// The Service has no address.
    pub(super) fn outside(&self) -> Result<Client<'_>> {
        let service = self.ingress.json(&format!("get service {INGRESS}"))?;
        let address = service["spec"]["clusterIP"].as_str().context("the gateway has no address")?;
        let name = "models.example.com".to_owned();
        let (url, grpc_url) = (format!("http://{address}:80"), format!("grpc://{address}:80"));
        Ok(Client { bed: &self.ingress, pod: None, url, grpc_url, name })
    }

    /// What there is.
    ///
    /// # Errors
    /// A proxy does not say.
    pub(super) fn described(&self) -> Result<String> {
        let version = self.filtered()?.first().context("no proxy runs")?.version()?;
        Ok(format!("istiod of its module, proxies {version}; {}", self.none_refused()?))
    }
}

/// Two who ask, each with a name of its own; they run nothing, and are asked through their networks.
const CLIENT_PODS: &str = "
apiVersion: v1
kind: ServiceAccount
metadata: { name: client, namespace: clients }
---
apiVersion: v1
kind: ServiceAccount
metadata: { name: stranger, namespace: clients }
---
apiVersion: v1
kind: Pod
metadata: { name: client, namespace: clients, labels: { app: client } }
spec:
  serviceAccountName: client
  nodeName: node-1
  terminationGracePeriodSeconds: 1
  containers: [{ name: client, image: \"pause:1\" }]
---
apiVersion: v1
kind: Pod
metadata: { name: stranger, namespace: clients, labels: { app: stranger } }
spec:
  serviceAccountName: stranger
  nodeName: node-1
  terminationGracePeriodSeconds: 1
  containers: [{ name: client, image: \"pause:1\" }]
";
