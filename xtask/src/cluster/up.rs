//! The start of a cluster: a name enters; two nodes that run pods, with DNS, leave.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::await_it::until;
use super::instance::{Addresses, Instance, NODES};
use super::kube::Kube;
use super::node::Nodes;
use super::programs::{COREDNS, KUBE, PAUSE};
use super::registry::Registry;
use super::tools::Tools;
use super::{down, image, keys, network};
use crate::command::last_lines;
use crate::layout::Layout;
use crate::setup::{self, Part};

/// How long each part may take to be ready on a busy machine.
const PATIENCE: Duration = Duration::from_mins(3);

/// What a cluster is made of, all built.
pub(super) struct Parts {
    pub(super) tools: Tools,
    kube: PathBuf,
    coredns: PathBuf,
    pause: PathBuf,
}

impl Parts {
    /// Installs and builds what is missing.
    ///
    /// # Errors
    /// Something can't be.
    pub(super) fn get(layout: &Layout) -> Result<Self> {
        setup::install(layout, &[Part::Nodes, Part::Helm4])?;
        Ok(Self {
            tools: Tools::new(layout),
            kube: KUBE.program(layout)?,
            coredns: COREDNS.program(layout)?,
            pause: PAUSE.program(layout)?,
        })
    }
}

/// Starts it, after ending what is left of one of that name.
///
/// # Errors
/// A part does not start; the message shows what it said.
pub(super) fn run(layout: &Layout, instance: &Instance, parts: &Parts) -> Result<Kube> {
    let since = Instant::now();
    down::run(instance, &parts.tools)?;
    let logs = instance.folder.join("logs");
    if logs.exists() {
        fs::remove_dir_all(&logs)?;
    }
    fs::create_dir_all(&logs)?;
    let addresses = instance.claim(&parts.tools)?;
    let step = |what: &str| println!("{:>6.1} s  {what}", since.elapsed().as_secs_f64());
    keys::make(instance, addresses, &parts.tools)?;
    network::make(instance, addresses, &parts.tools)?;
    let registry = Registry::prepare(instance, addresses)?;
    for (name, program, tag) in [
        ("coredns", &parts.coredns, COREDNS.version(layout)?),
        ("pause", &parts.pause, PAUSE.version(layout)?),
    ] {
        let folder = instance.folder.join("images").join(name);
        let image = image::Layout::of(&folder, &[(program.clone(), format!("/{name}"))], &parts.tools)?;
        registry.put(&image, &format!("{name}:{tag}"))?;
    }
    step("keys, network, registry");
    let starter = Starter { layout, instance, parts, logs };
    starter.start("control-plane", &instance.control(), addresses.control(), addresses)?;
    let kube = Kube::new(layout, instance.kubeconfig());
    starter.until("the API server is ready", || kube.run("get --raw /readyz").ok())?;
    step("API server");
    let proxies =
        "create clusterrolebinding forebay-proxy --clusterrole=system:node-proxier --user=system:kube-proxy";
    kube.run(proxies)?;
    let nodes = Nodes { instance, addresses, tools: &parts.tools };
    for number in NODES {
        nodes.prepare(number)?;
        starter.node(number, addresses)?;
    }
    starter.until("both nodes are ready", || ready_nodes(&kube).filter(|ready| *ready == NODES.len()))?;
    step("nodes");
    let dns = fs::read_to_string(layout.root.join("k8s/cluster/coredns.yaml"))?;
    let dns = dns.replace("@VERSION@", &COREDNS.version(layout)?).replace("@DNS@", &addresses.service(10));
    kube.apply(&dns)?;
    kube.run("--namespace kube-system rollout status deployment/coredns --timeout=120s")?;
    step("DNS");
    Ok(kube)
}

/// Starts the first process of a set of namespaces.
pub(super) struct Starter<'a> {
    pub(super) layout: &'a Layout,
    pub(super) instance: &'a Instance,
    pub(super) parts: &'a Parts,
    pub(super) logs: PathBuf,
}

impl Starter<'_> {
    /// Starts a node; also one that was lost.
    ///
    /// # Errors
    /// It can't be started.
    pub(super) fn node(&self, number: u8, addresses: Addresses) -> Result<()> {
        let namespace = self.instance.node(number);
        self.start(&format!("node-{number}"), &namespace, addresses.node(number), addresses)
    }

    fn start(&self, name: &str, namespace: &str, address: String, addresses: Addresses) -> Result<()> {
        let script = if name.starts_with("node") { "node.sh" } else { "control-plane.sh" };
        let script = self.layout.root.join("k8s/cluster").join(script);
        let log = File::options().create(true).append(true).open(self.logs.join(format!("{name}.log")))?;
        // A session of its own: it lives on when the terminal is closed. Killing `unshare` kills all that it started.
        let inside =
            ["unshare", "--mount", "--pid", "--uts", "--fork", "--mount-proc", "--kill-child", "bash"];
        let mut start =
            self.parts.tools.command("setsid", ["nsenter", &format!("--net=/run/netns/{namespace}")]);
        start.args(inside).arg(script);
        start.env("FOLDER", &self.instance.folder).env("KUBE", &self.parts.kube).env("NODE", name);
        start.env("ADDRESS", address).env("SERVICES", addresses.services());
        start.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        start.spawn().with_context(|| format!("can't start {name}"))?;
        Ok(())
    }

    /// Waits, for as long as no part has ended.
    fn until<T>(&self, what: &str, mut look: impl FnMut() -> Option<T>) -> Result<T> {
        let mut ended = None;
        let found = until(what, PATIENCE, || {
            ended = self.ended();
            if ended.is_some() { Some(None) } else { look().map(Some) }
        });
        match found {
            Ok(Some(found)) => Ok(found),
            Ok(None) => bail!("{}", ended.unwrap_or_default()),
            Err(error) => Err(error.context(format!("logs are in {}", self.logs.display()))),
        }
    }

    /// What a part's first process said when it ended, with the log that was written last.
    fn ended(&self) -> Option<String> {
        let said = fs::read_dir(&self.logs).ok()?.flatten().find_map(|entry| {
            let text = fs::read_to_string(entry.path()).ok()?;
            let own = ["control-plane.log", "node-1.log", "node-2.log"];
            let first = own.iter().any(|own| entry.file_name() == *own);
            (first && !text.is_empty()).then_some(text)
        })?;
        let newest = newest(&self.logs)?;
        let tail = last_lines(&fs::read_to_string(&newest).unwrap_or_default());
        Some(format!("{}; the last that {} says:\n{tail}", said.trim(), newest.display()))
    }
}

fn newest(logs: &Path) -> Option<PathBuf> {
    let files = fs::read_dir(logs).ok()?.flatten();
    let when = |entry: fs::DirEntry| Some((entry.metadata().ok()?.modified().ok()?, entry.path()));
    files.filter_map(when).max().map(|(_, path)| path)
}

/// Nodes that can run pods.
pub(super) fn ready_nodes(kube: &Kube) -> Option<usize> {
    let nodes = kube.json("get nodes").ok()?;
    let ready = |node: &&Value| {
        node["status"]["conditions"]
            .as_array()
            .is_some_and(|all| all.iter().any(|one| one["type"] == "Ready" && one["status"] == "True"))
    };
    Some(nodes["items"].as_array()?.iter().filter(ready).count())
}
