//! What `k8s/kserve/` ships, applied as it is: a namespace, its claims and the files' objects leave, and how they are.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::cluster::await_it::{finished, until};
use crate::cluster::test::bed::{Bed, MODEL};
use crate::cluster::test::environments::volume;
use crate::cluster::test::install::namespace;
use crate::command::{command, output};

/// As the files have it.
pub(super) const NAMESPACE: &str = "models";
/// How long pods may take to be ready, beside others on a busy machine.
const PATIENCE: Duration = Duration::from_mins(4);

/// Makes the namespace with its claims, and applies the runtimes; once.
///
/// # Errors
/// The server or KServe refuses one.
pub(super) fn prepare(bed: &Bed<'_>) -> Result<()> {
    if bed.kube.run(&format!("get namespace {NAMESPACE}")).is_ok() {
        return Ok(());
    }
    let place = bed.place.as_ref().context("volumes are folders of ours")?;
    let folder = place.instance.folder.join("kserve/claims");
    namespace(bed, NAMESPACE)?;
    for claim in ["models", "engines"] {
        volume(bed, &folder, NAMESPACE, "kserve", claim)?;
    }
    // A model's folder for each InferenceService, by which version one can tell who answered.
    for (name, version) in [("vad", 1), ("rare", 1), ("detector", 1), ("words-1", 1), ("words-2", 2)] {
        let to = folder.join("models").join(name);
        fs::create_dir_all(&to)?;
        let model = bed.images.repository.join(MODEL);
        let mut copy = command("cp", ["-L"]);
        output({
            copy.arg(model.join("config.pbtxt")).arg(&to);
            copy
        })?;
        let mut copy = command("cp", ["-rL"]);
        output({
            copy.arg(model.join("1")).arg(to.join(version.to_string()));
            copy
        })?;
    }
    apply(bed, "runtimes.yaml")
}

/// Applies a file. A machine of two processors has not what pods ask for; all else is the file's own.
///
/// # Errors
/// The server or KServe refuses an object.
pub(super) fn apply(bed: &Bed<'_>, file: &str) -> Result<()> {
    let path = bed.layout.root.join("k8s/kserve").join(file);
    let text = fs::read_to_string(&path).with_context(|| format!("can't read {}", path.display()))?;
    let small = text.lines().map(|line| match line.split_once("requests: {") {
        Some((indent, _)) => format!("{indent}requests: {{ cpu: 100m, memory: 64Mi }}\n"),
        None => format!("{line}\n"),
    });
    let small = small.collect::<String>();
    // KServe may not be there yet for who asks it by a Service; what it refuses is told at once.
    let applied = until(&format!("KServe is asked about {file}"), PATIENCE, || {
        let applied = bed.kube.apply(&small);
        let is_away = |error: &anyhow::Error| error.to_string().contains("failed calling webhook");
        (!applied.as_ref().is_err_and(is_away)).then_some(applied)
    })?;
    applied.with_context(|| file.to_owned())
}

/// Waits until an InferenceService is ready, and its pods are.
///
/// # Errors
/// It does not get ready.
pub(super) fn ready(bed: &Bed<'_>, name: &str) -> Result<Value> {
    let is = || {
        let service = get(bed, "inferenceservice", name).ok()?;
        let conditions = service["status"]["conditions"].as_array()?;
        let ready = conditions.iter().any(|one| one["type"] == "Ready" && one["status"] == "True");
        ready.then_some(service)
    };
    let service = until(&format!("InferenceService {name} is ready"), PATIENCE, is).with_context(|| {
        let status = get(bed, "inferenceservice", name).unwrap_or_default();
        status["status"]["conditions"].to_string()
    })?;
    rolled_out(bed, name)?;
    Ok(service)
}

/// Waits for the pods of KServe's Deployment.
///
/// # Errors
/// They don't get ready.
pub(super) fn rolled_out(bed: &Bed<'_>, name: &str) -> Result<()> {
    let status = format!("rollout status deployment/{name}-predictor --timeout={}s", PATIENCE.as_secs());
    bed.kube.run(&format!("--namespace {NAMESPACE} {status}")).map(drop)
}

pub(super) fn get(bed: &Bed<'_>, kind: &str, name: &str) -> Result<Value> {
    bed.kube.json(&format!("--namespace {NAMESPACE} get {kind} {name}"))
}

/// Names of all objects of a kind.
pub(super) fn names(bed: &Bed<'_>, kind: &str) -> Result<Vec<String>> {
    let all = bed.kube.json(&format!("--namespace {NAMESPACE} get {kind}"))?;
    let all = all["items"].as_array().context("no list")?;
    Ok(all.iter().filter_map(|one| Some(one["metadata"]["name"].as_str()?.to_owned())).collect())
}

/// What a model answers through a predictor's Service.
///
/// # Errors
/// There is no answer.
pub(super) fn ask(bed: &Bed<'_>, service: &str, model: &str, encoding: &str) -> Result<Value> {
    let address = get(bed, "service", service)?;
    let address = address["spec"]["clusterIP"].as_str().context("the Service has no address")?.to_owned();
    let mut client = bed.client()?;
    client.args(["infer", model, "--json", "--encoding", encoding]);
    client.args(["--url", &format!("http://{address}:80"), "--grpc-url", &format!("grpc://{address}:80")]);
    let said = finished(client, "")?;
    ensure!(said.ok, "{service} over {encoding}: {}", said.stderr.trim());
    serde_json::from_str(&said.stdout).context("the answer is no JSON")
}

/// Takes all of it away.
///
/// # Errors
/// The server refuses.
pub(super) fn remove(bed: &Bed<'_>) -> Result<()> {
    let folder = Path::new("k8s/kserve");
    bed.kube.run(&format!("--namespace {NAMESPACE} delete inferenceservices,scaledobjects --all"))?;
    let runtimes = bed.layout.root.join(folder).join("runtimes.yaml");
    bed.kube.run(&format!("delete --filename {}", runtimes.display()))?;
    bed.kube.run(&format!("delete namespace {NAMESPACE}"))?;
    bed.kube.run("delete persistentvolume kserve-models kserve-engines").map(drop)
}
