//! The families of rules. Each looks at the whole world and adds what is wrong in it.

pub mod contracts;
pub mod envoy;
pub mod head;
pub mod prometheus;
pub mod restricted;
pub mod schemas;
pub mod secrets;
pub mod settings;

// What an API server checks beyond schemas.
pub mod admission;
pub mod autoscaling;
pub mod batch;
pub mod clashes;
pub mod containers;
pub mod data;
pub mod definitions;
pub mod metadata;
pub mod names;
pub mod network;
pub mod ours;
pub mod pod;
pub mod policy;
pub mod ports;
pub mod probes;
pub mod quantities;
pub mod rbac;
pub mod scheduling;
pub mod security;
pub mod selectors;
pub mod service;
pub mod slices;
pub mod storage;
pub mod volumes;
pub mod workload;

// What objects say of each other.
pub mod references;

// Numbers that don't fit each other.
pub mod arithmetic;

// What they are written with.
pub(crate) mod cron;
pub(crate) mod field;
pub(crate) mod known;
pub(crate) mod made;
pub(crate) mod pods;
pub(crate) mod quantity;
pub(crate) mod span;
pub(crate) mod targets;
pub(crate) mod text;

use crate::failure::Failure;
use crate::world::World;

/// One family: what is judged enters, failures leave.
pub type Check = fn(&World, &mut Vec<Failure>);

/// All of them, by name.
pub const FAMILIES: &[(&str, Check)] = &[
    ("head", head::check),
    ("schemas", schemas::check),
    ("envoy", envoy::check),
    ("contracts", contracts::check),
    ("settings", settings::check),
    ("prometheus", prometheus::check),
    ("secrets", secrets::check),
    ("restricted", restricted::check),
    ("names", names::check),
    ("metadata", metadata::check),
    ("selectors", selectors::check),
    ("workload", workload::check),
    ("batch", batch::check),
    ("pod", pod::check),
    ("containers", containers::check),
    ("ports", ports::check),
    ("probes", probes::check),
    ("quantities", quantities::check),
    ("volumes", volumes::check),
    ("scheduling", scheduling::check),
    ("security", security::check),
    ("service", service::check),
    ("slices", slices::check),
    ("network", network::check),
    ("storage", storage::check),
    ("data", data::check),
    ("clashes", clashes::check),
    ("ours", ours::check),
    ("policy", policy::check),
    ("admission", admission::check),
    ("definitions", definitions::check),
    ("autoscaling", autoscaling::check),
    ("rbac", rbac::check),
    ("references", references::check),
    ("arithmetic", arithmetic::check),
];
