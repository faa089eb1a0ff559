//! Argo CD as k8s/argocd has it: its own controllers sync every environment from a repository, by Helm and then by Kustomize; a version is
//! promoted, and taken back by `cargo xtask release --back`, whatever is wrong elsewhere.

mod argo;
mod controllers;
mod small;

use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};

use super::bed::{Bed, RELEASE};
use super::dry_run::{give_gpus, install_kinds};
use super::environments;
use super::install::namespace;
use crate::command::{command, output};
use crate::forge::Forge;
use argo::Argo;
use controllers::Controllers;

const ALL: [&str; 4] = ["root", "dev", "stage", "prod"];

/// # Errors
/// An Application is not Synced and Healthy, or a promotion or a way back does not reach its environment alone.
pub(super) fn all(bed: &Bed<'_>) -> Result<String> {
    let place = bed.place.as_ref().context("Argo CD is started beside a cluster of ours")?;
    // Its pods would only be in the way of nineteen others.
    bed.helm(&format!("uninstall {RELEASE} --namespace {RELEASE} --ignore-not-found"))?;
    install_kinds(bed)?;
    give_gpus(bed)?;
    namespace(bed, "forebay-dev")?;
    for environment in ["stage", "prod"] {
        environments::prepare(bed, environment).with_context(|| environment.to_owned())?;
    }
    let forge = Forge::new(&place.instance.folder.join("argo-cd/repository"), &bed.layout.root)?;
    small::fit(&forge)?;
    let name =
        command(forge.work().join("k8s/argocd/repository"), [format!("file://{}", forge.origin().display())]);
    output(name)?;
    forge.commit("the first")?;
    forge.tag("v0.1.0")?;
    let controllers = Controllers::start(bed)?;
    let argo = Argo { bed, forge: &forge, controllers: &controllers };
    let mut found = Vec::new();
    for part in [by_helm, promoted, back, back_without_automation, by_kustomize, back_from_what_is_refused] {
        let seen = part(&argo)?;
        println!("           {seen}");
        found.push(seen);
    }
    argo.remove()?;
    Ok(found.join("; "))
}

/// All of it for the first time, one environment after the other.
fn by_helm(argo: &Argo<'_>) -> Result<String> {
    let since = Instant::now();
    argo.root()?;
    argo.await_all("Helm", &ALL)?;
    Ok(format!("Helm: all Synced and Healthy after {:.0} s", since.elapsed().as_secs_f64()))
}

/// main has a second version: dev follows it, stage and prod get it one after the other.
fn promoted(argo: &Argo<'_>) -> Result<String> {
    small::second(argo.forge)?;
    argo.forge.commit("a second version")?;
    argo.await_version("dev", "second")?;
    let mut took = Vec::new();
    for (environment, next) in [("stage", Some("prod")), ("prod", None)] {
        let since = Instant::now();
        argo.forge.promoted(&[environment])?;
        argo.await_version(environment, "second")?;
        took.push(format!("{environment} after {:.0} s", since.elapsed().as_secs_f64()));
        if let Some(next) = next {
            ensure!(
                argo.version(next).as_deref() == Some("first"),
                "{next} got what {environment} was promoted to"
            );
        }
    }
    Ok(format!("promoted to {}", took.join(", ")))
}

/// prod goes back while dev is broken, then dev.
fn back(argo: &Argo<'_>) -> Result<String> {
    let dev = "k8s/charts/forebay/values-dev.yaml";
    argo.forge.change(dev, "test:\n", "gate: { image: { tag: never-made } }\ntest:\n")?;
    let broken = argo.forge.commit("dev breaks")?;
    argo.until("dev is broken", "dev", || {
        let dev = argo.application("dev").ok()?;
        (dev["status"]["sync"]["revision"] == *broken && dev["status"]["health"]["status"] != "Healthy")
            .then_some(())
    })?;
    let since = Instant::now();
    let said = argo.release("prod")?;
    let took = since.elapsed().as_secs_f64();
    ensure!(said.contains("smoke test:"), "nothing was asked:\n{said}");
    ensure!(argo.version("prod").as_deref() == Some("first"), "prod is not back:\n{said}");
    ensure!(argo.version("stage").as_deref() == Some("second"), "stage went back too");
    let head = argo.forge.git(&["ls-remote", "origin", "main"])?;
    let again = argo.release("prod")?;
    ensure!(again.contains("already"), "the way back was gone twice:\n{again}");
    ensure!(head == argo.forge.git(&["ls-remote", "origin", "main"])?, "the same again pushed something");
    argo.forge.pull()?;
    let Err(paused) = output(argo.forge.promote(&["prod"])) else { bail!("promotion does not pause") };
    ensure!(paused.to_string().contains("went back"), "{paused:#}");
    let said = argo.release("dev")?;
    argo.forge.pull()?;
    argo.await_all("Helm", &["dev"]).context(said)?;
    Ok(format!("prod back in {took:.0} s while dev was broken, promotion pauses; dev back"))
}

/// prod as it is where nothing is synced by itself: what is merged waits for somebody to ask, and so would the way back.
fn back_without_automation(argo: &Argo<'_>) -> Result<String> {
    let prod = "k8s/argocd/helm/prod.yaml";
    argo.forge.change(prod, "    automated: { prune: false, selfHeal: false }\n", "")?;
    argo.forge.commit("prod is synced by hand")?;
    argo.forge.promoted(&["prod", "--resume"])?;
    argo.until("prod differs from Git", "prod", || {
        let prod = argo.application("prod").ok()?;
        let status = &prod["status"];
        let of_this = status["sync"]["comparedTo"]["source"]["targetRevision"]
            == prod["spec"]["source"]["targetRevision"];
        (of_this && status["sync"]["status"] == "OutOfSync").then_some(())
    })?;
    ensure!(argo.version("prod").as_deref() == Some("first"), "it was synced by itself");
    argo.sync("prod", false)?;
    argo.await_version("prod", "second")?;
    let said = argo.release("prod")?;
    ensure!(said.contains("asked forebay-prod for the sync"), "nobody asked for the sync:\n{said}");
    ensure!(argo.version("prod").as_deref() == Some("first"), "prod is not back:\n{said}");
    argo.forge.pull()?;
    argo.forge.change(
        prod,
        "  syncPolicy:\n",
        "  syncPolicy:\n    automated: { prune: false, selfHeal: false }\n",
    )?;
    argo.forge.commit("prod is synced by itself again")?;
    Ok("and again where nothing is synced by itself".to_owned())
}

/// The same environments from the overlays, in place of what the chart made.
fn by_kustomize(argo: &Argo<'_>) -> Result<String> {
    argo.forge.change("k8s/argocd/root/application.yaml", "helm/*.yaml}", "kustomize/*.yaml}")?;
    argo.forge.commit("by Kustomize")?;
    let since = Instant::now();
    argo.root()?;
    argo.await_all("Kustomize", &["dev", "stage"])?;
    // prod deletes nothing by itself: what the chart alone had is left over until somebody prunes.
    argo.until("prod has only to be pruned", "prod", || {
        let prod = argo.application("prod").ok()?;
        let status = &prod["status"];
        let mut rest = status["resources"].as_array()?.iter().filter(|one| one["status"] == "OutOfSync");
        let by_it = status["sourceType"] == "Kustomize" && status["health"]["status"] == "Healthy";
        (by_it && rest.all(|one| one["requiresPruning"] == true)).then_some(())
    })?;
    if argo.is_well("prod").is_none() {
        argo.sync("prod", true)?;
    }
    argo.await_all("Kustomize", &ALL)?;
    Ok(format!("Kustomize: all Synced and Healthy after {:.0} s", since.elapsed().as_secs_f64()))
}

/// Stage is promoted to what the API server refuses: its sync is tried again and again, and holds up the next one. dev has the same.
fn back_from_what_is_refused(argo: &Argo<'_>) -> Result<String> {
    argo.forge.change("k8s/base/gate/service.yaml", "port: 8010,", "port: 80100,")?;
    argo.forge.commit("a port that is none")?;
    argo.forge.promoted(&["stage", "--kustomize"])?;
    for environment in ["dev", "stage"] {
        argo.until(&format!("{environment} is tried again"), environment, || {
            let state = &argo.application(environment).ok()?["status"]["operationState"];
            (state["phase"] == "Running" && state["retryCount"].as_u64()? > 0).then_some(())
        })?;
        argo.release(environment)?;
        ensure!(argo.is_well(environment).is_some(), "{environment} is not back");
        argo.forge.pull()?;
    }
    ensure!(argo.version("stage").as_deref() == Some("first"), "stage kept something");
    Ok("stage and dev back from what the API server refuses".to_owned())
}
