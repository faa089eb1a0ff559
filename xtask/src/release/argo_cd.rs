//! The way back under Argo CD: the Application that brings an environment enters; the environment as it was before the last change leaves.
//!
//! There is no release to roll back: Git says what runs. So the commit that changed the environment last is reverted (`git`), Argo CD is
//! brought to read and sync that (`application` says what it still lacks), and the smoke test asks. The revert is also the mark by which
//! `k8s/argocd/promote` pauses.

mod application;
mod git;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::{Value, json};

use super::smoke::Smoke;
use crate::command::output;
use crate::deployment::Kubectl;
use crate::layout::Layout;
use application::{Standing, Wanted, asked, complaints, is_automated, standing};
use git::{Last, Line, Repository, Way};

/// How often an Application is looked at.
const GLANCE: Duration = Duration::from_secs(1);
/// How long Argo CD may take to do by itself what it is to do, until it is asked.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where the way back is gone under Argo CD.
#[derive(Debug, Args)]
#[group(skip)] // its name is that of the settings which it is part of
pub(super) struct Settings {
    /// Namespace of Argo CD's Applications, where it brings this environment
    #[arg(long, value_name = "NAMESPACE", default_value = "argocd")]
    argo_cd: String,
    /// Checkout of the repository that Argo CD reads [default: this one]
    #[arg(long, value_name = "FOLDER")]
    repository: Option<PathBuf>,
    /// The remote's branch that Argo CD's root Application reads
    #[arg(long, value_name = "REMOTE/BRANCH", default_value = "origin/main")]
    main: String,
    /// Push the revert there; else it is left on a branch, for a pull request
    #[arg(long)]
    push: bool,
}

/// The Application that an object belongs to, by its note.
pub(super) fn application(object: &Value) -> Option<&str> {
    let id = object["metadata"]["annotations"]["argocd.argoproj.io/tracking-id"].as_str()?;
    id.split(':').next()
}

/// Takes back what the environment got last.
///
/// # Errors
/// Git does not lead back, nobody has merged the revert yet, or Argo CD or the smoke test fails; the message says which.
pub(super) fn back(layout: &Layout, settings: &super::Settings, name: &str) -> Result<ExitCode> {
    let own = &settings.argo_cd;
    let environment = settings.deployment.environment.name();
    let kubectl = Kubectl::new(layout, &settings.deployment)?;
    let follower = Follower { argo: kubectl.in_namespace(&own.argo_cd), name, timeout: settings.timeout };
    let application = follower.get(name)?;
    let root = own.repository.as_ref().unwrap_or(&layout.root);
    let repository = Repository::fetched(root, &own.main)?;
    let line = line(environment, name, &application)?;
    let last = match repository.way(&line)? {
        Way::Gone(last) => {
            println!("git: {} went back by {:.10} already", environment, last.commit);
            last
        }
        Way::Take(last) => {
            let (branch, made) = repository.revert(environment, &last)?;
            println!(
                "git: {made:.10} reverts {:.10}, by which {environment} got what is taken back",
                last.commit
            );
            if !own.push {
                bail!(
                    "the revert is on the branch {branch}: push it and merge it into {} of the remote, or leave both to --push. Then the \
                     same command again waits for Argo CD and asks",
                    last.branch
                );
            }
            repository.push(&branch, &last)?;
            println!("git: pushed to {}", last.branch);
            Last { commit: made, ..last }
        }
    };
    let left = follower.follow(&application, &repository, &last)?;
    println!("back: {name} is synced and healthy at {}", last.to);
    if !left.is_empty() {
        println!("back: nothing is pruned there by itself; left over: {}", left.join(", "));
    }
    let model = settings.model.clone().map(|model| (model, Vec::new()));
    let smoke = Smoke { kubectl: &kubectl, release: &settings.deployment.release, model };
    let found = smoke.run().context("the smoke test fails of what was gone back to")?;
    println!("smoke test: {found}");
    if !last.follows() {
        println!(
            "promotion to {environment} pauses: k8s/argocd/promote goes on with --resume, once the reason is gone"
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// Where Git has what the Application brings.
fn line(environment: &str, name: &str, application: &Value) -> Result<Line> {
    let path = application["spec"]["source"]["path"].as_str();
    let path = path.context(
        "the Application has no source with a path: of several sources none is the one to take back",
    )?;
    let by_kustomize = application["status"]["sourceType"] == "Kustomize";
    let mut paths = vec![path.to_owned()];
    if by_kustomize && let Some((k8s, _)) = path.split_once("/overlays/") {
        paths.extend(["base", "components"].map(|part| format!("{k8s}/{part}")));
    }
    let way = if by_kustomize { "kustomize" } else { "helm" };
    let file = format!("k8s/argocd/{way}/{environment}.yaml");
    Ok(Line { environment: environment.to_owned(), application: name.to_owned(), file, paths })
}

/// Argo CD, seen from one Application.
struct Follower<'a> {
    argo: Kubectl,
    name: &'a str,
    timeout: Duration,
}

impl Follower<'_> {
    fn get(&self, name: &str) -> Result<Value> {
        let found = self.argo.object(&format!("applications.argoproj.io/{name}"))?;
        found.with_context(|| {
            format!(
                "Argo CD's application {name} is not in the namespace {}; --argo-cd names another",
                self.argo.namespace()
            )
        })
    }

    /// Waits until the environment is there, and does what nobody else does; what is left over.
    fn follow(&self, application: &Value, repository: &Repository, last: &Last) -> Result<Vec<String>> {
        let has = |revision: &str| repository.has(revision, &last.commit);
        let line = application["spec"]["source"]["targetRevision"].as_str().unwrap_or_default();
        if !last.follows() && line != last.to {
            let above = self::application(application);
            let above = above.with_context(|| {
                format!("no Application brings {} itself, so its line in Git is applied by hand: do that, and the same again", self.name)
            })?;
            let object = self.get(above)?;
            let line = object["spec"]["source"]["targetRevision"].as_str().unwrap_or_default();
            self.await_one(above, &Wanted { line, is: &has }, || {
                Ok(self.get(self.name)?["spec"]["source"]["targetRevision"] == *last.to)
            })?;
            println!("argo cd: {above} has set {} to {}", self.name, last.to);
        }
        let commit = repository.commit(&last.to);
        let is =
            |revision: &str| if last.follows() { has(revision) } else { Some(revision) == commit.as_deref() };
        self.await_one(self.name, &Wanted { line: &last.to, is: &is }, || Ok(false))
    }

    /// Waits until that one is there, or something else is enough.
    fn await_one(
        &self,
        name: &str,
        wanted: &Wanted<'_>,
        enough: impl Fn() -> Result<bool>,
    ) -> Result<Vec<String>> {
        let since = Instant::now();
        let (mut before, mut stands_since, mut asked_for) = (None, Instant::now(), false);
        loop {
            let object = self.get(name)?;
            let now = standing(&object, wanted);
            if enough()? {
                return Ok(Vec::new());
            }
            if before.as_ref() != Some(&now) {
                stands_since = Instant::now();
                tell(name, &now);
            }
            let patient = stands_since.elapsed() < PATIENCE;
            match &now {
                Standing::There { left } => return Ok(left.clone()),
                Standing::Unread => self.refresh(name, &object)?,
                Standing::Held(_) if !patient => self.terminate(name)?,
                Standing::Differs | Standing::Failed(_)
                    if !asked_for && (!patient || !is_automated(&object)) =>
                {
                    self.patch(name, &asked(&object))?;
                    println!("argo cd: asked {name} for the sync, which it does not do by itself");
                    asked_for = true;
                }
                Standing::Failed(why) if asked_for && !patient => bail!("the sync of {name} fails: {why}"),
                Standing::Paused if !patient => {
                    bail!(
                        "a Deployment that {name} brings is paused: `kubectl rollout resume` it, and the same command again"
                    )
                }
                _ => {}
            }
            if since.elapsed() > self.timeout {
                let complaints = complaints(&object);
                bail!("{name} is not there after {} s: {now:?}. {complaints}", self.timeout.as_secs());
            }
            before = Some(now);
            std::thread::sleep(GLANCE);
        }
    }

    /// Has Git read again. Argo CD takes the note off when it has.
    fn refresh(&self, name: &str, object: &Value) -> Result<()> {
        let note = "argocd.argoproj.io/refresh";
        if !object["metadata"]["annotations"][note].is_null() {
            return Ok(());
        }
        self.patch(name, &json!({ "metadata": { "annotations": { note: "normal" } } }))
    }

    /// Ends the operation that goes on, as `argocd app terminate-op` does.
    fn terminate(&self, name: &str) -> Result<()> {
        println!("argo cd: ended the operation that {name} was held by");
        self.patch(name, &json!({ "status": { "operationState": { "phase": "Terminating" } } }))
    }

    fn patch(&self, name: &str, patch: &Value) -> Result<()> {
        let words =
            ["patch", "applications.argoproj.io", name, "--type", "merge", "--patch", &patch.to_string()];
        output(self.argo.command(words)).map(drop)
    }
}

fn tell(name: &str, standing: &Standing) {
    let is = match standing {
        Standing::There { .. } => return,
        Standing::Unread => "has not read Git's newest yet".to_owned(),
        Standing::Held(revision) => format!("is held by an operation of {revision:.10}"),
        Standing::Syncing => "syncs".to_owned(),
        Standing::Differs => "differs from Git".to_owned(),
        Standing::Failed(why) => format!("failed to sync: {why}"),
        Standing::Unwell(health) => format!("is synced, and {health}"),
        Standing::Paused => "is synced, and a Deployment is paused".to_owned(),
    };
    println!("argo cd: {name} {is}");
}
