//! Argo CD's Applications: what the source of each renders to, as Argo would, is what its environment renders to, and its project
//! lets every kind of it in.

use std::path::Path;

use anyhow::Result;
use serde_json::Value;

use super::{Project, render};
use crate::failure::Failure;
use crate::object::Object;
use crate::outsiders::Outsiders;
use crate::world::World;
use crate::{judge, read};

/// The two ways of the same environments: one of them is applied.
const WAYS: [&str; 2] = ["helm", "kustomize"];

pub(super) fn check(project: &Project<'_>, outsiders: &Outsiders, failures: &mut Vec<Failure>) -> Result<()> {
    let folder = project.root.join("k8s/argocd");
    for way in WAYS.iter().filter(|way| folder.join(way).is_dir()) {
        let mut world = World { outsiders: outsiders.clone(), ..project.base.clone() };
        world.read(&folder)?;
        let others: Vec<_> =
            WAYS.iter().filter(|other| *other != way).map(|other| folder.join(other)).collect();
        world.objects.retain(|object| !others.iter().any(|other| object.source.file.starts_with(other)));
        failures.extend(judge(&world));
        for application in world.of("argoproj.io", "Application") {
            source(project, &world, application, failures);
        }
    }
    Ok(())
}

fn source(project: &Project<'_>, world: &World, application: &Object, failures: &mut Vec<Failure>) {
    let Some(path) = application.text("/spec/source/path") else { return };
    let folder = project.root.join(path);
    if !folder.is_dir() {
        failures.push(application.failure(
            "spec.source.path",
            format!("there is no folder {path}"),
            "a folder of this repository",
        ));
        return;
    }
    let namespace = application.text("/spec/destination/namespace").unwrap_or_default();
    let text = if folder.join("Chart.yaml").is_file() {
        match helm(project, application, &folder, namespace, failures) {
            Some(text) => text,
            None => return,
        }
    } else if let Some(kustomize) =
        project.base.tools.kustomize.as_ref().filter(|_| folder.join("kustomization.yaml").is_file())
    {
        match render::kustomize(kustomize, &folder) {
            Ok(text) => text,
            Err(said) => {
                failures.push(application.failure(
                    "spec.source",
                    format!("Kustomize refuses it: {said}"),
                    "a source that renders",
                ));
                return;
            }
        }
    } else {
        return;
    };
    let objects = applied(&text);
    let environment = namespace.rsplit('-').next().unwrap_or_default();
    for kind in ["helm", "kustomize"] {
        let file = project.renders.join(format!("{kind}-{environment}.yaml"));
        let same_way = (kind == "helm") == folder.join("Chart.yaml").is_file();
        let Some(own) = std::fs::read_to_string(file).ok().filter(|_| same_way) else { continue };
        if applied(&own) != objects {
            let wrong = format!("renders other objects than the environment {environment}");
            failures.push(application.failure(
                "spec.source",
                wrong,
                "the same chart or overlay, and the same values",
            ));
        }
    }
    admitted(world, application, &objects, failures);
}

fn helm(
    project: &Project<'_>,
    application: &Object,
    chart: &Path,
    namespace: &str,
    failures: &mut Vec<Failure>,
) -> Option<String> {
    let program = project.base.tools.helm4.as_ref()?;
    let listed = application.at("/spec/source/helm/valueFiles").and_then(Value::as_array);
    let mut files = Vec::new();
    for (index, file) in listed.into_iter().flatten().enumerate() {
        let file = chart.join(file.as_str().unwrap_or_default());
        if !file.is_file() {
            let at = format!("spec.source.helm.valueFiles[{index}]");
            failures.push(application.failure(
                &at,
                "there is no such file in the chart",
                "a file beside values.yaml",
            ));
            return None;
        }
        files.push(file);
    }
    let files: Vec<&Path> = files.iter().map(AsRef::as_ref).collect();
    let release = application.text("/spec/source/helm/releaseName").unwrap_or(&application.name);
    match render::helm(program, chart, &files, release, namespace) {
        Ok(text) => Some(text),
        Err(said) => {
            failures.push(application.failure(
                "spec.source.helm",
                format!("Helm refuses it: {said}"),
                "values that the chart takes",
            ));
            None
        }
    }
}

/// Objects that are applied, hooks of tests not among them.
fn applied(text: &str) -> Vec<String> {
    let documents = read::documents(text).0.into_iter();
    let is_test = |value: &Value| {
        let hook = value.pointer("/metadata/annotations/helm.sh~1hook").and_then(Value::as_str);
        hook.is_some_and(|hook| hook.contains("test"))
    };
    let mut objects: Vec<String> =
        documents.filter(|one| !is_test(&one.value)).map(|one| one.value.to_string()).collect();
    objects.sort();
    objects
}

/// Whether the project's list lets each kind in.
fn admitted(world: &World, application: &Object, objects: &[String], failures: &mut Vec<Failure>) {
    let name = application.text("/spec/project").unwrap_or_default();
    let Some(project) = world.of("argoproj.io", "AppProject").find(|project| project.name == name) else {
        return;
    };
    let Some(allowed) = project.at("/spec/namespaceResourceWhitelist").and_then(Value::as_array) else {
        return;
    };
    for object in objects.iter().filter_map(|text| serde_json::from_str::<Value>(text).ok()) {
        let text = |key: &str| object.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (kind, api) = (text("kind"), text("apiVersion"));
        let group = api.split_once('/').map_or("", |(group, _)| group);
        let fits = |one: &Value, key: &str, value: &str| {
            one.get(key).and_then(Value::as_str).is_some_and(|word| word == "*" || word == value)
        };
        if !allowed.iter().any(|one| fits(one, "group", group) && fits(one, "kind", &kind)) {
            let wrong = format!("lets no {kind} in, which {} has", application.name);
            failures.push(project.failure(
                "spec.namespaceResourceWhitelist",
                wrong,
                format!("{{group: {group:?}, kind: {kind}}} among them"),
            ));
        }
    }
}
