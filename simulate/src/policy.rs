//! What is simulated: how replicas, caches, the gate and the scaler are set. Nothing here is measured; whoever asks says what holds.

use serde::Serialize;

use crate::hpa::Hpa;
use crate::tier::Eviction;

/// All that the policies of one simulation share.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Setup {
    /// A replica.
    pub replica: Replica,
    /// The caches.
    pub cache: Cache,
    /// The gate.
    pub gate: Gate,
    /// What answers take beside compute time and waiting.
    pub latency: Latency,
    /// Microseconds of a step in the outcome's course.
    pub step_us: u64,
}

/// A replica, which has a GPU.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Replica {
    /// Requests that it computes at the same time.
    pub instances: u32,
    /// From its creation until it is ready.
    pub cold_start_us: u64,
    /// Requests that may wait for it; more are refused.
    pub max_queue: usize,
}

/// The caches, of policies that have them.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cache {
    /// Proxies with an L1 each; requests come to them by turns.
    pub proxies: u32,
    /// Bytes of each L1; 0: none.
    pub l1_bytes: u64,
    /// Bytes of the shared pool; 0: none.
    pub pool_bytes: u64,
    /// What goes from the pool when it is full.
    pub pool: Eviction,
}

/// The gate, while no replica is ready.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Gate {
    /// Requests that it holds; more are refused.
    pub most_held: usize,
    /// How long it holds one.
    pub hold_us: u64,
}

/// What is added to each answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Latency {
    /// For all: the way to the proxy, and a look into its L1.
    pub proxy_us: u64,
    /// For what L1 has not, where there is a pool: a look into that.
    pub pool_us: u64,
    /// For what is computed: the way to a replica and back.
    pub replica_us: u64,
}

/// How the number of replicas is chosen, and whether answers are kept.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Policy {
    /// In tables.
    pub name: String,
    /// How many replicas there are.
    pub scaling: Scaling,
    /// Are answers kept, and equal requests joined?
    pub cached: bool,
}

/// How many replicas there are.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Scaling {
    /// Always so many.
    Always(u32),
    /// As many as missed GPU time wants: seconds of compute time a second that nothing but a replica could answer, over a window.
    Hpa {
        /// The autoscaler; its metric is that, in seconds a second.
        hpa: Hpa,
        /// Seconds of the window.
        window_s: u32,
    },
    /// The same from 1 on, and none once nothing was asked of replicas for so long. The first request that the gate holds wakes one.
    Zero {
        /// The autoscaler from 1 on.
        hpa: Hpa,
        /// Seconds of the window.
        window_s: u32,
        /// Seconds without a request before the last replica goes.
        cooldown_s: u32,
    },
}
