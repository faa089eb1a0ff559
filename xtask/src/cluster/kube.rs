//! A cluster's API: what is asked enters, by kubectl; what it answers leaves.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::await_it::finished;
use crate::command::{command, last_lines};

#[derive(Clone)]
pub(super) struct Kube {
    /// Our own program; kubectl is a part of it.
    program: PathBuf,
    kubeconfig: PathBuf,
}

/// What a command said.
pub(super) struct Said {
    pub(super) ok: bool,
    pub(super) stdout: String,
    pub(super) stderr: String,
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

    /// Runs it, whatever comes of it.
    ///
    /// # Errors
    /// It can't be run.
    pub(super) fn ask(kubectl: Command, input: &str) -> Result<Said> {
        let done = finished(kubectl, input)?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(Said { ok: done.status.success(), stdout: text(&done.stdout), stderr: text(&done.stderr) })
    }

    /// Runs a line of words and returns what it said.
    ///
    /// # Errors
    /// It fails.
    pub(super) fn run(&self, words: &str) -> Result<String> {
        Self::run_command(self.command(words), "")
    }

    /// # Errors
    /// It fails.
    pub(super) fn run_command(kubectl: Command, input: &str) -> Result<String> {
        let line: Vec<_> =
            kubectl.get_args().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
        let said = Self::ask(kubectl, input)?;
        if !said.ok {
            bail!("kubectl {}:\n{}", line.join(" "), last_lines(&format!("{}{}", said.stdout, said.stderr)));
        }
        Ok(said.stdout)
    }

    /// Applies objects.
    ///
    /// # Errors
    /// The server refuses one.
    pub(super) fn apply(&self, yaml: &str) -> Result<()> {
        Self::run_command(self.command("apply --filename -"), yaml).map(drop)
    }

    /// Objects as JSON.
    ///
    /// # Errors
    /// They aren't there.
    pub(super) fn json(&self, words: &str) -> Result<Value> {
        serde_json::from_str(&self.run(&format!("{words} --output json"))?).context("kubectl wrote no JSON")
    }
}
