//! A release by Helm: what the last helm left enters; a release that is whole, changed or gone back leaves.

use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::history::{self, Back, Revision, State};
use super::lock::{Left, Lock};
use super::run::watched;
use super::{Settings, Way};
use crate::command::last_lines;
use crate::deployment::{self, Kubectl, Source};
use crate::layout::Layout;

/// How often a helm that may still run is looked at.
const GLANCE: Duration = Duration::from_secs(2);

pub(super) struct Releases<'a> {
    helm: deployment::Helm,
    kubectl: Kubectl,
    settings: &'a Settings,
    words: Vec<String>,
}

impl<'a> Releases<'a> {
    pub(super) fn new(layout: &Layout, settings: &'a Settings, source: &Source) -> Result<Self> {
        let deployment = &settings.deployment;
        let helm = deployment::Helm::new(layout, deployment)?;
        let kubectl = Kubectl::new(layout, deployment)?;
        Ok(Self { helm, kubectl, settings, words: source.helm_words(deployment) })
    }

    fn release(&self) -> &str {
        &self.settings.deployment.release
    }

    fn history(&self) -> Result<Vec<Revision>> {
        let said = self.helm.ask(["history", self.release(), "--output", "json", "--max", "256"])?;
        if said.ok {
            return history::read(&said.stdout);
        }
        if said.stderr.contains("not found") {
            return Ok(Vec::new());
        }
        bail!("helm history:\n{}", last_lines(&said.stderr))
    }

    fn timeout(&self) -> String {
        format!("{}s", self.settings.timeout.as_secs())
    }

    /// What is in Git wins over what somebody set by hand; the diff has told of it.
    fn by_server(&self) -> &'static [&'static str] {
        if self.helm.major == 4 { &["--server-side=true", "--force-conflicts"] } else { &[] }
    }

    fn to(&self, revision: u64, wait: bool, lock: Option<&Lock>) -> Result<()> {
        let (revision, timeout) = (revision.to_string(), self.timeout());
        let mut words = vec!["rollback", self.release(), &revision, "--timeout", &timeout];
        words.extend(self.by_server());
        if wait {
            words.push("--wait");
        }
        if let Some(lock) = lock {
            return watched(self.helm.command(words), "helm rollback", lock);
        }
        let said = self.helm.ask(words)?;
        if said.ok { Ok(()) } else { bail!("helm rollback {revision}:\n{}", last_lines(&said.stderr)) }
    }

    fn uninstall(&self) -> Result<()> {
        let said = self.helm.ask(["uninstall", self.release()])?;
        if said.ok || said.stderr.contains("not found") {
            return Ok(());
        }
        bail!("helm uninstall:\n{}", last_lines(&said.stderr))
    }

    /// Waits until a pending revision is nobody's, or not pending any more. Ours, of a holder that is gone, is so at once.
    fn await_nobody(&self, last: u64, left: Option<&Left>) -> Result<()> {
        if left.is_some_and(|left| left.ended && left.from <= last) {
            println!("mend: revision {last} is pending, and the call that made it is gone");
            return Ok(());
        }
        let (since, patience) = (Instant::now(), self.settings.timeout);
        let mut told = false;
        while let State::Pending { last: now, .. } | State::NeverGood { last: now, pending: true } =
            history::state(&self.history()?)
        {
            let age = self.age(now)?.unwrap_or_else(|| since.elapsed());
            let Some(rest) = patience.checked_sub(age).filter(|rest| !rest.is_zero()) else {
                println!("mend: revision {now} is pending for {} s: nobody makes it any more", age.as_secs());
                return Ok(());
            };
            if !told {
                println!(
                    "mend: revision {now} is pending, and not by a call of ours: a helm may run. It is nobody's in {} s \
                     (--timeout), if it is still pending then",
                    rest.as_secs()
                );
                told = true;
            }
            std::thread::sleep(rest.min(GLANCE));
        }
        Ok(())
    }

    /// How long ago its Secret was made.
    fn age(&self, revision: u64) -> Result<Option<Duration>> {
        let secret =
            self.kubectl.object(&format!("secret/sh.helm.release.v1.{}.v{revision}", self.release()))?;
        let made =
            secret.and_then(|secret| secret["metadata"]["creationTimestamp"].as_str().map(str::to_owned));
        let made = made.map(|made| humantime::parse_rfc3339(&made)).transpose()?;
        Ok(made.and_then(|made| SystemTime::now().duration_since(made).ok()))
    }

    fn values(&self) -> Result<Value> {
        let said = self.helm.ask(["get", "values", self.release(), "--all", "--output", "json"])?;
        if !said.ok {
            bail!("helm get values:\n{}", last_lines(&said.stderr));
        }
        serde_json::from_str(&said.stdout).context("helm wrote no values")
    }
}

impl Way for Releases<'_> {
    fn mend(&self, left: Option<&Left>) -> Result<()> {
        if let State::Pending { last, .. } | State::NeverGood { last, pending: true } =
            history::state(&self.history()?)
        {
            self.await_nobody(last, left)?;
        }
        match history::state(&self.history()?) {
            State::None | State::Settled { .. } => Ok(()),
            State::Pending { last, to } => {
                self.to(to, false, None)?;
                println!("mend: revision {last} was half made; the objects are those of revision {to} again");
                Ok(())
            }
            State::NeverGood { last, .. } => {
                self.uninstall()?;
                println!("mend: revision {last} was never good, nor one before it; what it made is removed");
                Ok(())
            }
        }
    }

    fn next(&self) -> Result<u64> {
        Ok(self.history()?.last().map_or(1, |last| last.number + 1))
    }

    fn bring(&self, lock: &Lock) -> Result<String> {
        let (before, timeout) = (self.history()?, self.timeout());
        let mut words = vec!["upgrade", "--install"];
        words.extend(self.words.iter().map(String::as_str));
        words.extend(["--timeout", &timeout]);
        if self.helm.major == 4 {
            words.extend(["--rollback-on-failure", "--wait"]);
        } else {
            words.push("--atomic");
        }
        words.extend(self.by_server());
        let brought = watched(self.helm.command(words), "helm upgrade", lock);
        let after = self.history()?;
        if let Err(error) = brought {
            let is = match history::state(&after) {
                State::None => "nothing is there, as before".to_owned(),
                State::Settled { last, good } if last == good => {
                    format!("revision {last} runs: helm went back by itself")
                }
                State::Settled { last, good } => format!("revision {last} failed, {good} was good"),
                State::Pending { .. } | State::NeverGood { .. } => {
                    "it is half made; the same command again mends it".to_owned()
                }
            };
            return Err(error.context(is));
        }
        let number = |all: &[Revision]| all.last().map_or(0, |last| last.number);
        Ok(match number(&before) {
            0 => format!("installed, revision {}", number(&after)),
            _ => format!("revision {}, ready", number(&after)),
        })
    }

    fn back(&self, lock: &Lock) -> Result<String> {
        match history::back(&self.history()?) {
            Back::Nowhere => {
                bail!("no revision before this one was good; what is there stays for a look at it")
            }
            Back::There { revision, of } => {
                for name in ["backend", "gate", "front"] {
                    let deployment = format!("deployment/{}-{name}", self.release());
                    if self.kubectl.object(&deployment)?.is_some() {
                        self.kubectl
                            .run(&format!("rollout status {deployment} --timeout {}", self.timeout()), "")?;
                    }
                }
                Ok(format!("revision {revision} is revision {of} again already"))
            }
            Back::To(revision) => {
                self.to(revision, true, Some(lock))?;
                Ok(format!("revision {} is revision {revision} again", self.next()? - 1))
            }
        }
    }

    fn keep(&self) -> Result<()> {
        Ok(())
    }

    fn model(&self) -> Result<Option<(String, Vec<String>)>> {
        let test = &self.values()?["test"];
        let arguments = test["args"].as_array().into_iter().flatten();
        let arguments = arguments.filter_map(|argument| argument.as_str().map(str::to_owned)).collect();
        let model = test["model"].as_str().filter(|model| !model.is_empty());
        Ok(model.map(|model| (model.to_owned(), arguments)))
    }
}
