//! What KServe's own webhook refuses of an InferenceService, or takes and does nothing with: canaries, and what a class of autoscaler reads.

use crate::failure::Failure;
use crate::rules::field::Field;

/// What a canary may not say: its pods have a number and are not scaled.
const SCALES: [&str; 4] = ["maxReplicas", "scaleTarget", "scaleMetric", "autoScaling"];

pub(super) fn check(root: &Field<'_>, failures: &mut Vec<Failure>) {
    let predictor = root.down("spec.predictor");
    let named = predictor.at("model").at("name");
    if named.is_said() {
        named.fail(failures, "KServe refuses it", "nothing: the container's name is KServe's");
    }
    canaries(root, failures);
    let annotations = root.at("metadata").at("annotations");
    match annotations.at("serving.kserve.io/autoscalerClass").text() {
        Some("keda") => keda(&predictor, failures),
        Some("hpa") => hpa(&predictor, failures),
        _ => {}
    }
}

fn canaries(root: &Field<'_>, failures: &mut Vec<Failure>) {
    let canaries = root.down("spec.canary").list();
    let mode = root.at("metadata").at("annotations").at("serving.kserve.io/deploymentMode");
    if !canaries.is_empty() && mode.text() != Some("Standard") {
        mode.fail(failures, "a canary is for Deployments alone", "Standard");
    }
    let mut names = vec![root.down("spec.predictor.name").text_or_empty()];
    let mut percent = 0;
    for canary in &canaries {
        let predictor = canary.at("predictor");
        let name = predictor.at("name");
        let right = "a name of its own, by which its Deployment and its Service are called";
        match name.text() {
            None => name.fail(failures, "is missing", right),
            Some(one) if names.contains(&one) => {
                name.fail(failures, format!("{} is another's", name.quoted()), right);
            }
            Some(one) => names.push(one),
        }
        for field in SCALES.map(|field| predictor.at(field)).iter().filter(|field| field.is_said()) {
            field.fail(failures, "a canary is not scaled", "minReplicas, or nothing");
        }
        let share = canary.at("trafficPercent");
        share.between(failures, 0, 100);
        percent += share.number().unwrap_or_default();
        if percent > 100 {
            share.fail(failures, format!("the canaries have {percent} percent together"), "at most 100");
            return;
        }
    }
}

/// KServe's ScaledObject.
fn keda(predictor: &Field<'_>, failures: &mut Vec<Failure>) {
    let metric = predictor.at("scaleMetric");
    if metric.is_said() {
        metric.fail(failures, "class keda does not read it", "autoScaling.metrics");
    }
    for metric in predictor.down("autoScaling.metrics").list() {
        for of in ["external", "podmetric"].map(|of| metric.at(of)).iter().filter(|of| of.is_said()) {
            let target = of.at("target");
            if !target.at("value").is_said() {
                let wrong = "has no `value`, and KServe reads nothing else";
                target.fail(failures, wrong, "{ type: Value, value: … }, which KEDA takes as an average");
            }
        }
    }
}

/// KServe's `HorizontalPodAutoscaler`.
fn hpa(predictor: &Field<'_>, failures: &mut Vec<Failure>) {
    let metric = predictor.at("scaleMetric");
    if metric.is_said() {
        metric.one_of(failures, &["cpu", "memory"]);
    }
    if metric.text() != Some("memory") {
        predictor.at("scaleTarget").between(failures, 1, 100);
    }
    for metric in predictor.down("autoScaling.metrics").list() {
        let kind = metric.at("type");
        if kind.text() != Some("Resource") {
            kind.fail(failures, "class hpa goes by processors and memory alone", "Resource, or class keda");
        }
    }
    let least = predictor.at("minReplicas");
    if least.number() == Some(0) {
        least.fail(failures, "class hpa keeps one", "1 or more, or another class");
    }
}
