//! The table of live generations: published by the backends to the pool, served by the gate, polled by the filters.

use crate::digest::Generation;
use serde::{Deserialize, Serialize};

/// Which generations answer, for every model of every service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// Grows whenever a live set changes.
    pub epoch: u64,
    /// One row for each way to ask for a model.
    pub models: Vec<LiveModel>,
}

/// The live generations of one model, as asked for by one version (or by none).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveModel {
    /// The service.
    pub service: String,
    /// The model.
    pub model: String,
    /// The requested version; "" when a client asks without one.
    pub version: String,
    /// What may answer.
    pub generations: Vec<Generation>,
}
