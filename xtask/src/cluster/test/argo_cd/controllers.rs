//! Argo CD itself: a cluster enters; its kinds, settings and running controllers leave, which end when they are dropped.
//!
//! Upstream's application controller and repository server, with a Redis, are processes of the control plane's network and not pods: they
//! reach the API server by a kubeconfig, Helm, Kustomize and Git are set-up's and this machine's, and repositories are folders. Its API
//! server and pages are not there, for nothing is asked of them.

use std::cell::RefCell;
use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use anyhow::{Context, Result};

use crate::cluster::programs::ARGO_CD;
use crate::cluster::test::bed::{Bed, Place};
use crate::setup::{self, Part};

/// Where Applications are.
pub(super) const NAMESPACE: &str = "argocd";

pub(super) struct Controllers {
    running: RefCell<Vec<(&'static str, Child)>>,
}

impl Controllers {
    /// Installs its kinds and settings, with ours for waves, and starts it.
    ///
    /// # Errors
    /// The server refuses one, or a process can't be started.
    pub(super) fn start(bed: &Bed<'_>) -> Result<Self> {
        setup::install(bed.layout, &[Part::Helm3, Part::Kustomize])?;
        let (program, upstream) = (ARGO_CD.program(bed.layout)?, ARGO_CD.source(bed.layout)?);
        let manifests = upstream.join("manifests");
        let kinds = manifests.join("crds");
        bed.kube.run(&format!("apply --server-side --force-conflicts --kustomize {}", kinds.display()))?;
        bed.kube.apply(&format!("apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {NAMESPACE}\n"))?;
        let settings = manifests.join("base/config");
        bed.kube.run(&format!("--namespace {NAMESPACE} apply --kustomize {}", settings.display()))?;
        let health = bed.layout.root.join("k8s/argocd/health.yaml");
        bed.kube.run(&format!(
            "--namespace {NAMESPACE} patch configmap argocd-cm --patch-file {}",
            health.display()
        ))?;

        let place = bed.place.as_ref().context("its processes are in a network of ours")?;
        let folder = place.instance.folder.join("argo-cd");
        let starter = Starter { bed, place, folder: Self::folder(bed, &folder)? };
        let redis = "--appendonly no --bind 127.0.0.1 --port 6379";
        let server =
            "--address 127.0.0.1 --port 8081 --metrics-port 8084 --disable-tls --redis 127.0.0.1:6379";
        let controller = format!(
            "--namespace {NAMESPACE} --redis 127.0.0.1:6379 --repo-server 127.0.0.1:8081 --repo-server-plaintext --metrics-port 8085"
        );
        let own = Self { running: RefCell::default() };
        for (name, program, words) in [
            ("redis", &bed.layout.bin("redis-server"), redis),
            ("repo-server", &program, server),
            ("application-controller", &program, &controller),
        ] {
            let child = starter.start(name, program, words)?;
            own.running.borrow_mut().push((name, child));
        }
        Ok(own)
    }

    /// Which of them has ended, if one has.
    pub(super) fn ended(&self) -> Option<&'static str> {
        let mut running = self.running.borrow_mut();
        running.iter_mut().find_map(|(name, child)| child.try_wait().ok().flatten().map(|_| *name))
    }

    /// What it wants to be there.
    fn folder(bed: &Bed<'_>, folder: &Path) -> Result<PathBuf> {
        for inside in ["bin", "home", "tmp", "tls", "ssh", "gpg/keys", "gpg/source", "plugins"] {
            fs::create_dir_all(folder.join(inside))?;
        }
        fs::set_permissions(folder.join("gpg/keys"), fs::Permissions::from_mode(0o700))?;
        File::create(folder.join("ssh/ssh_known_hosts"))?;
        // By these names, of which Argo CD brings Helm 3.
        for (name, ours) in [("helm", "helm3"), ("kustomize", "kustomize")] {
            let link = folder.join("bin").join(name);
            if link.symlink_metadata().is_err() {
                symlink(bed.layout.bin(ours), link)?;
            }
        }
        Ok(folder.to_owned())
    }
}

impl Drop for Controllers {
    fn drop(&mut self) {
        for (_, child) in self.running.get_mut() {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

struct Starter<'a> {
    bed: &'a Bed<'a>,
    place: &'a Place<'a>,
    folder: PathBuf,
}

impl Starter<'_> {
    /// Starts a program, which knows by the name it is called by what to be.
    fn start(&self, name: &str, program: &Path, words: &str) -> Result<Child> {
        let instance = self.place.instance;
        let net = format!("--net=/run/netns/{}", instance.control());
        let mut start = self.place.parts.tools.command("nsenter", [net.as_str()]);
        start.arg(program).args(words.split_whitespace());
        let mut path = vec![self.folder.join("bin")];
        path.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
        start.env("PATH", std::env::join_paths(path)?).env("KUBECONFIG", self.bed.kube.kubeconfig());
        start.env("ARGOCD_BINARY_NAME", format!("argocd-{name}"));
        for (variable, inside) in [
            ("HOME", "home"),
            ("TMPDIR", "tmp"),
            ("ARGOCD_TLS_DATA_PATH", "tls"),
            ("ARGOCD_SSH_DATA_PATH", "ssh"),
            ("ARGOCD_GNUPGHOME", "gpg/keys"),
            ("ARGOCD_GPG_DATA_PATH", "gpg/source"),
            ("ARGOCD_PLUGINSOCKFILEPATH", "plugins"),
        ] {
            start.env(variable, self.folder.join(inside));
        }
        // The cluster that Applications name `https://kubernetes.default.svc` is the kubeconfig's.
        start.env("ARGOCD_FAKE_IN_CLUSTER", "true").env("ARGOCD_GPG_ENABLED", "false");
        // Git is looked into each ten seconds and not each three minutes: the tests wait for it.
        start.env("ARGOCD_RECONCILIATION_TIMEOUT", "10s").env("ARGOCD_RECONCILIATION_JITTER", "0s");
        start.env("ARGOCD_CONTROLLER_REPLICAS", "1").current_dir(&self.folder);
        let log = File::create(instance.folder.join(format!("logs/argo-cd-{name}.log")))?;
        start.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        start.spawn().with_context(|| format!("can't start Argo CD's {name}"))
    }
}
