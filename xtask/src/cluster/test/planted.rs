//! Verify against the real API server: its tests' tables of planted mistakes and of harmless changes enter; none that the server refuses
//! may pass verify.

use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::bed::Bed;
use super::dry_run::install_kinds;
use crate::cluster::await_it::finished;
use crate::command::{WITH_TENSORRT, cargo};

/// Fewer would show nothing.
const LEAST: usize = 60;

/// # Errors
/// The server refuses a change that verify passes, or too few to say anything.
pub(super) fn all(bed: &Bed<'_>) -> Result<String> {
    install_kinds(bed)?;
    for name in ["ml", "argocd", "monitoring"] {
        bed.kube.apply(&format!("apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {name}\n"))?;
    }
    let tests = tests(bed);
    let said = finished(tests, "")?.well("verify and the server differ")?;
    let (mut refused, mut planted) = (0, 0);
    for line in said.lines().filter_map(|line| line.split_once("the server refuses ")) {
        let (one, rest) = line.1.split_once(" of ").context("the tests count otherwise")?;
        let (all, _) = rest.split_once(',').context("the tests count otherwise")?;
        refused += one.parse::<usize>()?;
        planted += all.parse::<usize>()?;
    }
    ensure!(refused >= LEAST, "the server refuses {refused} of {planted}: too few to hold verify to");
    Ok(format!(
        "of {planted} mistakes the server refuses {refused}, verify {planted}; of harmless changes none"
    ))
}

/// Verify's tests, with the same features as all others, so that nothing is built twice.
fn tests(bed: &Bed<'_>) -> Command {
    let mut tests = cargo();
    tests.args(["test", "--quiet", "--workspace", "--test", "mistakes", "--test", "planted"]);
    tests.args(WITH_TENSORRT).current_dir(&bed.layout.root).env("FOREBAY_DIR", &bed.layout.dir);
    // Settings of our own programs are nothing that a server reads.
    tests.args(["--", "--nocapture", "--skip", "settings::"]);
    tests.env("FOREBAY_KUBECTL", bed.kube.program()).env("KUBECONFIG", bed.kube.kubeconfig());
    tests
}
