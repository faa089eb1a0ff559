//! What becomes of each model's results: the backend as it is and as it would be enters; a verdict a model leaves.
//!
//! Results are kept by generation: files, settings and engine of a model (`forebay generation`). What decides them stands in the backend's
//! Deployment, but for files that change in place.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::Value;

use crate::command::{last_lines, on_path};
use crate::deployment::Kubectl;
use crate::layout::Layout;

/// Where the models' files can be had, for those that say more than a name.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Folder {
    /// The models as they are deployed now, where `forebay generation` can read them
    #[arg(long, value_name = "FOLDER", requires = "models")]
    models_now: Option<PathBuf>,
    /// The models as they will be
    #[arg(long, value_name = "FOLDER", requires = "models_now")]
    models: Option<PathBuf>,
    /// The `forebay` of the image, which reads both [default: on PATH]
    #[arg(long, value_name = "PROGRAM")]
    forebay: Option<PathBuf>,
}

/// Variables that decide a generation, or where results are looked for.
const DECISIVE: [&str; 9] = [
    "FOREBAY_SERVICE",
    "FOREBAY_INTRA_OP_THREADS",
    "FOREBAY_BACKEND_CONFIG",
    "FOREBAY_DISABLE_AUTO_COMPLETE_CONFIG",
    "FOREBAY_STRICT_MODEL_CONFIG",
    "FOREBAY_ONNXRUNTIME",
    "FOREBAY_TENSORRT",
    "FOREBAY_TENSORRT_FLAVOUR",
    "FOREBAY_TENSORRT_HOST_CODE",
];

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Change(String),
    Stay(String),
    Unknown(String),
}

pub(super) struct Told {
    pub(super) lines: Vec<String>,
    /// Backends may have to compute what the cache has.
    pub(super) may_change: bool,
}

pub(super) fn lines(
    layout: &Layout,
    kubectl: &Kubectl,
    release: &str,
    now: &Value,
    then: &Value,
    folder: &Folder,
) -> Result<Told> {
    let verdict = verdict(now, then);
    if let (Verdict::Unknown(_) | Verdict::Stay(_), Some(old), Some(new)) =
        (&verdict, &folder.models_now, &folder.models)
    {
        let program = folder.forebay.clone().or_else(|| on_path("forebay"));
        let program = program.context("--forebay names the program that reads the models' folders")?;
        let (old, new) =
            (generations(layout, &program, old, now)?, generations(layout, &program, new, then)?);
        return Ok(compared(&old, &new));
    }
    let names = names(kubectl, release)?;
    let told = match &verdict {
        Verdict::Change(why) => format!("results change: {why}"),
        Verdict::Stay(why) => format!("results stay: {why}"),
        Verdict::Unknown(why) => format!("can't be known from here: {why}"),
    };
    let lines = names.iter().map(|name| format!("{name}: {told}")).collect();
    Ok(Told { lines, may_change: !matches!(verdict, Verdict::Stay(_)) })
}

fn verdict(now: &Value, then: &Value) -> Verdict {
    let (old, new) = (Backend::of(now), Backend::of(then));
    if old.image != new.image {
        return Verdict::Change(format!(
            "the image was {} and would be {}; if its engine is another, each model's generation is",
            old.image, new.image
        ));
    }
    for name in DECISIVE {
        if old.variable(name) != new.variable(name) {
            return Verdict::Change(format!(
                "{name} was {} and would be {}",
                old.variable(name),
                new.variable(name)
            ));
        }
    }
    if old.gpu != new.gpu {
        return Verdict::Change(format!(
            "the GPU was {} and would be {}: its plans are others",
            old.gpu, new.gpu
        ));
    }
    if old.models != new.models {
        return Verdict::Change(format!("the models were {} and would be {}", old.models, new.models));
    }
    if now["spec"]["template"] == then["spec"]["template"] && !old.models.is_mutable() {
        return Verdict::Stay("no backend restarts".to_owned());
    }
    if !old.image.contains("@sha256:") {
        return Verdict::Unknown(format!("{} is a tag, which may be another image by now", old.image));
    }
    if old.models.is_mutable() {
        return Verdict::Unknown(format!("the models are {}, where files change in place", old.models));
    }
    Verdict::Stay("image, settings and models are the same by digest".to_owned())
}

/// What of a Deployment decides its models' results.
struct Backend<'a> {
    image: &'a str,
    env: &'a Value,
    gpu: String,
    models: Models,
}

#[derive(Debug, PartialEq, Eq)]
enum Models {
    Image,
    Reference(String),
    Claim(String),
    Other(String),
}

impl Models {
    /// May the files be others under the same name?
    fn is_mutable(&self) -> bool {
        match self {
            Self::Image => false,
            Self::Reference(reference) => !reference.contains("@sha256:"),
            Self::Claim(_) | Self::Other(_) => true,
        }
    }
}

impl std::fmt::Display for Models {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Image => formatter.write_str("in the image"),
            Self::Reference(reference) => write!(formatter, "of {reference}"),
            Self::Claim(claim) => write!(formatter, "on the claim {claim}"),
            Self::Other(volume) => write!(formatter, "on the volume {volume}"),
        }
    }
}

impl<'a> Backend<'a> {
    fn of(deployment: &'a Value) -> Self {
        let spec = &deployment["spec"]["template"]["spec"];
        let containers = spec["containers"].as_array().map_or(&[][..], Vec::as_slice);
        let container = containers.iter().find(|it| it["name"] == "backend").unwrap_or(&Value::Null);
        let text = |value: &'a Value| value.as_str().unwrap_or_default();
        let gpu = spec["nodeSelector"]["nvidia.com/gpu.product"].as_str().unwrap_or("any").to_owned();
        Self {
            image: text(&container["image"]),
            env: &container["env"],
            gpu,
            models: models(spec, container),
        }
    }

    fn variable(&self, name: &str) -> &'a str {
        let all = self.env.as_array().map_or(&[][..], Vec::as_slice);
        all.iter().find(|it| it["name"] == name).and_then(|it| it["value"].as_str()).unwrap_or("not set")
    }
}

fn models(spec: &Value, container: &Value) -> Models {
    let named =
        |all: &Value| all.as_array().and_then(|all| all.iter().find(|it| it["name"] == "models").cloned());
    let Some(volume) = named(&spec["volumes"]) else { return Models::Image };
    let within =
        named(&container["volumeMounts"]).and_then(|mount| mount["subPath"].as_str().map(str::to_owned));
    let within = within.map(|path| format!("/{path}")).unwrap_or_default();
    if let Some(reference) = volume["image"]["reference"].as_str() {
        return Models::Reference(format!("{reference}{within}"));
    }
    if let Some(claim) = volume["persistentVolumeClaim"]["claimName"].as_str() {
        return Models::Claim(format!("{claim}{within}"));
    }
    // A container before the server's own fills an empty one.
    if let Some(image) =
        named(&spec["initContainers"]).and_then(|init| init["image"].as_str().map(str::to_owned))
    {
        return Models::Reference(image);
    }
    let kinds = volume.as_object().into_iter().flat_map(|fields| fields.keys()).filter(|key| *key != "name");
    Models::Other(kinds.cloned().collect())
}

/// `MODEL VERSION` -> generation.
type Generations = BTreeMap<String, String>;

/// As the image's program says of a folder with the Deployment's settings.
fn generations(layout: &Layout, program: &Path, folder: &Path, deployment: &Value) -> Result<Generations> {
    let mut generation = Command::new(program);
    generation.arg("generation").arg(folder);
    for name in DECISIVE {
        generation.env_remove(name);
    }
    let backend = Backend::of(deployment);
    // Paths in the image are none of this machine's.
    for name in
        DECISIVE.into_iter().filter(|name| *name != "FOREBAY_SERVICE" && !name.ends_with("ONNXRUNTIME"))
    {
        if backend.variable(name) != "not set" {
            generation.env(name, backend.variable(name));
        }
    }
    if std::env::var_os("FOREBAY_ONNXRUNTIME").is_none() && layout.onnxruntime().exists() {
        generation.env("FOREBAY_ONNXRUNTIME", layout.onnxruntime());
    }
    let done = generation.output().with_context(|| format!("can't run {}", program.display()))?;
    if !done.status.success() {
        bail!(
            "forebay generation {}:\n{}",
            folder.display(),
            last_lines(&String::from_utf8_lossy(&done.stderr))
        );
    }
    Ok(read(&String::from_utf8_lossy(&done.stdout)))
}

fn read(text: &str) -> Generations {
    let line =
        |line: &str| line.rsplit_once(' ').map(|(name, generation)| (name.to_owned(), generation.to_owned()));
    text.lines().filter_map(line).collect()
}

fn compared(old: &Generations, new: &Generations) -> Told {
    let mut lines: Vec<String> = new
        .iter()
        .map(|(name, generation)| match old.get(name) {
            None => format!("{name}: is new"),
            Some(before) if before == generation => {
                format!("{name}: results stay: generation {}", head(generation))
            }
            Some(before) => {
                format!("{name}: results change: generation {} -> {}", head(before), head(generation))
            }
        })
        .collect();
    lines.extend(old.keys().filter(|name| !new.contains_key(*name)).map(|name| format!("{name}: goes")));
    let may_change = lines.iter().any(|line| line.contains(": results change"));
    Told { lines, may_change }
}

fn head(generation: &str) -> &str {
    generation.get(..12).unwrap_or(generation)
}

/// Models that run, by the metrics of a backend; one line for all where none can be asked.
fn names(kubectl: &Kubectl, release: &str) -> Result<Vec<String>> {
    let text = super::saved::metrics(kubectl, release, "backend", 8002)?.pop().unwrap_or_default();
    let names: Vec<String> = text
        .lines()
        .filter_map(|line| {
            let (model, rest) = line.strip_prefix("forebay_model_memory_bytes{model=\"")?.split_once('"')?;
            let version = rest.split_once("version=\"")?.1.split_once('"')?.0;
            Some(format!("{model} {version}"))
        })
        .collect();
    Ok(if names.is_empty() { vec!["each model".to_owned()] } else { names })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const DIGEST: &str = "forebay/serve:0.1.0@sha256:0123";

    fn backend(image: &str, threads: &str, volume: &Value, note: &str) -> Value {
        json!({ "spec": { "template": { "metadata": { "annotations": { "note": note } }, "spec": {
            "containers": [{ "name": "backend", "image": image, "env": [{ "name": "FOREBAY_INTRA_OP_THREADS", "value": threads }] }],
            "volumes": [volume] } } } })
    }

    fn image_volume(reference: &str) -> Value {
        json!({ "name": "models", "image": { "reference": reference } })
    }

    #[test]
    fn another_image_setting_or_reference_changes_results() {
        let models = image_volume("m:1@sha256:aa");
        let now = backend(DIGEST, "1", &models, "");
        for then in [
            backend("forebay/serve:0.2.0", "1", &models, ""),
            backend(DIGEST, "2", &models, ""),
            backend(DIGEST, "1", &image_volume("m:2@sha256:bb"), ""),
        ] {
            assert!(matches!(verdict(&now, &then), Verdict::Change(_)), "{then}");
        }
    }

    #[test]
    fn the_same_digests_leave_results_as_they_are() {
        let models = image_volume("m:1@sha256:aa");
        let verdict = verdict(&backend(DIGEST, "1", &models, "a"), &backend(DIGEST, "1", &models, "b"));
        assert!(matches!(verdict, Verdict::Stay(_)), "{verdict:?}");
    }

    #[test]
    fn of_what_changes_in_place_nothing_is_known() {
        let claim = json!({ "name": "models", "persistentVolumeClaim": { "claimName": "c" } });
        for (image, volume) in
            [(DIGEST, &claim), (DIGEST, &image_volume("m:1")), ("forebay/serve:0.1.0", &json!({}))]
        {
            let verdict = verdict(&backend(image, "1", volume, "a"), &backend(image, "1", volume, "b"));
            assert!(matches!(verdict, Verdict::Unknown(_)), "{image} {volume}: {verdict:?}");
        }
    }

    #[test]
    fn a_tag_that_no_backend_pulls_anew_stays() {
        let same = backend("forebay/serve:0.1.0", "1", &json!({}), "");
        assert!(matches!(verdict(&same, &same), Verdict::Stay(_)));
    }

    #[test]
    fn generations_decide_where_files_can_be_read() {
        let (old, new) = (read("a 1 0123\nb 1 4567\nc 1 89\n"), read("a 1 0123\nb 1 7654\nd 1 ab\n"));
        let told = compared(&old, &new);
        assert_eq!(
            told.lines,
            [
                "a 1: results stay: generation 0123",
                "b 1: results change: generation 4567 -> 7654",
                "d 1: is new",
                "c 1: goes"
            ]
        );
        assert!(told.may_change);
    }
}
