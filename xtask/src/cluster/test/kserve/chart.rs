//! The chart with `scaling.mode: kserve`: a release enters; that KServe makes its backends, and that the gate wakes them, leaves.

use std::io::Cursor;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rig::http::{Answer, Connection, post};
use serde_json::json;

use crate::cluster::await_it::{finished, until};
use crate::cluster::test::bed::{Bed, MODEL, RELEASE};
use crate::cluster::test::install::namespace;

/// Of the release.
const OWN: &str = "forebay-kserve";
const PATIENCE: Duration = Duration::from_mins(2);
/// A client that speaks to a port and says what it hears, for so many seconds; the models' own clients ask first what a model is, which
/// wakes nobody.
const SPEAK: [&str; 5] = ["timeout", "180", "bash", "-c", "exec 3<>/dev/tcp/$0/8080 && cat >&3 && cat <&3"];
/// The cache alone may answer.
const FROM_CACHE: (&str, &str) = ("cache-control", "only-if-cached");

/// # Errors
/// A miss at zero is not answered, or a hit wakes somebody.
pub(super) fn woken(bed: &Bed<'_>) -> Result<String> {
    namespace(bed, OWN)?;
    let bed = &bed.in_namespace(OWN);
    let option = bed.layout.root.join("k8s/options/scaling-kserve/values.yaml");
    bed.helm(&bed.release(&format!("--values {}", option.display())))?;
    let deployment = format!("deployment/{RELEASE}-predictor");
    let made = || bed.run(&format!("get {deployment}")).ok();
    until("KServe has made the backends' Deployment", PATIENCE, made)?;
    bed.run(&format!("rollout status {deployment} --timeout=180s"))?;
    let answer = right(ask(bed, 0.25, &[])?)?;
    let hit = until("the cache has what was answered", PATIENCE, || match ask(bed, 0.25, &[FROM_CACHE]) {
        Ok(answer) if answer.status == 504 => None,
        other => Some(other.and_then(right)),
    })??;
    ensure!(hit.is_hit(), "{}", hit.cache_status());

    to_zero(bed, &deployment)?;
    let hit = right(ask(bed, 0.25, &[FROM_CACHE])?)?;
    ensure!(hit.json()["outputs"] == answer.json()["outputs"], "at zero a hit is another answer");
    ensure!(replicas(bed, &deployment)? == 0, "a hit woke a backend");
    let since = Instant::now();
    let miss = right(ask(bed, 0.5, &[])?)?;
    let took = since.elapsed().as_secs_f64();
    ensure!(!miss.is_hit() && replicas(bed, &deployment)? == 1, "nobody was woken: {}", miss.cache_status());
    to_zero(bed, &deployment)?;

    bed.helm(&format!("uninstall {RELEASE} --namespace {OWN} --wait"))?;
    bed.kube.run(&format!("delete namespace {OWN}"))?;
    Ok(format!("at zero a hit wakes nobody; a miss was answered after {took:.1} s"))
}

/// Asks the model through the front, for a frame that is all of that value.
fn ask(bed: &Bed<'_>, value: f64, headers: &[(&str, &str)]) -> Result<Answer> {
    let place = bed.place.as_ref().context("a client needs a node of ours")?;
    let network = format!("--net=/run/netns/{}", place.instance.node(1));
    let mut client = place.parts.tools.command("nsenter", [network]);
    client.args(SPEAK).arg(bed.service("front")?);
    let headers = [&[("content-type", "application/json"), ("connection", "close")], headers].concat();
    let body = json!({ "inputs": [
        { "name": "input", "datatype": "FP32", "shape": [1, 576], "data": vec![value; 576] },
        { "name": "state", "datatype": "FP32", "shape": [2, 1, 128], "data": vec![0.0; 256] },
    ]});
    let body = body.to_string();
    let request = post(&format!("/v2/models/{MODEL}/infer"), &headers, body.as_bytes());
    let said = finished(client, &String::from_utf8(request)?)?;
    let answer = Connection::over(Cursor::new(said.stdout)).read();
    answer.with_context(|| format!("the front gives no answer: {}", said.stderr.trim()))
}

fn right(answer: Answer) -> Result<Answer> {
    ensure!(answer.status == 200, "HTTP {}: {}", answer.status, answer.error());
    Ok(answer)
}

/// No pod of KServe's may be left, or it answers.
fn to_zero(bed: &Bed<'_>, deployment: &str) -> Result<()> {
    bed.run(&format!("scale {deployment} --replicas=0"))?;
    until("all backends are gone", PATIENCE, || {
        let pods = bed.json("get pods --selector app.kubernetes.io/component=backend").ok()?;
        pods["items"].as_array()?.is_empty().then_some(())
    })
}

fn replicas(bed: &Bed<'_>, deployment: &str) -> Result<u64> {
    let deployment = bed.json(&format!("get {deployment}"))?;
    deployment["spec"]["replicas"].as_u64().context("the Deployment has no number")
}
