//! A cluster's API: what is asked enters, by kubectl; what it answers leaves.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use super::await_it::finished;
use crate::command::{Said, command};
use crate::layout::Layout;

#[derive(Clone)]
pub(super) struct Kube {
    /// Set-up's kubectl.
    program: PathBuf,
    kubeconfig: PathBuf,
}

impl Kube {
    /// The API that a kubeconfig leads to, once set-up has brought kubectl.
    pub(super) fn new(layout: &Layout, kubeconfig: PathBuf) -> Self {
        Self { program: layout.bin("kubectl"), kubeconfig }
    }

    pub(super) fn kubeconfig(&self) -> &PathBuf {
        &self.kubeconfig
    }

    pub(super) fn program(&self) -> &PathBuf {
        &self.program
    }

    /// A command line of kubectl's, of words separated by spaces.
    pub(super) fn command(&self, words: &str) -> Command {
        let mut kubectl = command(&self.program, [""; 0]);
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
