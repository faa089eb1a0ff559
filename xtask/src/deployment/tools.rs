//! kubectl and helm: a deployment's settings enter; commands that reach its cluster, and what they said, leave.

use std::ffi::OsStr;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::{Settings, json};
use crate::command::{Said, command, on_path, output};
use crate::layout::Layout;

#[derive(Clone)]
pub(crate) struct Kubectl {
    program: PathBuf,
    context: Option<String>,
    kubeconfig: Option<PathBuf>,
    namespace: String,
}

impl Kubectl {
    /// # Errors
    /// There is no kubectl.
    pub(crate) fn new(layout: &Layout, settings: &Settings) -> Result<Self> {
        let own = layout.bin("kubectl");
        let program = if own.exists() { Some(own) } else { on_path("kubectl") };
        Ok(Self {
            program: program.context("kubectl must be on PATH, or set up: `cargo xtask setup`")?,
            context: settings.context.clone(),
            kubeconfig: settings.kubeconfig.clone(),
            namespace: settings.namespace.clone(),
        })
    }

    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The same cluster, another namespace.
    pub(crate) fn in_namespace(&self, namespace: &str) -> Self {
        Self { namespace: namespace.to_owned(), ..self.clone() }
    }

    /// A command in the deployment's namespace.
    pub(crate) fn command<A: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = A>) -> Command {
        let mut kubectl = tied(&self.program);
        kubectl.args(["--namespace", &self.namespace]);
        if let Some(context) = &self.context {
            kubectl.args(["--context", context]);
        }
        if let Some(file) = &self.kubeconfig {
            kubectl.arg("--kubeconfig").arg(file);
        }
        kubectl.args(words);
        kubectl
    }

    /// Runs a line of words, separated by spaces, whatever comes of it.
    ///
    /// # Errors
    /// kubectl can't be run.
    pub(crate) fn ask(&self, words: &str, input: &str) -> Result<Said> {
        said(self.command(words.split_whitespace()), input)
    }

    /// Runs it and returns what it wrote.
    ///
    /// # Errors
    /// It fails.
    pub(crate) fn run(&self, words: &str, input: &str) -> Result<String> {
        self.ask(words, input)?.well(&format!("kubectl {words}"))
    }

    /// Objects; none where nothing is.
    ///
    /// # Errors
    /// The server does not answer.
    pub(crate) fn objects(&self, words: &str, input: &str) -> Result<Vec<Value>> {
        json::objects(&self.run(&format!("{words} --output json"), input)?)
    }

    /// One object, if it is there.
    ///
    /// # Errors
    /// The server does not answer.
    pub(crate) fn object(&self, name: &str) -> Result<Option<Value>> {
        Ok(self.objects(&format!("get {name} --ignore-not-found"), "")?.pop())
    }
}

pub(crate) struct Helm {
    program: PathBuf,
    /// 3 or 4.
    pub(crate) major: u8,
    settings: Settings,
}

impl Helm {
    /// # Errors
    /// There is none, or one of another kind.
    pub(crate) fn new(layout: &Layout, settings: &Settings) -> Result<Self> {
        let own = Some(layout.bin("helm4")).filter(|own| own.exists());
        let program = settings.helm.clone().or(own).or_else(|| on_path("helm"));
        let program = program.context("helm must be on PATH, or named by --helm")?;
        let version = output(command(&program, ["version", "--template", "{{.Version}}"]))?;
        let major = match version.trim() {
            three if three.starts_with("v3.") => 3,
            four if four.starts_with("v4.") => 4,
            other => bail!("{} is Helm {other}; 3 and 4 are known", program.display()),
        };
        Ok(Self { program, major, settings: settings.clone() })
    }

    /// A command in the deployment's namespace.
    pub(crate) fn command<A: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = A>) -> Command {
        let mut helm = tied(&self.program);
        helm.args(words).args(["--namespace", &self.settings.namespace]);
        if let Some(context) = &self.settings.context {
            helm.args(["--kube-context", context]);
        }
        if let Some(file) = &self.settings.kubeconfig {
            helm.arg("--kubeconfig").arg(file);
        }
        helm
    }

    /// Runs it, whatever comes of it.
    ///
    /// # Errors
    /// It can't be run.
    pub(crate) fn ask<A: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = A>) -> Result<Said> {
        said(self.command(words), "")
    }
}

/// A program that ends with us, where the system can do that: nobody else then mends what it still changes.
fn tied(program: &Path) -> Command {
    match on_path(TIE) {
        Some(tie) => {
            let mut tied = command(tie, ["--pdeathsig", "KILL"]);
            tied.arg(program);
            tied
        }
        None => Command::new(program),
    }
}

const TIE: &str = "setpriv";

/// Does what we start end with us?
pub(crate) fn ends_with_us() -> bool {
    on_path(TIE).is_some()
}

fn said(mut command: Command, input: &str) -> Result<Said> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let program = command.get_program().to_string_lossy().into_owned();
    let mut child = command.spawn().with_context(|| format!("can't run {program}"))?;
    let mut stdin = child.stdin.take().context("no stdin")?;
    let input = input.to_owned();
    // From a thread: what it writes back may fill its pipe first.
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let done = child.wait_with_output()?;
    // Who does not read all of its input says why itself.
    let _ = writer.join();
    Ok(done.into())
}
