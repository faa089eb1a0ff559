//! Argo CD seen from its Applications, with the repository that it reads: what they say, and what is asked of them.

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::time::Duration;

use super::controllers::{Controllers, NAMESPACE};
use super::small;
use crate::cluster::await_it::{finished, until};
use crate::cluster::test::bed::{Bed, MODEL, RELEASE};
use crate::cluster::test::environments;
use crate::command::output;
use crate::forge::Forge;

/// How long all of it may take to be synced and healthy on a busy machine: nineteen pods, and their fronts compile.
const PATIENCE: Duration = Duration::from_mins(12);

pub(super) struct Argo<'a> {
    pub(super) bed: &'a Bed<'a>,
    pub(super) forge: &'a Forge,
    pub(super) controllers: &'a Controllers,
}

impl Argo<'_> {
    /// Applies what is applied by hand.
    pub(super) fn root(&self) -> Result<()> {
        let root = self.forge.work().join("k8s/argocd/root");
        self.bed.kube.run(&format!("apply --filename {}", root.display())).map(drop)
    }

    pub(super) fn application(&self, name: &str) -> Result<Value> {
        self.bed.kube.json(&format!("--namespace {NAMESPACE} get applications.argoproj.io forebay-{name}"))
    }

    /// Synced and healthy, as a whole?
    pub(super) fn is_well(&self, name: &str) -> Option<Value> {
        let object = self.application(name).ok()?;
        let status = &object["status"];
        let well = status["sync"]["status"] == "Synced" && status["health"]["status"] == "Healthy";
        let of_this = status["sync"]["comparedTo"]["source"]["targetRevision"]
            == object["spec"]["source"]["targetRevision"];
        (well && of_this && object["operation"].is_null()).then_some(object)
    }

    /// Waits until those are Synced and Healthy from that kind of source.
    pub(super) fn await_all(&self, kind: &str, names: &[&str]) -> Result<()> {
        for name in names {
            let kind = if *name == "root" { "Directory" } else { kind };
            self.until(&format!("{name} is Synced and Healthy by {kind}"), name, || {
                (self.is_well(name)?["status"]["sourceType"] == kind).then_some(())
            })?;
        }
        Ok(())
    }

    /// Waits for as long as Argo CD runs.
    pub(super) fn until(&self, what: &str, name: &str, mut look: impl FnMut() -> Option<()>) -> Result<()> {
        let found = until(what, PATIENCE, || match self.controllers.ended() {
            Some(part) => Some(Some(part)),
            None => look().map(|()| None),
        });
        if let Some(part) = found.with_context(|| {
            let status = self.application(name).map(|object| object["status"].clone()).unwrap_or_default();
            let of = |key: &str| status[key].to_string();
            format!("{name}: {} {} {} {}", of("sync"), of("health"), of("conditions"), of("operationState"))
        })? {
            bail!("Argo CD's {part} has ended; the logs say why");
        }
        Ok(())
    }

    /// Which version an environment's gates are of, by what its Deployment says.
    pub(super) fn version(&self, environment: &str) -> Option<String> {
        let gate = format!("--namespace forebay-{environment} get deployment {RELEASE}-gate");
        let gate = self.bed.kube.json(&gate).ok()?;
        let version = &gate["spec"]["template"]["metadata"]["annotations"][small::VERSION];
        Some(version.as_str().unwrap_or("first").to_owned())
    }

    pub(super) fn await_version(&self, environment: &str, version: &str) -> Result<()> {
        self.until(&format!("{environment} is of the {version} version"), environment, || {
            (self.version(environment)? == version).then_some(())
        })?;
        self.until(&format!("{environment} is well again"), environment, || {
            self.is_well(environment).map(drop)
        })
    }

    /// Asks for a sync, as `argocd app sync` does.
    pub(super) fn sync(&self, name: &str, prune: bool) -> Result<()> {
        let mut patch = self.bed.kube.command(&format!(
            "--namespace {NAMESPACE} patch applications.argoproj.io forebay-{name} --type merge --patch"
        ));
        patch.arg(json!({ "operation": { "sync": { "prune": prune } } }).to_string());
        output(patch).map(drop)
    }

    /// `cargo xtask release ENV --back`; what it said.
    pub(super) fn release(&self, environment: &str) -> Result<String> {
        let mut release = self.bed.xtask()?;
        release.args(["release", environment, "--back", "--push", "--timeout", "10m", "--model", MODEL]);
        release.args(["--namespace", &format!("forebay-{environment}"), "--argo-cd", NAMESPACE]);
        release.arg("--kubeconfig").arg(self.bed.kube.kubeconfig());
        release.arg("--repository").arg(self.forge.work());
        let said = finished(release, "")?.well(&format!("release {environment} --back"))?;
        for line in said.lines() {
            println!("           {environment}: {line}");
        }
        Ok(said)
    }

    /// Takes away all of it.
    pub(super) fn remove(&self) -> Result<()> {
        self.bed.kube.run(&format!("delete namespace {NAMESPACE} forebay-dev"))?;
        ["stage", "prod"].iter().try_for_each(|environment| environments::remove(self.bed, environment))
    }
}
