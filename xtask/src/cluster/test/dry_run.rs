//! Every object of every environment is shown to the API server, which checks more than any schema says.

use std::fs;

use anyhow::{Result, bail};
use serde_json::json;

use super::bed::{Bed, RELEASE};
use super::install::namespace;
use crate::cluster::instance::NODES;
use crate::command::output;

const ENVIRONMENTS: [&str; 3] = ["dev", "stage", "prod"];
/// What is off until it is wanted, on top of stage.
const OPTIONS: [&str; 2] = ["optimize", "records"];

/// # Errors
/// The server refuses one, or warns of it.
pub(super) fn all(bed: &Bed<'_>) -> Result<String> {
    let kinds = install_kinds(bed)?;
    if bed.place.is_some() {
        give_gpus(bed)?;
    }
    let mut found = Vec::new();
    let mut wrong = Vec::new();
    let (chart, k8s) = (bed.chart(), bed.layout.root.join("k8s"));
    let values = |environment: &str| format!("--values {}/values-{environment}.yaml", chart.display());
    let options = OPTIONS.map(|option| {
        let folder = k8s.join("options").join(option);
        (option, format!("{} --values {}/values.yaml", values("stage"), folder.display()), folder)
    });
    let environments = ENVIRONMENTS
        .map(|environment| (environment, values(environment), k8s.join("overlays").join(environment)));
    for (environment, values, overlay) in environments.into_iter().chain(options) {
        let name = format!("dry-run-{environment}");
        namespace(bed, &name)?;
        let rendered =
            bed.helm(&format!("template {RELEASE} {} --namespace {name} {values}", chart.display()))?;
        let mut ways = vec![("chart", rendered)];
        if overlay.is_dir() {
            let built = bed
                .kube
                .run(&format!("kustomize --load-restrictor LoadRestrictionsNone {}", overlay.display()))?;
            ways.push(("overlay", built));
        }
        for (way, objects) in ways {
            let apply = format!("apply --dry-run=server --filename - --namespace {name}");
            let said = bed.kube.ask(&apply, &objects)?;
            let refused = said.stderr.lines().filter(|line| !line.trim().is_empty());
            wrong.extend(refused.map(|line| format!("{environment}, {way}: {line}")));
            if !said.ok && said.stderr.trim().is_empty() {
                wrong.push(format!("{environment}, {way}: refused without a word"));
            }
            found.push(format!(
                "{environment} {way} {}",
                said.stdout.lines().filter(|line| line.contains("server dry run")).count()
            ));
        }
    }
    if !wrong.is_empty() {
        bail!("{}", wrong.join("\n    "));
    }
    Ok(format!("{}; {kinds} kinds of others known", found.join(", ")))
}

/// The kinds of objects that are not Kubernetes' own.
pub(super) fn install_kinds(bed: &Bed<'_>) -> Result<usize> {
    let folder = bed.layout.root.join("k8s/crds");
    let mut files: Vec<_> = match fs::read_dir(&folder) {
        Ok(entries) => entries.flatten().map(|entry| entry.path()).collect(),
        Err(_) => return Ok(0),
    };
    files.retain(|file| {
        fs::read_to_string(file)
            .is_ok_and(|text| text.contains("CustomResourceDefinition") && text.contains("openAPIV3Schema"))
    });
    // By the server, since some are larger than the annotation that apply would keep them in.
    let mut apply = bed.kube.command("apply --server-side --force-conflicts --output name");
    for file in &files {
        apply.arg("--filename").arg(file);
    }
    let names: Vec<String> =
        if files.is_empty() { Vec::new() } else { output(apply)?.lines().map(str::to_owned).collect() };
    if !names.is_empty() {
        bed.kube.run(&format!("wait --for condition=established --timeout=60s {}", names.join(" ")))?;
    }
    Ok(names.len())
}

/// Four GPUs on each node, which nobody has built in.
pub(super) fn give_gpus(bed: &Bed<'_>) -> Result<()> {
    let gpus =
        json!({"status": {"capacity": {"nvidia.com/gpu": "4"}, "allocatable": {"nvidia.com/gpu": "4"}}});
    for number in NODES {
        let mut patch =
            bed.kube.command(&format!("patch node node-{number} --subresource status --type merge --patch"));
        patch.arg(gpus.to_string());
        output(patch)?;
        bed.kube.run(&format!("label node node-{number} --overwrite nvidia.com/gpu.product=NVIDIA-H200"))?;
    }
    Ok(())
}
