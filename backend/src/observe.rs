//! What this process says of itself: `logs`, `metrics`, each version's `statistics`, the settings of `trace`, and whether it is
//! ready (`readiness`).

pub(crate) mod logs;
pub(crate) mod metrics;
pub(crate) mod readiness;
pub(crate) mod statistics;
pub(crate) mod trace;
