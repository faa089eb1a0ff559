//! k8s/istio/examples, each as it stands: a canary, and models with backends of their own.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::ask::{GRPC, moment};
use super::mesh::{Mesh, PATIENCE};
use super::objects::Objects;
use super::proxy::Proxy;
use crate::cluster::await_it::until;
use crate::cluster::image;
use crate::cluster::registry::Registry;
use crate::cluster::test::bed::{MODEL, RELEASE};
use crate::cluster::test::images::{MODELS, SERVE};
use crate::command::{command, output};

/// Requests by which a share of a tenth is seen: none of so many is one case in 3,000.
const REQUESTS: u128 = 80;

/// # Errors
/// Another share goes there, or what one release computed is given when it is gone.
pub(super) fn canary(mesh: &Mesh<'_>) -> Result<String> {
    let chart = next_version(mesh)?;
    let release = format!("{RELEASE}-next");
    release_beside(mesh, &release, &chart, "inference", "--set gate.image.tag=0.1.0")?;
    Objects::apply_text(&mesh.bed, &mesh.objects.text("examples/canary.yaml")?)?;
    let client = mesh.client("client")?;
    let (now, next) = (backend(mesh, RELEASE)?, backend(mesh, &release)?);
    let canary = ["--header", "x-canary: yes"];
    until("who says so reaches the canary", PATIENCE, || {
        let before = next.passed().ok()?.1;
        client.ask("json", moment().ok()?, &canary).ok()?.well().ok()?;
        (next.passed().ok()?.1 > before).then_some(())
    })?;
    let before = (now.passed()?.1, next.passed()?.1);
    client.passes(REQUESTS)?;
    let (now, next) = (now.passed()?.1 - before.0, next.passed()?.1 - before.1);
    let share = next as f64 / (now + next).max(1) as f64;
    ensure!((0.01..0.25).contains(&share), "of {} requests {next} went to the canary", now + next);

    let (of_now, of_next) = (moment()?, moment()? + 1);
    let until_of = |seed, more: &[&str], words: &str| {
        client.ask("json", seed, more)?.well()?;
        client.until_hit("json", seed).with_context(|| words.to_owned())
    };
    until_of(of_next, &canary, "what the canary answered")?;
    Objects::apply_text(&mesh.bed, &mesh.objects.text("backends.yaml")?)?;
    // Of the subset that is there without it.
    mesh.bed.helm(&format!("uninstall {release} --namespace {RELEASE} --wait"))?;
    until_of(of_now, &[], "what the other answers")?;
    client
        .until_told("json", of_next, "the canary's answers are gone with it", |told| !told.is_hit())?
        .well()?;
    Ok(format!("{next} of {} to the canary; its answers are given as long as it is there", now + next))
}

/// # Errors
/// A model's requests go to other backends than its own.
pub(super) fn on_demand(mesh: &Mesh<'_>) -> Result<String> {
    let rare = MODELS.into_iter().find(|model| *model != MODEL).context("one model is not two")?;
    let chart = mesh.bed.chart();
    release_beside(
        mesh,
        "rare",
        &chart,
        "on-demand",
        "--set gate.hold.enabled=true --set gate.podLabels.forebay\\.dev/answers=on-demand",
    )?;
    let settings = format!(
        "\"backends\": {{ \"on_demand\": {{ \"default\": [\"{rare}\"] }}, \"hash\": true, \"retry\": true }}"
    );
    let text = mesh.objects.with(
        "clients/filter.yaml",
        "\"backends\": { \"hash\": true, \"retry\": true }",
        &settings,
    )?;
    Objects::apply_text(&mesh.clients, &text)?;
    Objects::apply_text(&mesh.bed, &mesh.objects.text("examples/on-demand.yaml")?)?;
    let client = mesh.client("client")?;
    let (hot, own) = (backend(mesh, RELEASE)?, backend(mesh, "rare-forebay")?);
    until("its own backends get the model", PATIENCE, || {
        let before = own.passed().ok()?.1;
        client.ask_for(rare, "json", moment().ok()?, &[]).ok()?.well().ok()?;
        (own.passed().ok()?.1 > before).then_some(())
    })?;
    let before = (hot.passed()?.1, own.passed()?.1);
    for seed in (moment()?..).take(10) {
        client.ask_for(MODEL, "json", seed, &[])?.well()?;
        client.ask_for(rare, "binary", seed, &[])?.well()?;
        client.ask_for(rare, GRPC, seed + 10, &[])?.well()?;
    }
    let (hot, own) = (hot.passed()?.1 - before.0, own.passed()?.1 - before.1);
    Objects::apply_text(&mesh.clients, &mesh.objects.text("clients/filter.yaml")?)?;
    Objects::apply_text(&mesh.bed, &mesh.objects.text("backends.yaml")?)?;
    mesh.bed.run("delete serviceentry forebay-on-demand")?;
    mesh.bed.run("delete destinationrule forebay-on-demand")?;
    mesh.bed.helm(&format!("uninstall rare --namespace {RELEASE} --wait"))?;
    // Each asks for the model's description first, which goes the same way.
    ensure!(
        (own, hot) == (40, 20),
        "of 40 requests for {rare} and 20 for {MODEL} {own} went to the backends of {rare} and {hot} to the others"
    );
    Ok(format!(
        "40 of 40 requests for {rare} in binary and over gRPC went to its own backends, and 20 of 20 for {MODEL} to the others"
    ))
}

/// The proxy of a release's backend.
fn backend<'a>(mesh: &'a Mesh<'_>, release: &str) -> Result<Proxy<'a>> {
    let pods = mesh.bed.pods("backend")?;
    let of_it = pods.into_iter().find(|(pod, _)| {
        let rest = pod.strip_prefix(&format!("{release}-backend-"));
        rest.is_some_and(|rest| rest.matches('-').count() == 1)
    });
    Ok(Proxy::of(&mesh.bed, &of_it.with_context(|| format!("{release} has no backend"))?.0))
}

/// Another release in the same namespace, on the same pool.
fn release_beside(mesh: &Mesh<'_>, name: &str, chart: &Path, answers: &str, more: &str) -> Result<()> {
    let words = mesh.bed.release(&format!(
        "--set front.enabled=false --set redis.enabled=false --set pool.url=redis://{RELEASE}-redis:6379/0 \
         --set backend.podLabels.forebay\\.dev/answers={answers} {more}"
    ));
    let ours = format!("--install {RELEASE} {} ", mesh.bed.chart().display());
    ensure!(words.contains(&ours), "the release's words are others: {words}");
    mesh.bed.helm(&words.replacen(&ours, &format!("--install {name} {} ", chart.display()), 1)).map(drop)
}

/// The chart's next version, and an image of it whose model is another by one setting.
fn next_version(mesh: &Mesh<'_>) -> Result<PathBuf> {
    let place = mesh.bed.place.as_ref().context("the registry is ours")?;
    let folder = place.instance.folder.join("next");
    fs::create_dir_all(&folder)?;
    let mut copy = command("cp", ["-r"]);
    copy.arg(mesh.bed.chart()).arg(&folder);
    output(copy)?;
    let chart = folder.join("forebay");
    let (file, from) = (chart.join("Chart.yaml"), "appVersion: \"0.1.0\"");
    let text = fs::read_to_string(&file)?;
    ensure!(text.contains(from), "the chart's version is not that of examples/canary.yaml");
    fs::write(&file, text.replace(from, "appVersion: \"0.2.0\""))?;
    let config = fs::read_to_string(mesh.bed.images.repository.join(MODEL).join("config.pbtxt"))?;
    let changed = folder.join("config.pbtxt");
    fs::write(&changed, config.replace("string_value: \"600\"", "string_value: \"601\""))?;
    let mut with: Vec<_> =
        MODELS.map(|model| (mesh.bed.images.repository.join(model), format!("/models/{model}"))).into();
    with.push((changed, format!("/models/{MODEL}/config.pbtxt")));
    let first = image::Layout::open(&place.instance.folder.join("images/serve"))?;
    let image = first.with(&folder.join("image"), &with, &place.parts.tools)?;
    Registry::of(place.instance).put(&image, &format!("{SERVE}:0.2.0"))?;
    Ok(chart)
}
