//! KServe by its real controller, in Standard mode: what `k8s/kserve/` ships enters; what KServe makes of it, and what a client is
//! answered there, leave.

mod chart;
mod controller;
mod examples;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::bed::Bed;
use crate::cluster::await_it::until;
use crate::cluster::programs::KSERVE;
use examples::{NAMESPACE, apply, ask, get, names, ready, rolled_out};

/// How long the controller may take for an object.
const PATIENCE: Duration = Duration::from_mins(1);
/// An InferenceService of each class of autoscaler, and the file that it is in.
const CLASSES: [(&str, &str, &str); 4] = [
    ("vad", "hpa", "onnx.yaml"),
    ("vad-grpc", "none", "onnx-grpc.yaml"),
    ("detector", "keda", "tensorrt.yaml"),
    ("rare", "external", "to-zero.yaml"),
];

fn begin(bed: &Bed<'_>) -> Result<()> {
    controller::install(bed)?;
    examples::prepare(bed)
}

/// # Errors
/// KServe refuses something, does not get it ready, or makes something else of it.
pub(super) fn made(bed: &Bed<'_>) -> Result<String> {
    super::dry_run::give_gpus(bed)?;
    begin(bed)?;
    for (_, _, file) in CLASSES {
        apply(bed, file)?;
    }
    for (name, class, _) in CLASSES {
        let service = ready(bed, name)?;
        let annotations = &service["metadata"]["annotations"];
        ensure!(annotations["serving.kserve.io/autoscalerClass"] == class, "{name} is not of class {class}");
        has_models(bed, name)?;
    }
    autoscalers(bed)?;
    Ok(format!("by controller {}: hpa, keda, external and none", KSERVE.version(bed.layout)?))
}

/// The storage's contract: what `storageUri` names is at `/mnt/models`, and can't be written to.
fn has_models(bed: &Bed<'_>, name: &str) -> Result<()> {
    let isvc = get(bed, "inferenceservice", name)?;
    let uri = isvc["spec"]["predictor"]["model"]["storageUri"].as_str().unwrap_or_default();
    let (claim, folder) = uri
        .strip_prefix("pvc://")
        .and_then(|place| place.split_once('/'))
        .with_context(|| format!("{name}: {uri} names no folder of a claim"))?;
    let pods =
        format!("--namespace {NAMESPACE} get pods --selector serving.kserve.io/inferenceservice={name}");
    let pods = bed.kube.json(&pods)?;
    let spec = &pods["items"][0]["spec"];
    let container = &spec["containers"][0];
    let mounts = container["volumeMounts"].as_array().context("the pod mounts nothing")?;
    let models = mounts.iter().find(|mount| mount["mountPath"] == "/mnt/models");
    let models = models.with_context(|| format!("{name}: nothing is at /mnt/models"))?;
    ensure!(models["readOnly"] == true && models["subPath"] == folder, "{name}: {models}");
    let volumes = spec["volumes"].as_array().context("the pod has no volumes")?;
    let of_claim = |volume: &Value| {
        volume["name"] == models["name"] && volume["persistentVolumeClaim"]["claimName"] == claim
    };
    ensure!(volumes.iter().any(of_claim), "{name}: /mnt/models is not of claim {claim}");
    ensure!(spec["initContainers"].is_null(), "{name}: a claim wants no storage initializer");
    Ok(())
}

/// What scales, by class: KServe's for `hpa` and `keda`, ours alone for `external`, nothing for `none`.
fn autoscalers(bed: &Bed<'_>) -> Result<()> {
    let hpas = names(bed, "horizontalpodautoscalers")?;
    ensure!(hpas == ["vad-predictor"], "HorizontalPodAutoscalers: {}", hpas.join(", "));
    let hpa = get(bed, "horizontalpodautoscaler", "vad-predictor")?;
    let (spec, metric) = (&hpa["spec"], &hpa["spec"]["metrics"][0]["resource"]);
    ensure!(spec["minReplicas"] == 1 && spec["maxReplicas"] == 3, "vad: {spec}");
    ensure!(metric["name"] == "cpu" && metric["target"]["averageUtilization"] == 70, "vad: {spec}");
    let objects = names(bed, "scaledobjects")?;
    ensure!(objects == ["detector-predictor", "rare"], "ScaledObjects: {}", objects.join(", "));
    let object = get(bed, "scaledobject", "detector-predictor")?;
    let (spec, trigger) = (&object["spec"], &object["spec"]["triggers"][0]);
    ensure!(spec["minReplicaCount"] == 1 && spec["maxReplicaCount"] == 4, "detector: {spec}");
    ensure!(trigger["type"] == "prometheus" && trigger["metadata"]["threshold"] == "0.8", "detector: {spec}");
    scale(bed, "vad-grpc", 0)?;
    until("KServe sets a service of class none to one again", PATIENCE, || {
        (get(bed, "deployment", "vad-grpc-predictor").ok()?["spec"]["replicas"] == 1).then_some(())
    })
}

/// # Errors
/// A model does not answer.
pub(super) fn asked(bed: &Bed<'_>) -> Result<String> {
    begin(bed)?;
    let mut found = Vec::new();
    for (name, file, encoding) in
        [("vad", "onnx.yaml", "json"), ("vad", "onnx.yaml", "binary"), ("vad-grpc", "onnx-grpc.yaml", "grpc")]
    {
        apply(bed, file)?;
        ready(bed, name)?;
        let answer = ask(bed, &format!("{name}-predictor"), name, encoding)?;
        ensure!(answer["model_name"] == name, "{name} over {encoding}: {answer}");
        found.push(format!("{encoding} by {name}-predictor"));
    }
    Ok(found.join(", "))
}

/// # Errors
/// The canary has no pods or no Service, or one answers for the other.
pub(super) fn canary(bed: &Bed<'_>) -> Result<String> {
    begin(bed)?;
    apply(bed, "canary.yaml")?;
    ready(bed, "words")?;
    let canary = until("the canary is ready", PATIENCE, || {
        let service = get(bed, "inferenceservice", "words").ok()?;
        let canary = service["status"]["canaryStatuses"][0].clone();
        (canary["ready"] == true).then_some(canary)
    })?;
    ensure!(canary["trafficPercent"] == 10, "{canary}");
    let mut found = Vec::new();
    for (service, version) in [("words-predictor", "1"), ("words-next-predictor", "2")] {
        let answer = ask(bed, service, "words", "json")?;
        ensure!(answer["model_version"] == version, "{service}: {answer}");
        found.push(format!("{service} answers with version {version}"));
    }
    Ok(found.join(", "))
}

/// # Errors
/// KServe scales what is not its to scale.
pub(super) fn at_zero(bed: &Bed<'_>) -> Result<String> {
    begin(bed)?;
    apply(bed, "to-zero.yaml")?;
    ready(bed, "rare")?;
    scale(bed, "rare", 0)?;
    // KServe writes its Deployment anew for that, and says so.
    let change = json!({"spec": {"predictor": {"annotations": {"of-a-test": "changed"}}}}).to_string();
    let mut patch = bed
        .kube
        .command(&format!("--namespace {NAMESPACE} patch inferenceservice rare --type merge --patch"));
    patch.arg(change);
    crate::command::output(patch)?;
    until("KServe has written the Deployment anew", PATIENCE, || {
        let template = get(bed, "deployment", "rare-predictor").ok()?["spec"]["template"].clone();
        (template["metadata"]["annotations"]["of-a-test"] == "changed").then_some(())
    })?;
    let deployment = get(bed, "deployment", "rare-predictor")?;
    ensure!(deployment["spec"]["replicas"] == 0, "KServe took it from zero");
    scale(bed, "rare", 1)?;
    rolled_out(bed, "rare")?;
    let answer = ask(bed, "rare-predictor", "rare", "json")?;
    ensure!(answer["model_name"] == "rare", "{answer}");
    Ok("at 0 after KServe wrote the Deployment anew; at 1 it answers".to_owned())
}

/// # Errors
/// A miss is not held and answered, a hit wakes somebody, or KServe can't be taken away.
pub(super) fn woken(bed: &Bed<'_>) -> Result<String> {
    begin(bed)?;
    let found = chart::woken(bed)?;
    examples::remove(bed)?;
    controller::remove(bed)?;
    Ok(found)
}

/// As the gate or KEDA does it.
fn scale(bed: &Bed<'_>, name: &str, replicas: u32) -> Result<()> {
    let scale = format!("scale deployment/{name}-predictor --replicas={replicas}");
    bed.kube.run(&format!("--namespace {NAMESPACE} {scale}")).map(drop)
}
