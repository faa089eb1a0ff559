//! A cluster's API: what is asked enters, by kubectl; what it answers leaves.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use super::await_it::finished;
use crate::command::{Said, command};

#[derive(Clone)]
pub(super) struct Kube {
    /// Our own program; kubectl is a part of it.
    program: PathBuf,
    kubeconfig: PathBuf,
}

impl Kube {
    /// kubectl as part of our own program.
    pub(super) fn new(kube: PathBuf, kubeconfig: PathBuf) -> Self {
        Self { program: kube, kubeconfig }
    }

    pub(super) fn kubeconfig(&self) -> &PathBuf {
        &self.kubeconfig
    }

    /// What kubectl is a part of.
    pub(super) fn program(&self) -> &PathBuf {
        &self.program
    }

    /// A command line of kubectl's, of words separated by spaces.
    pub(super) fn command(&self, words: &str) -> Command {
        let mut kubectl = command(&self.program, ["kubectl"]);
        kubectl.env("KUBECONFIG", &self.kubeconfig).args(words.split_whitespace());
        kubectl
    }

    /// Runs a line of words and returns what it said.
    ///
    /// # Errors
    /// It fails.
    pub(super) fn run(&self, words: &str) -> Result<String> {
        self.ask(words, "")?.well(&format!("kubectl {words}"))
    }

    /// Runs it with that input, whatever comes of it.
    ///
    /// # Errors
    /// It can't be run.
    pub(super) fn ask(&self, words: &str, input: &str) -> Result<Said> {
        finished(self.command(words), input)
    }

    /// Applies objects.
    ///
    /// # Errors
    /// The server refuses one.
    pub(super) fn apply(&self, yaml: &str) -> Result<()> {
        let words = "apply --filename -";
        self.ask(words, yaml)?.well(&format!("kubectl {words}")).map(drop)
    }

    /// Objects as JSON.
    ///
    /// # Errors
    /// They aren't there.
    pub(super) fn json(&self, words: &str) -> Result<Value> {
        serde_json::from_str(&self.run(&format!("{words} --output json"))?).context("kubectl wrote no JSON")
    }
}
