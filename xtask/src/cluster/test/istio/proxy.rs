//! A proxy of the mesh: its pod enters; what Envoy and its agent say leaves.

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::mesh::PATIENCE;
use crate::cluster::await_it::until;
use crate::cluster::test::bed::Bed;

pub(super) struct Proxy<'a> {
    bed: &'a Bed<'a>,
    pub(super) pod: String,
}

impl<'a> Proxy<'a> {
    /// Those of a namespace's pods, but of pods that go.
    ///
    /// # Errors
    /// The server does not answer.
    pub(super) fn all(bed: &'a Bed<'a>) -> Result<Vec<Self>> {
        let pods = bed.json("get pods --field-selector status.phase=Running")?;
        let pods = pods["items"].as_array().context("no list of pods")?;
        let stays = |pod: &&Value| pod["metadata"]["deletionTimestamp"].is_null();
        let name = |pod: &Value| pod["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        Ok(pods.iter().filter(stays).map(|pod| Self { bed, pod: name(pod) }).collect())
    }

    /// Those of a component's pods.
    ///
    /// # Errors
    /// The server does not answer.
    pub(super) fn of_component(bed: &'a Bed<'a>, component: &str) -> Result<Vec<Self>> {
        Ok(bed.pods(component)?.into_iter().map(|(pod, _)| Self { bed, pod }).collect())
    }

    /// That of one pod.
    pub(super) fn of(bed: &'a Bed<'a>, pod: &str) -> Self {
        Self { bed, pod: pod.to_owned() }
    }

    /// What its Envoy's admin says.
    ///
    /// # Errors
    /// It does not answer.
    pub(super) fn admin(&self, path: &str) -> Result<String> {
        let words = format!("exec {} --container istio-proxy -- pilot-agent request GET {path}", self.pod);
        self.bed.run(&words).with_context(|| format!("{}/{}", self.bed.namespace, self.pod))
    }

    /// Its Envoy's version.
    ///
    /// # Errors
    /// As [`Self::admin`].
    pub(super) fn version(&self) -> Result<String> {
        let info: Value = serde_json::from_str(&self.admin("server_info")?)?;
        let version = info["version"].as_str().context("Envoy says no version")?;
        Ok(format!("Envoy {}", version.split('/').nth(1).unwrap_or(version)))
    }

    /// The configurations that came by ECDS, as text: modules, and what the agent put in their place.
    ///
    /// # Errors
    /// As [`Self::admin`].
    pub(super) fn extensions(&self) -> Result<String> {
        self.admin("config_dump?resource=ecds_filters")
    }

    /// Whether it runs the module under that name, from where the agent put it.
    ///
    /// # Errors
    /// As [`Self::admin`].
    pub(super) fn has_module(&self, name: &str) -> Result<bool> {
        let dump = self.extensions()?;
        Ok(dump.contains("\"filename\"") && dump.contains(&format!("\"name\": \"{name}\"")))
    }

    /// A number of Envoy's statistics, or none.
    ///
    /// # Errors
    /// As [`Self::admin`].
    pub(super) fn count(&self, name: &str) -> Result<u64> {
        let stats = self.admin(&format!("stats?filter={name}"))?;
        let value = stats.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")?.parse().ok());
        Ok(value.unwrap_or(0))
    }

    /// Requests that it has passed to its pod's ports of HTTP and gRPC: those in progress, and all.
    ///
    /// # Errors
    /// As [`Self::admin`].
    pub(super) fn passed(&self) -> Result<(u64, u64)> {
        let stats = self.admin("stats?filter=upstream_rq_")?;
        let of_a_port = |line: &&str| {
            let port = line.strip_prefix("cluster.inbound|").and_then(|rest| rest.split('|').next());
            matches!(port, Some("8000" | "8001"))
        };
        let sum = |what: &str| {
            stats
                .lines()
                .filter(of_a_port)
                .filter_map(|line| line.rsplit_once(": ").filter(|(name, _)| name.ends_with(what)))
                .filter_map(|(_, value)| value.parse::<u64>().ok())
                .sum()
        };
        Ok((sum(".upstream_rq_active"), sum(".upstream_rq_total")))
    }

    /// It has taken every listener and cluster that it was sent.
    ///
    /// # Errors
    /// It has refused one.
    pub(super) fn has_refused_nothing(&self) -> Result<()> {
        for name in ["listener_manager.lds.update_rejected", "cluster_manager.cds.update_rejected"] {
            let refused = self.count(name)?;
            ensure!(refused == 0, "{}/{}: {name} is {refused}", self.bed.namespace, self.pod);
        }
        ensure!(self.count("listener_manager.lds.update_success")? > 0, "{} has no listeners", self.pod);
        Ok(())
    }

    /// Waits until it is so.
    ///
    /// # Errors
    /// It does not get so.
    pub(super) fn until_it(&self, what: &str, look: impl Fn(&Self) -> Result<bool>) -> Result<()> {
        let mut last = Ok(false);
        let found = until(&format!("{} {what}", self.pod), PATIENCE, || {
            last = look(self);
            matches!(last, Ok(true)).then_some(())
        });
        match (found, last) {
            (Ok(()), _) => Ok(()),
            (Err(error), Err(why)) => bail!("{error:#}: {why:#}"),
            (Err(error), Ok(_)) => bail!("{error:#}: {}", self.extensions().unwrap_or_default()),
        }
    }
}
