//! The gate: where L2 lookups go and live generations come from, and which misses are looked up.

use super::{ConfigError, authority, callouts, range};
use forebay_protocol::lookups::MAX_LOOKUPS;
use forebay_protocol::poll::MAX_WAIT_MS;
use serde::Deserialize;

/// Which misses are looked up in L2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ask {
    /// Those of models whose lookups spare more than they cost, as the last ones have shown, and of others now and then.
    #[default]
    Learned,
    /// All.
    Always,
}

/// The gate: where L2 lookups go and live generations come from.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gate {
    /// Envoy cluster of the gate.
    pub cluster: String,
    /// `:authority` of the callouts; by default the last part of the cluster's name, since Istio's names
    /// (`outbound|8010||gate.ns.svc.cluster.local`) are no authorities.
    pub authority: Option<String>,
    /// A lookup's deadline, in milliseconds. On the path of every miss: single digits.
    #[serde(default = "five")]
    pub timeout_ms: u64,
    /// Longest that the gate may hold a poll for live generations, in milliseconds: so often a table that does not change is
    /// confirmed. A change is told at once.
    #[serde(default = "two_seconds")]
    pub poll_ms: u64,
    /// Age at which the table of live generations is no longer believed, in milliseconds.
    #[serde(default = "five_seconds")]
    pub stale_ms: u64,
    /// Which misses are looked up in L2.
    #[serde(default)]
    pub ask: Ask,
    /// Most lookups of a worker that go to the gate in one message, while others are under way there; 1: each goes alone.
    #[serde(default = "all_of_a_message")]
    pub max_batch: usize,
    /// Models that are never looked up in L2 (L1 only), by name.
    #[serde(default)]
    pub skip_models: Vec<String>,
}

fn five() -> u64 {
    5
}
fn all_of_a_message() -> usize {
    MAX_LOOKUPS
}
fn two_seconds() -> u64 {
    2000
}
fn five_seconds() -> u64 {
    5000
}

impl Gate {
    /// `:authority` of the callouts.
    pub fn authority(&self) -> &str {
        authority(self.authority.as_deref(), &self.cluster)
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        callouts("gate", "cluster", &self.cluster, self.authority())?;
        range("gate.timeout_ms", self.timeout_ms, 1, 1000, "between 1 and 1000")?;
        range("gate.max_batch", self.max_batch as u64, 1, MAX_LOOKUPS as u64, "between 1 and 32")?;
        range("gate.poll_ms", self.poll_ms, 50, MAX_WAIT_MS, "between 50 and 30000")?;
        let (soonest, expected) =
            (self.poll_ms.saturating_add(1000), "between gate.poll_ms + 1000 and 600000");
        range("gate.stale_ms", self.stale_ms, soonest, 600_000, expected)
    }
}
