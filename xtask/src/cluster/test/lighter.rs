//! A Job makes a model lighter: claims with a model and with requests enter; the model's next version, which the backend takes by itself
//! while it is asked, leaves.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use walkdir::WalkDir;

use super::bed::{Bed, MODEL, RELEASE};
use super::environments::volume;
use super::install::namespace;
use crate::cluster::await_it::until;

/// Of the release and its claims.
const OWN: &str = "forebay-lighter";
/// Requests from which it is made: more than twice the least that a verdict wants.
const REQUESTS: u32 = 300;
/// How long the backend may take to see what the Job installed: it looks each 15 seconds.
const PATIENCE: Duration = Duration::from_mins(1);

/// # Errors
/// The Job does not install a variant, or the backend does not take it.
pub(super) fn job(bed: &Bed<'_>) -> Result<String> {
    let place = bed.place.as_ref().context("volumes are folders of ours")?;
    bed.images.load_optimize(bed.layout, place.instance)?;
    let folder = place.instance.folder.join("lighter");
    namespace(bed, OWN)?;
    for claim in ["models", "data"] {
        volume(bed, &folder, OWN, "lighter", claim)?;
    }
    requests(&folder.join("data/data"))?;
    writable(&folder.join("models/models"))?;
    let bed = bed.in_namespace(OWN);
    bed.helm(&bed.release(
        "--set models.from=pvc --set models.pvc.claim=forebay-models --set backend.settings.model-control-mode=poll \
         --set optimize.model=vad --set optimize.data.claim=forebay-data --set optimize.data.subPath=data \
         --set optimize.settings.metric=cosine --set optimize.settings.max-loss=5 --set optimize.timeSecs=60 \
         --set optimize.resources.requests.cpu=100m --set optimize.resources.requests.memory=512Mi",
    ))?;
    ensure!(version(&bed)? == "1", "version 1 is not what is served before the Job");
    bed.run(&format!("create job --from=cronjob/{RELEASE}-optimize lighter"))?;
    let ended = bed.run("wait --for=condition=complete --timeout=420s job/lighter");
    let log = bed.run("logs job/lighter").unwrap_or_default();
    ended.with_context(|| log.clone())?;
    let taken = until("the backend serves what the Job installed", PATIENCE, || {
        version(&bed).map(|version| (version == "2").then_some(version)).transpose()
    })??;
    bed.helm(&format!("uninstall {RELEASE} --namespace {OWN} --wait"))?;
    bed.kube.run(&format!("delete namespace {OWN}"))?;
    bed.kube.run("delete persistentvolume lighter-models lighter-data")?;
    let good = log.lines().find(|line| line.trim_start().starts_with("good")).unwrap_or_default();
    Ok(format!("version {taken} is served: {}", good.trim_start().trim_start_matches("good").trim()))
}

/// Which version answers.
fn version(bed: &Bed<'_>) -> Result<String> {
    let address = bed.service("backend")?;
    let mut client = bed.client()?;
    client.args(["infer", MODEL, "--json", "--url", &format!("http://{address}:8000")]);
    let done = client.output().context("can't run forebay")?;
    ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let answer: Value = serde_json::from_slice(&done.stdout).context("the answer is no JSON")?;
    Ok(answer["model_version"].as_str().context("the answer has no version")?.to_owned())
}

/// Frames of noise that is louder and softer, as V2's bodies.
fn requests(folder: &Path) -> Result<()> {
    let mut state = 1_u32;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f64::from(state >> 8) / f64::from(1 << 23) - 1.0
    };
    for number in 0..REQUESTS {
        let loudness = f64::from(number % 10) / 20.0;
        let input: Vec<f64> = (0..576).map(|_| noise() * loudness).collect();
        let body = json!({ "inputs": [
            { "name": "input", "datatype": "FP32", "shape": [1, 576], "data": input },
            { "name": "state", "datatype": "FP32", "shape": [2, 1, 128], "data": vec![0.0; 256] },
        ]});
        fs::write(folder.join(format!("{number:04}.json")), body.to_string())?;
    }
    Ok(())
}

/// For whoever the Job is: hostPath takes no fsGroup.
fn writable(folder: &Path) -> Result<()> {
    for entry in WalkDir::new(folder) {
        let entry = entry?;
        let mode = if entry.file_type().is_dir() { 0o777 } else { 0o666 };
        fs::set_permissions(entry.path(), fs::Permissions::from_mode(mode))?;
    }
    Ok(())
}
