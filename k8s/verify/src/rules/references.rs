//! References in a closed world: each name, selector, port, key and file that one object says of another means something there.
//!
//! The world is the files given, what their objects make ([`crate::rules::known`]), what Kubernetes makes itself, and what is declared
//! as an outsider. Nothing else is guessed: neither a class of the cluster (of storage, priority, ingress or runtime) nor anything in
//! another namespace. What is nowhere is a failure that says how to declare it.

mod files;
mod gateways;
mod gitops;
mod hosts;
mod mesh;
mod pods;
mod rbac;
mod reach;
mod routes;
mod scaling;
mod secrets;
mod serving;
mod trust;
mod variables;
mod watching;

use crate::rules::known::Known;
use crate::{Failure, World};

/// Says which references mean nothing.
pub fn check(world: &World, failures: &mut Vec<Failure>) {
    let known = Known::of(world);
    pods::check(&known, failures);
    files::check(&known, failures);
    variables::check(&known, failures);
    hosts::check(&known, failures);
    routes::check(&known, failures);
    gateways::check(&known, failures);
    reach::check(&known, failures);
    scaling::check(&known, failures);
    watching::check(&known, failures);
    rbac::check(&known, failures);
    secrets::check(&known, failures);
    mesh::check(&known, failures);
    trust::check(&known, failures);
    gitops::check(&known, failures);
    serving::check(&known, failures);
}
