//! A service whose backends come and go: who scales it enters; a release of its own, with models whose answers are known, leaves.

use std::fs;
use std::net::SocketAddr;
use std::time::SystemTime;

use anyhow::{Context, Result};
use rig::repository::{add, generated};
use serde_json::Value;

use super::client::read;
use crate::cluster::test::bed::{Bed, RELEASE};
use crate::cluster::test::environments::volume;
use crate::cluster::test::install::namespace;
use crate::command::output;

/// Of the release and its claim.
const OWN: &str = "forebay-cycles";
/// Both give back what they get: one at once, one after half a second, in which others come: so many are in progress at a time as ask.
pub(super) const PROMPT: &str = "prompt";
pub(super) const PATIENT: &str = "patient";
const CACHED: &str = "response_cache { enable: true } parameters { key: \"forebay_max_age_s\" value { string_value: \"3600\" } }";
const WAITS: &str = "max_batch_size: 64 dynamic_batching { preferred_batch_size: [ 64 ] max_queue_delay_microseconds: 500000 }";
/// What all of them have: one pod takes four requests; what was asked before is kept for the whole test.
const SETTINGS: &str = "--set gate.hold.enabled=true --set gate.hold.timeoutSecs=180 --set models.from=pvc \
     --set models.pvc.claim=forebay-models --set backend.settings.log-format=json --set scaling.max=3 --set scaling.requests=4 \
     --set scaling.busy=4 --set scaling.cooldownSecs=10 --set test.model=";
/// Waits for the last backend's end: one that ends still answers, and whoever comes then wakes nobody.
pub(super) const GONE: &str =
    "wait pods --selector app.kubernetes.io/component=backend --for delete --timeout 120s";

pub(super) struct Service<'a> {
    pub(super) bed: Bed<'a>,
    settings: String,
}

impl<'a> Service<'a> {
    /// Installs it, in place of the release of other checks, whose pods would be in the way.
    ///
    /// # Errors
    /// It is not ready in time.
    pub(super) fn install(bed: &Bed<'a>, scaled_by: &str) -> Result<Self> {
        let place = bed.place.as_ref().context("volumes are folders of ours")?;
        bed.helm(&format!("uninstall {RELEASE} --namespace {RELEASE} --ignore-not-found --wait"))?;
        let folder = place.instance.folder.join("cycles");
        namespace(bed, OWN)?;
        volume(bed, &folder, OWN, "cycles", "models")?;
        let models = folder.join("models/models");
        add(&models, PROMPT, "model.onnx", generated("identity_fp32"), CACHED);
        add(&models, PATIENT, "model.onnx", generated("identity_fp32"), &format!("{WAITS} {CACHED}"));
        let service = Self { bed: bed.in_namespace(OWN), settings: format!("{SETTINGS} {scaled_by}") };
        service.change("")?;
        Ok(service)
    }

    /// Changes what it has, for as long as nothing else does.
    ///
    /// # Errors
    /// It is not ready in time.
    pub(super) fn change(&self, more: &str) -> Result<()> {
        self.bed.helm(&self.bed.release(&format!("{} {more}", self.settings))).map(drop)
    }

    /// Has its autoscaler take one away each five seconds.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn hasten(&self) -> Result<()> {
        let words = format!("--namespace {OWN} patch hpa {RELEASE}-backend --type json --patch");
        let mut patch = self.bed.kube.command(&words);
        let period = "/spec/behavior/scaleDown/policies/0/periodSeconds";
        patch.arg(serde_json::json!([{ "op": "replace", "path": period, "value": 5 }]).to_string());
        output(patch).map(drop)
    }

    /// Takes it away.
    ///
    /// # Errors
    /// Something of it won't go.
    pub(super) fn remove(self) -> Result<()> {
        let place = self.bed.place.as_ref().context("volumes are folders of ours")?;
        self.bed.helm(&format!("uninstall {RELEASE} --namespace {OWN} --wait"))?;
        self.bed.kube.run(&format!("delete namespace {OWN}"))?;
        self.bed.kube.run("delete persistentvolume cycles-models")?;
        Ok(fs::remove_dir_all(place.instance.folder.join("cycles"))?)
    }

    /// Where clients ask.
    ///
    /// # Errors
    /// There is no front.
    pub(super) fn front(&self) -> Result<SocketAddr> {
        Ok(SocketAddr::new(self.bed.service("front")?.parse()?, 8080))
    }

    /// A component's pods that are not on their way out, each with its address.
    ///
    /// # Errors
    /// The server does not answer.
    pub(super) fn addresses(&self, component: &str) -> Result<Vec<(String, std::net::IpAddr)>> {
        let pods = self.bed.json(&format!("get pods --selector app.kubernetes.io/component={component}"))?;
        let pods = pods["items"].as_array().context("no list of pods")?.iter();
        let stays = |pod: &&Value| pod["metadata"]["deletionTimestamp"].is_null();
        pods.filter(stays)
            .map(|pod| {
                let name = pod["metadata"]["name"].as_str().context("a pod has no name")?;
                let address =
                    pod["status"]["podIP"].as_str().with_context(|| format!("{name} has no address"))?;
                Ok((name.to_owned(), address.parse()?))
            })
            .collect()
    }

    /// The sum of a metric's lines, over a component's pods.
    ///
    /// # Errors
    /// One does not answer.
    pub(super) fn metric(&self, component: &str, name: &str) -> Result<u64> {
        let port = if component == "gate" { 8012 } else { 8002 };
        let mut sum = 0;
        for (_, address) in self.addresses(component)? {
            sum += summed(&read(SocketAddr::new(address, port), "/metrics")?, name);
        }
        Ok(sum)
    }

    /// When the first of the backends said that it is ready, by its own log.
    ///
    /// # Errors
    /// None has said so.
    pub(super) fn ready_at(&self) -> Result<SystemTime> {
        let mut first = None;
        for (backend, _) in self.bed.pods("backend")? {
            // One that has just been made has no log yet.
            let log = self.bed.run(&format!("logs {backend}")).unwrap_or_default();
            let said = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let mut ready = said.filter(|line| line["message"] == "ready");
            let at = ready.find_map(|line| humantime::parse_rfc3339(line["timestamp"].as_str()?).ok());
            first = [first, at].into_iter().flatten().min();
        }
        first.context("no backend says that it is ready")
    }
}

/// The sum of a metric's lines.
fn summed(text: &str, name: &str) -> u64 {
    let lines =
        text.lines().filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::summed;

    #[test]
    fn a_metric_is_summed_over_its_labels_and_by_its_whole_name() {
        let text = "# HELP a x\na{b=\"1\"} 2\na{b=\"2\"} 3\na_b 9\nc 4\n";
        assert_eq!([summed(text, "a"), summed(text, "c"), summed(text, "d")], [5, 4, 0]);
    }
}
