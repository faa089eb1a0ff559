//! The gate inside of a server whose pool is in memory, and the traces of keys that it writes.

use std::sync::Arc;

use super::Access;
use crate::body::Bodies;
use crate::cache::live::Own;
use crate::cache::store::Store;
use crate::gate::key_trace::KeyTraces;
use crate::gate::{self, Gate, Savings};
use crate::observe::metrics::GateMetrics;
use crate::observe::readiness::Draining;
use crate::observe::trace::Tracing;
use crate::settings::ServingSettings;

/// The gate, where there is one.
pub(in crate::run) struct Inside {
    pub(in crate::run) gate: Option<Arc<Gate>>,
    pub(in crate::run) key_traces: Option<Arc<KeyTraces>>,
}

impl Inside {
    /// The gate of a pool in memory.
    ///
    /// # Errors
    /// The folder of traces can't be used.
    pub(in crate::run) fn of(
        settings: &ServingSettings,
        pool: Option<(Arc<Own>, Arc<Store>)>,
        (access, tracing, bodies, draining): (&Access, &Tracing, &Bodies, &Draining),
    ) -> anyhow::Result<Self> {
        // They want a gate in this process: its settings were checked.
        let key_traces = settings.key_trace.config()?.zip(pool.as_ref());
        let key_traces =
            key_traces.map(|(config, (own, _))| KeyTraces::start(&config, own.table.clone())).transpose()?;
        let gate = pool.map(|(own, store)| {
            Arc::new(Gate {
                store,
                live: own.table.clone(),
                proxies: own.proxies.clone(),
                savings: Arc::new(Savings::new(own.clone(), key_traces.clone())),
                registry: own,
                trust: access.trust.clone(),
                operators: access.operators.clone(),
                metrics: GateMetrics::new(),
                tracing: tracing.clone(),
                bodies: gate::bodies(bodies.clone()),
                ending: draining.begun(),
            })
        });
        Ok(Self { gate, key_traces })
    }
}
