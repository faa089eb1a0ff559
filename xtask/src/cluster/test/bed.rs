//! What the checks stand on: a cluster with a way in, helm, a client, and one release of the chart.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use walkdir::WalkDir;

use super::images::Images;
use crate::cluster::await_it::finished;
use crate::cluster::instance::{Addresses, Instance};
use crate::cluster::kube::Kube;
use crate::cluster::up::{Parts, Starter};
use crate::cluster::{down, node};
use crate::command::{command, last_lines};
use crate::layout::Layout;

/// Name of the release, and of the namespace in which it is but where a check has others.
pub(super) const RELEASE: &str = "forebay";
/// Two nodes on one small machine: what is asked for must fit twice over, or the scheduler has no choice left. Not less: a front that
/// asks for 20m compiled the filter for a minute beside the load, and was ended for it.
pub(super) const SMALL: &str = "--set backend.resources.requests.cpu=100m --set gate.resources.requests.cpu=50m \
                                --set front.resources.requests.cpu=150m --set redis.resources.requests.cpu=50m";
/// The model that is asked.
pub(super) const MODEL: &str = "vad";

#[derive(Clone)]
pub(super) struct Bed<'a> {
    /// Where the release is.
    pub(super) namespace: String,
    /// How many are used beside each other.
    pub(super) beside: usize,
    pub(super) layout: &'a Layout,
    pub(super) kube: Kube,
    /// Of a cluster of ours.
    pub(super) place: Option<Place<'a>>,
    helm: PathBuf,
    pub(super) images: &'a Images,
    /// Registry of the images; empty where any will do.
    registry: String,
    /// How long a rehearsal may go on.
    pub(super) rehearsal: Option<Duration>,
}

/// A cluster of ours: its nodes can be lost and found.
#[derive(Clone)]
pub(super) struct Place<'a> {
    pub(super) instance: &'a Instance,
    pub(super) addresses: Addresses,
    pub(super) parts: &'a Parts,
}

impl<'a> Bed<'a> {
    pub(super) fn ours(
        layout: &'a Layout,
        parts: &'a Parts,
        kube: Kube,
        instance: &'a Instance,
        images: &'a Images,
    ) -> Result<Self> {
        let addresses = instance.addresses().context("the cluster has no addresses")?;
        let place = Some(Place { instance, addresses, parts });
        Ok(Self {
            namespace: RELEASE.to_owned(),
            beside: 1,
            layout,
            kube,
            place,
            helm: layout.bin("helm4"),
            images,
            registry: String::new(),
            rehearsal: None,
        })
    }

    pub(super) fn theirs(layout: &'a Layout, kubeconfig: &Path, images: &'a Images, registry: &str) -> Self {
        let kube = Kube::new(layout, kubeconfig.to_owned());
        Self {
            namespace: RELEASE.to_owned(),
            beside: 1,
            layout,
            kube,
            place: None,
            helm: layout.bin("helm4"),
            images,
            registry: registry.to_owned(),
            rehearsal: None,
        }
    }

    /// The same, for rehearsals of so long.
    pub(super) fn rehearsing(self, rehearsal: Option<Duration>) -> Self {
        Self { rehearsal, ..self }
    }

    /// The same, for so many releases beside each other, each in another namespace.
    pub(super) fn lanes(&self, beside: usize) -> Vec<Self> {
        (1..=beside)
            .map(|lane| Self { namespace: format!("rehearsal-{lane}"), beside, ..self.clone() })
            .collect()
    }

    /// The same with a release in another namespace.
    pub(super) fn in_namespace(&self, namespace: &str) -> Self {
        Self { namespace: namespace.to_owned(), ..self.clone() }
    }

    pub(super) fn chart(&self) -> PathBuf {
        self.layout.root.join("k8s/charts/forebay")
    }

    /// kubectl in the release's namespace.
    ///
    /// # Errors
    /// It fails.
    pub(super) fn run(&self, words: &str) -> Result<String> {
        self.kube.run(&format!("--namespace {} {words}", self.namespace))
    }

    /// # Errors
    /// As [`Self::run`].
    pub(super) fn json(&self, words: &str) -> Result<Value> {
        self.kube.json(&format!("--namespace {} {words}", self.namespace))
    }

    /// helm with words separated by spaces; it fails loudly.
    ///
    /// # Errors
    /// It fails.
    pub(super) fn helm(&self, words: &str) -> Result<String> {
        let mut helm = command(&self.helm, words.split_whitespace());
        helm.env("KUBECONFIG", self.kube.kubeconfig());
        finished(helm, "")?.well(&format!("helm {words}"))
    }

    /// Which helm that is.
    pub(super) fn helm_program(&self) -> &Path {
        &self.helm
    }

    /// `cargo xtask` itself, of this checkout.
    ///
    /// # Errors
    /// It is not known where it is.
    pub(super) fn xtask(&self) -> Result<Command> {
        let mut xtask = Command::new(std::env::current_exe()?);
        xtask.env("CARGO_MANIFEST_DIR", self.layout.root.join("xtask")).env("FOREBAY_DIR", &self.layout.dir);
        Ok(xtask)
    }

    /// The words that install or change the release as dev has it, on the test's images, with more settings.
    pub(super) fn release(&self, more: &str) -> String {
        let chart = self.chart();
        let mut words = format!(
            "upgrade --install {RELEASE} {chart} --namespace {own} --values {chart}/values-dev.yaml \
             --set backend.image.repository={} {SMALL} --wait --timeout 180s",
            super::images::SERVE,
            own = self.namespace,
            chart = chart.display(),
        );
        if !self.registry.is_empty() {
            let registry = &self.registry;
            let said =
                [" --set image.registry=", registry, " --set redis.image.repository=", registry, "/redis"];
            words.extend(said);
        }
        format!("{words} {more}")
    }

    /// Address of a Service.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn service(&self, component: &str) -> Result<String> {
        let service = self.json(&format!("get service {RELEASE}-{component}"))?;
        Ok(service["spec"]["clusterIP"].as_str().context("the Service has no address")?.to_owned())
    }

    /// `forebay` as a process of the first node, which reaches Services as pods do.
    ///
    /// # Errors
    /// The cluster is not ours.
    pub(super) fn client(&self) -> Result<Command> {
        let place = self.place.as_ref().context("a client needs a node of ours")?;
        let mut client =
            place.parts.tools.command("nsenter", [format!("--net=/run/netns/{}", place.instance.node(1))]);
        client.arg(&self.images.forebay);
        Ok(client)
    }

    /// Names of a component's pods that run, each with its node.
    ///
    /// # Errors
    /// The server does not answer.
    pub(super) fn pods(&self, component: &str) -> Result<Vec<(String, String)>> {
        let pods = self.json(&format!("get pods --selector app.kubernetes.io/component={component}"))?;
        let pods = pods["items"].as_array().context("no list of pods")?;
        let going = |pod: &&Value| pod["metadata"]["deletionTimestamp"].is_null();
        let name = |pod: &Value| {
            let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            (word(&pod["metadata"]["name"]), word(&pod["spec"]["nodeName"]))
        };
        Ok(pods.iter().filter(going).map(name).collect())
    }

    /// What starts a node again.
    ///
    /// # Errors
    /// The cluster is not ours.
    pub(super) fn starter(&self) -> Result<(Starter<'_>, &Place<'_>)> {
        let place = self.place.as_ref().context("nodes of ours are needed")?;
        let logs = place.instance.folder.join("logs");
        Ok((Starter { layout: self.layout, instance: place.instance, parts: place.parts, logs }, place))
    }

    /// Ends a node's first process, and all in it.
    ///
    /// # Errors
    /// The cluster is not ours.
    pub(super) fn end_node(&self, number: u8) -> Result<()> {
        let place = self.place.as_ref().context("nodes of ours are needed")?;
        down::kill(&[place.instance.node(number)], &place.parts.tools)
    }

    /// Fills a pod's memory up to its limit, so that the kernel kills its server: kubelet made that likelier than anything of the machine's.
    ///
    /// # Errors
    /// Its control group isn't found.
    pub(super) fn fill_memory(&self, pod: &str) -> Result<Filling> {
        let fill = "echo $$ >\"$1/cgroup.procs\" && exec tail /dev/zero";
        let mut filler = command("sh", ["-c", fill, "sh"]);
        Ok(Filling(filler.arg(self.control_group(pod)?).spawn()?))
    }

    /// Kills a pod's processes, as nobody is asked to end.
    ///
    /// # Errors
    /// Its control group isn't found.
    pub(super) fn kill(&self, pod: &str) -> Result<()> {
        let processes = fs::read_to_string(self.control_group(pod)?.join("cgroup.procs"))?;
        for process in processes.lines().filter_map(|line| Pid::from_raw(line.trim().parse().ok()?)) {
            kill_process(process, Signal::KILL)?;
        }
        Ok(())
    }

    /// `forebay` as a process in a pod's network, behind what stands in its way there.
    ///
    /// # Errors
    /// The pod does not run on a node of ours.
    pub(super) fn client_in(&self, pod: &str) -> Result<Command> {
        let place = self.place.as_ref().context("a client needs a node of ours")?;
        let processes = fs::read_to_string(self.control_group(pod)?.join("cgroup.procs"))?;
        let process = processes.lines().next().context("the pod runs nothing")?;
        let mut client = place.parts.tools.command("nsenter", [format!("--net=/proc/{process}/ns/net")]);
        client.arg(&self.images.forebay);
        Ok(client)
    }

    /// The control group of a pod's container.
    fn control_group(&self, pod: &str) -> Result<PathBuf> {
        let place = self.place.as_ref().context("nodes of ours are needed")?;
        let pod = self.json(&format!("get pod {pod}"))?;
        let id =
            pod["status"]["containerStatuses"][0]["containerID"].as_str().context("no container runs")?;
        let id = id.trim_start_matches("containerd://").to_owned();
        let groups = node::hierarchies().into_iter().filter(|root| {
            root.ends_with("memory") || root.join("cgroup.controllers").exists() && !root.ends_with("unified")
        });
        let mut folders =
            groups.flat_map(|root| WalkDir::new(root.join(place.instance.cgroup())).into_iter().flatten());
        let group =
            folders.find(|entry| *entry.file_name() == *id).context("the pod's control group isn't there")?;
        Ok(group.into_path())
    }

    /// Prints how the pods are, for whoever reads of a failure.
    pub(super) fn tell_pods(&self) {
        for words in
            ["get pods --output wide", "get events --sort-by .lastTimestamp --field-selector type=Warning"]
        {
            if let Ok(said) = self.run(words) {
                println!("{}", last_lines(&said));
            }
        }
    }
}

/// What fills a memory, until it is dropped.
pub(super) struct Filling(Child);

impl Drop for Filling {
    fn drop(&mut self) {
        // It may have ended for want of memory.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
