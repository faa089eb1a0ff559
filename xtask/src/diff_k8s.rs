//! `cargo xtask diff-k8s`: an environment and a cluster enter; what would change there if it were deployed leaves: objects and fields, what
//! restarts, what becomes of each model's results.
//!
//! The server itself says what an object would be (a dry run of the apply that the release would do): defaults are no differences then.

mod fields;
mod models;
mod restarts;
pub(super) mod saved;

use anyhow::Result;
use clap::Args;
use serde_json::Value;

use crate::deployment::{self, Kubectl, Source, json};
use crate::layout::Layout;

/// Settings of `cargo xtask diff-k8s`.
#[derive(Debug, Args)]
pub(crate) struct Settings {
    #[command(flatten)]
    deployment: deployment::Settings,
    #[command(flatten)]
    models: models::Folder,
}

/// An object as it is and as it would be.
struct Pair {
    name: String,
    now: Option<Value>,
    then: Option<Value>,
}

/// Runs `cargo xtask diff-k8s`.
///
/// # Errors
/// The cluster does not answer, or refuses an object.
pub(crate) fn run(layout: &Layout, settings: &Settings) -> Result<()> {
    let deployment = &settings.deployment;
    let kubectl = Kubectl::new(layout, deployment)?;
    let source = Source::of(layout, deployment);
    let manifests = source.manifests(layout, deployment, &kubectl)?;
    show(layout, deployment, &source, &kubectl, &manifests, &settings.models)
}

/// The same, before a release.
///
/// # Errors
/// As [`run`].
pub(crate) fn print(
    layout: &Layout,
    deployment: &deployment::Settings,
    source: &Source,
    kubectl: &Kubectl,
    manifests: &str,
) -> Result<()> {
    show(layout, deployment, source, kubectl, manifests, &models::Folder::default())
}

fn show(
    layout: &Layout,
    deployment: &deployment::Settings,
    source: &Source,
    kubectl: &Kubectl,
    manifests: &str,
    folder: &models::Folder,
) -> Result<()> {
    let pairs = pairs(layout, deployment, source, kubectl, manifests)?;
    let mut changed = 0;
    for pair in &pairs {
        let lines = match (&pair.now, &pair.then) {
            (None, Some(_)) => vec!["is new".to_owned()],
            (Some(_), None) => vec!["is removed".to_owned()],
            (Some(now), Some(then)) => fields::differences(now, then),
            (None, None) => Vec::new(),
        };
        changed += usize::from(!lines.is_empty());
        for line in &lines {
            println!("diff: {} {line}", pair.name);
        }
    }
    if changed == 0 {
        println!("diff: nothing would change of {} objects", pairs.len());
    }
    for line in restarts::lines(&pairs) {
        println!("restarts: {line}");
    }
    let Some(pair) =
        pairs.iter().find(|pair| pair.name == format!("deployment/{}-backend", deployment.release))
    else {
        return Ok(());
    };
    let (Some(now), Some(then)) = (&pair.now, &pair.then) else { return Ok(()) };
    let verdict = models::lines(layout, kubectl, &deployment.release, now, then, folder)?;
    for line in &verdict.lines {
        println!("models: {line}");
    }
    if verdict.may_change {
        println!("surge: {}", saved::line(kubectl, &deployment.release)?);
    }
    Ok(())
}

fn pairs(
    layout: &Layout,
    deployment: &deployment::Settings,
    source: &Source,
    kubectl: &Kubectl,
    manifests: &str,
) -> Result<Vec<Pair>> {
    let words = format!(
        "apply --server-side --force-conflicts --dry-run=server --field-manager={} --filename -",
        source.manager()
    );
    let mut then = kubectl.objects(&words, manifests)?;
    let now = kubectl.objects("get --ignore-not-found --filename -", manifests)?;
    let before = before(layout, deployment, source, kubectl)?;
    // What one before set and this one doesn't goes, though the server keeps it in a dry run by another way of applying.
    for object in &mut then {
        let name = json::name(object);
        let find = |all: &[Value]| all.iter().find(|it| json::name(it) == name).cloned();
        if let (Some(old), Some(wanted)) = (find(&before.objects), find(&before.wanted)) {
            fields::remove_dropped(object, &old, &wanted);
        }
    }
    let mut pairs: Vec<Pair> = then
        .into_iter()
        .map(|then| {
            let name = json::name(&then);
            let now = now.iter().find(|now| json::name(now) == name).cloned();
            Pair { name, now, then: Some(then) }
        })
        .collect();
    for old in &before.objects {
        let name = json::name(old);
        if pairs.iter().all(|pair| pair.name != name) && kubectl.object(&name)?.is_some() {
            pairs.push(Pair { name, now: Some(old.clone()), then: None });
        }
    }
    pairs.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(pairs)
}

/// What was deployed last, and what is now, both as they were written.
struct Before {
    objects: Vec<Value>,
    wanted: Vec<Value>,
}

fn before(
    layout: &Layout,
    deployment: &deployment::Settings,
    source: &Source,
    kubectl: &Kubectl,
) -> Result<Before> {
    let last = match source {
        Source::Helm { .. } => {
            let said =
                deployment::Helm::new(layout, deployment)?.ask(["get", "manifest", &deployment.release])?;
            if said.ok { said.stdout } else { String::new() }
        }
        Source::Kustomize { .. } => {
            let kept = kubectl.object(&format!("configmap/{}-sets", deployment.release))?;
            kept.and_then(|kept| kept["data"]["good"].as_str().map(str::to_owned)).unwrap_or_default()
        }
    };
    if last.trim().is_empty() {
        return Ok(Before { objects: Vec::new(), wanted: Vec::new() });
    }
    // Client's dry run reads YAML, and asks nothing of what is there.
    let wanted = source.manifests(layout, deployment, kubectl)?;
    let read = |yaml: &str| kubectl.objects("create --dry-run=client --filename -", yaml);
    Ok(Before { objects: read(&last)?, wanted: read(&wanted)? })
}
