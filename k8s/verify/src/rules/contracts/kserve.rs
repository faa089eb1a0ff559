//! `KServe`: what a runtime must have so that a model in it gets ready, and an InferenceService so that KServe takes it.

mod webhook;

use crate::failure::Failure;
use crate::object::Object;
use crate::rules::field::Field;
use crate::world::World;

pub(super) fn check(world: &World, failures: &mut Vec<Failure>) {
    let group = "serving.kserve.io";
    for object in world.of(group, "ServingRuntime").chain(world.of(group, "ClusterServingRuntime")) {
        runtime(object, failures);
    }
    for object in world.of(group, "InferenceService") {
        service(object, failures);
    }
}

fn runtime(object: &Object, failures: &mut Vec<Failure>) {
    let spec = Field::root(object).at("spec");
    if spec.at("multiModel").is_true() {
        spec.at("multiModel").fail(failures, "ModelMesh is archived", "false: one model server a model");
        return;
    }
    let containers = spec.at("containers").list();
    let is_kserve = |container: &Field<'_>| container.at("name").text() == Some("kserve-container");
    if !containers.is_empty() && !containers.iter().any(is_kserve) {
        let right = "one named kserve-container, which KServe completes with the model";
        containers[0].at("name").fail(failures, "no container is KServe's", right);
    }
    let known = ["v1", "v2", "grpc-v1", "grpc-v2"];
    for protocol in spec.at("protocolVersions").list() {
        protocol.one_of(failures, &known);
    }
    let mut names = Vec::new();
    for port in containers.iter().flat_map(|container| container.at("ports").list()) {
        let name = port.at("name");
        if name.text().is_some_and(|name| names.contains(&name)) {
            name.fail(failures, format!("a second port {}", name.quoted()), "each name once");
        }
        names.extend(name.text());
    }
    let formats = spec.at("supportedModelFormats");
    if !spec.at("builtInAdapter").is_said() && formats.is_empty() && !containers.is_empty() {
        formats.fail(
            failures,
            "is missing: no model is ever put into this runtime",
            "a list of names and versions",
        );
    }
    for format in formats.list() {
        let priority = format.at("priority");
        if priority.number().is_some_and(|number| number < 1) {
            priority.fail(failures, format!("{} is too small", priority.quoted()), "1 or more");
        }
    }
}

/// What `KServe` scales by itself.
const METRICS: [&str; 4] = ["cpu", "memory", "concurrency", "rps"];
const MODES: [&str; 5] = ["Standard", "Knative", "RawDeployment", "Serverless", "ModelMesh"];

fn service(object: &Object, failures: &mut Vec<Failure>) {
    let root = Field::root(object);
    let annotations = root.at("metadata").at("annotations");
    let mode = annotations.at("serving.kserve.io/deploymentMode");
    mode.one_of(failures, &MODES);
    if mode.text() == Some("ModelMesh") {
        mode.fail(failures, "ModelMesh is archived", "Standard or Knative");
    }
    annotations
        .at("serving.kserve.io/autoscalerClass")
        .one_of(failures, &["hpa", "keda", "external", "none"]);
    annotations.at("serving.kserve.io/metric").one_of(failures, &METRICS);
    webhook::check(&root, failures);
    let predictor = root.down("spec.predictor");
    predictor.at("canaryTrafficPercent").between(failures, 0, 100);
    let model = predictor.at("model");
    if model.is_said() && model.at("modelFormat").at("name").is_empty() {
        model.at("modelFormat").fail(
            failures,
            "is missing",
            "modelFormat: {name: …}, by which a runtime is found",
        );
    }
    let location = model.at("storageUri");
    let known = [
        "gs://",
        "s3://",
        "pvc://",
        "hf://",
        "https://",
        "http://",
        "oci://",
        "hdfs://",
        "webhdfs://",
        "file://",
        "azure://",
        "abfs://",
        "git://",
    ];
    if location
        .text()
        .is_some_and(|text| !known.iter().any(|scheme| text.starts_with(scheme)) && !text.contains("$("))
    {
        location.fail(
            failures,
            format!("{} is no place of models", location.quoted()),
            format!("one of {}…", known[..6].join(", ")),
        );
    }
    let metric = predictor.at("scaleMetric");
    if metric.is_said() {
        metric.one_of(failures, &METRICS);
    }
}
