//! A release by Kustomize: rendered manifests enter; they are applied, or the set before them is again.
//!
//! Sets are kept in a `ConfigMap` beside the deployment: `good` runs, `before` is where the way back leads, `begun` is what a call that was
//! killed was bringing. They hold no secrets: those are named in manifests, never in them.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::lock::{Left, Lock};
use super::run::watched;
use super::{Settings, Way};
use crate::deployment::{Kubectl, json as objects};

pub(super) struct Sets<'a> {
    settings: &'a Settings,
    kubectl: Kubectl,
    manifests: String,
}

impl<'a> Sets<'a> {
    pub(super) fn new(settings: &'a Settings, kubectl: Kubectl, manifests: String) -> Self {
        Self { settings, kubectl, manifests }
    }

    fn name(&self) -> String {
        format!("{}-sets", self.settings.deployment.release)
    }

    fn kept(&self) -> Result<Option<Value>> {
        self.kubectl.object(&format!("configmap/{}", self.name()))
    }

    fn of(kept: Option<&Value>, key: &str) -> String {
        kept.and_then(|kept| kept["data"][key].as_str()).unwrap_or_default().to_owned()
    }

    /// Keeps these in place of those.
    fn note(&self, sets: &[(&str, &str)]) -> Result<()> {
        let data: serde_json::Map<String, Value> =
            sets.iter().map(|(key, set)| ((*key).to_owned(), json!(set))).collect();
        let map = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "data": data,
            "metadata": { "name": self.name(), "labels": { "app.kubernetes.io/part-of": "forebay" } },
        });
        let said = self.kubectl.ask("replace --filename -", &map.to_string())?;
        if said.ok {
            return Ok(());
        }
        self.kubectl.run("create --filename -", &map.to_string()).map(drop)
    }

    /// Names of all objects of a set.
    fn names(&self, set: &str) -> Result<BTreeSet<String>> {
        if set.trim().is_empty() {
            return Ok(BTreeSet::new());
        }
        let all = self.kubectl.objects("create --dry-run=client --filename -", set)?;
        Ok(all.iter().map(objects::name).collect())
    }

    /// Applies a set, waits until it runs, and removes what others of ours have and it has not.
    fn apply(&self, set: &str, others: &[&str], lock: &Lock) -> Result<()> {
        let file = std::env::temp_dir().join(format!("forebay-set-{}.yaml", std::process::id()));
        std::fs::write(&file, set).with_context(|| format!("can't write {}", file.display()))?;
        let applied = self.apply_file(&file, lock);
        let _ = std::fs::remove_file(&file);
        applied?;
        let own = self.names(set)?;
        for deployment in own.iter().filter(|name| name.starts_with("deployment/")) {
            let words = format!("rollout status {deployment} --timeout {}s", self.settings.timeout.as_secs());
            watched(self.kubectl.command(words.split_whitespace()), &words, lock)?;
        }
        for other in others {
            for name in self.names(other)?.difference(&own) {
                self.kubectl.run(&format!("delete {name} --ignore-not-found"), "")?;
            }
        }
        Ok(())
    }

    fn apply_file(&self, file: &Path, lock: &Lock) -> Result<()> {
        let mut apply = self.kubectl.command(["apply", "--server-side", "--force-conflicts"]);
        apply.args(["--field-manager", "forebay-release", "--filename"]).arg(file);
        watched(apply, "kubectl apply", lock)
    }
}

impl Way for Sets<'_> {
    /// Applying is the same whatever was applied of it before; what is left over of a killed call is removed after the next.
    fn mend(&self, _: Option<&Left>) -> Result<()> {
        if !Self::of(self.kept()?.as_ref(), "begun").is_empty() {
            println!("mend: a call before this one did not end; what it brought is replaced");
        }
        Ok(())
    }

    fn next(&self) -> Result<u64> {
        Ok(1)
    }

    fn bring(&self, lock: &Lock) -> Result<String> {
        let kept = self.kept()?;
        let [good, before, begun] = ["good", "before", "begun"].map(|key| Self::of(kept.as_ref(), key));
        self.note(&[("good", &good), ("before", &before), ("begun", &self.manifests), ("left", &begun)])?;
        match self.apply(&self.manifests, &[&good, &begun], lock) {
            Ok(()) => Ok("applied, ready".to_owned()),
            Err(error) if good.is_empty() => {
                Err(error.context("nothing was good before it; it stays for a look at it"))
            }
            Err(error) => {
                self.apply(&good, &[&self.manifests, &begun], lock).context("and going back fails")?;
                self.note(&[("good", &good), ("before", &before)])?;
                Err(error.context("the set before it runs again"))
            }
        }
    }

    fn back(&self, lock: &Lock) -> Result<String> {
        let kept = self.kept()?;
        let [good, before, begun] = ["good", "before", "begun"].map(|key| Self::of(kept.as_ref(), key));
        // What was begun was never good: back from it is what was good.
        let (to, from) = if begun.is_empty() { (&before, &good) } else { (&good, &begun) };
        if to.is_empty() {
            bail!("no set before this one is kept; what is there stays for a look at it");
        }
        self.apply(to, &[from], lock)?;
        let older = if begun.is_empty() { "" } else { &before };
        self.note(&[("good", to), ("before", older)])?;
        Ok("the set before it runs again".to_owned())
    }

    fn keep(&self) -> Result<()> {
        let kept = self.kept()?;
        let [good, before, begun] = ["good", "before", "begun"].map(|key| Self::of(kept.as_ref(), key));
        if begun.is_empty() {
            return Ok(());
        }
        let before = if good == begun { &before } else { &good };
        self.note(&[("good", &begun), ("before", before)])
    }

    fn model(&self) -> Result<Option<(String, Vec<String>)>> {
        Ok(None)
    }
}
