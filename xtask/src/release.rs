//! `cargo xtask release`: an environment enters; a good release of it leaves, or what ran before, whatever state the last call left.
//!
//! verify -> diff -> change -> smoke test, and back when one of the last two fails. One at a time, by a Lease (`lock`). What Helm does is
//! in `helm`, what stands for it with Kustomize in `kustomize`. Where Argo CD brings what is in Git, `argo_cd` goes back in Git.

mod argo_cd;
mod helm;
mod history;
mod holder;
mod kustomize;
mod lock;
mod run;
mod smoke;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::deployment::{self, Kubectl, Source};
use crate::layout::Layout;
use crate::{diff_k8s, verify_k8s};

use lock::Lock;
use smoke::Smoke;

/// Settings of `cargo xtask release`.
#[derive(Debug, Args)]
pub(crate) struct Settings {
    #[command(flatten)]
    deployment: deployment::Settings,
    /// Go back to what ran before, in place of bringing what is here
    #[arg(long)]
    back: bool,
    /// Leave out `verify-k8s`, which said nothing of this commit
    #[arg(long)]
    verified: bool,
    /// How long pods may take to be ready. A revision that somebody else's helm left pending is waited for as long
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = humantime::parse_duration)]
    timeout: Duration,
    /// Model that the smoke test asks in each encoding [default: the values' test.model; with Kustomize none]
    #[arg(long)]
    model: Option<String>,
    #[command(flatten)]
    argo_cd: argo_cd::Settings,
}

/// What a release is changed by.
trait Way {
    /// Makes whatever is half done whole. `left` says what a call of ours that was killed had begun.
    fn mend(&self, left: Option<&lock::Left>) -> Result<()>;
    /// The number that what is made next has, for whoever comes after us.
    fn next(&self) -> Result<u64>;
    /// Brings what is here. It went back by itself if that failed.
    fn bring(&self, lock: &Lock) -> Result<String>;
    /// Goes back to what ran before, and says to what.
    fn back(&self, lock: &Lock) -> Result<String>;
    /// It works: what comes next may go back to it.
    fn keep(&self) -> Result<()>;
    /// Model that is asked, with more arguments of `forebay infer`.
    fn model(&self) -> Result<Option<(String, Vec<String>)>>;
}

/// Runs `cargo xtask release`.
///
/// # Errors
/// It could not be brought, or was taken back; the message says what runs now.
pub(crate) fn run(layout: &Layout, settings: &Settings) -> Result<ExitCode> {
    let deployment = &settings.deployment;
    if !settings.verified && !settings.back {
        if verify_k8s::judge(layout, &[])? != ExitCode::SUCCESS {
            bail!("verify-k8s refuses what is in k8s/; nothing was changed");
        }
        println!("verify: nothing is wrong");
    }
    let kubectl = Kubectl::new(layout, deployment)?;
    let backend = kubectl.object(&format!("deployment/{}-backend", deployment.release))?;
    if let Some(application) = backend.as_ref().and_then(argo_cd::application) {
        if settings.back {
            return argo_cd::back(layout, settings, application);
        }
        bail!(
            "Argo CD's application {application} brings this, and would undo what is done here: k8s/argocd/promote brings something new, \
             --back takes it back; nothing was changed"
        );
    }
    let source = Source::of(layout, deployment);
    let manifests = source.manifests(layout, deployment, &kubectl)?;
    let (lock, left) = Lock::take(&kubectl, &format!("{}-release", deployment.release))?;
    let way: Box<dyn Way> = match &source {
        Source::Helm { .. } => Box::new(helm::Releases::new(layout, settings, &source)?),
        Source::Kustomize { .. } => {
            Box::new(kustomize::Sets::new(settings, kubectl.clone(), manifests.clone()))
        }
    };
    way.mend(left.as_ref())?;
    lock.begin(way.next()?)?;
    let done = changed(layout, settings, &source, &kubectl, &manifests, way.as_ref(), &lock);
    lock.give_back()?;
    done?;
    Ok(ExitCode::SUCCESS)
}

fn changed(
    layout: &Layout,
    settings: &Settings,
    source: &Source,
    kubectl: &Kubectl,
    manifests: &str,
    way: &dyn Way,
    lock: &Lock,
) -> Result<()> {
    if settings.back {
        println!("back: {}", way.back(lock)?);
    } else {
        diff_k8s::print(layout, &settings.deployment, source, kubectl, manifests)?;
        println!("release: {}", way.bring(lock)?);
    }
    let model = match &settings.model {
        Some(model) => Some((model.clone(), Vec::new())),
        None => way.model()?,
    };
    let smoke = Smoke { kubectl, release: &settings.deployment.release, model };
    match smoke.run() {
        Ok(found) => {
            println!("smoke test: {found}");
            way.keep()
        }
        Err(error) if settings.back => Err(error.context("the smoke test fails of what was gone back to")),
        Err(error) => {
            println!("smoke test: FAILED: {error:#}");
            let back = way.back(lock).context("the smoke test failed, and there is no way back")?;
            println!("back: {back}");
            let again = smoke.run().context("the smoke test fails of what was gone back to as well")?;
            println!("smoke test: {again}");
            way.keep()?;
            bail!("the smoke test failed, so the release was taken back: {back}")
        }
    }
}
