//! What settings say of TensorRT: flags enter, and leave as what `tensorrt` loads, in builds that have it.

use std::path::PathBuf;
use std::time::Duration;

use forebay_bindings::{Flavour, HostCode};

use super::kept::Kept;

/// Which library to load, what plans may do, and how they are built.
#[derive(Debug, Clone)]
pub(crate) struct Choice {
    pub(crate) flavour: Flavour,
    /// `None`: what the system's loader finds.
    pub(crate) path: Option<PathBuf>,
    pub(crate) host_code: HostCode,
    /// Bytes of each GPU that models may hold together when one is loaded.
    pub(crate) budget: Option<usize>,
    pub(crate) compiling: Compiling,
}

/// How plans are built and where they are kept.
#[derive(Debug, Clone)]
pub(crate) struct Compiling {
    pub(crate) kept: Option<Kept>,
    /// What a build may take.
    pub(crate) limit: Duration,
    /// What the process that builds logs, as variables of its environment.
    pub(crate) logs: [(&'static str, String); 2],
}
