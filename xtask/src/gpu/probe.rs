//! The first minutes on a machine: what is installed, and with which engine one plan can be built and run. What was found leaves,
//! for the other parts, too.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::kit::{Engine, Flavour, Kit, STANDIN};
use super::report::{Row, Section};
use super::task::{self, MOMENT, Range};
use super::{Run, judged, manifest, measured, not_run};
use crate::command::on_path;

/// What the other parts go on with.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Found {
    /// The first GPU's name, "none" without one.
    pub(super) gpu: String,
    /// Those that ran a plan here, the best first.
    pub(super) engines: Vec<Engine>,
    /// Why there are none.
    pub(super) reason: String,
}

/// GPUs that TensorRT-RTX builds for without one, by `ComputeCapability` in its header. 7.5 has no FP32 products.
const RTX_CAPABILITIES: [u16; 5] = [80, 86, 89, 120, 121];

/// The model that is tried, of the test models: sum = a + b, of any two dimensions.
pub(super) const MODEL: &str = "add_fp32";

/// What is asked of the machine: a name, and a command whose first lines tell it.
const ASKED: [(&str, &str); 9] = [
    ("system", ". /etc/os-release && echo \"$PRETTY_NAME, Linux $(uname -r)\""),
    ("processors", "nproc"),
    ("glibc", "getconf GNU_LIBC_VERSION"),
    (
        "nvidia-smi",
        "nvidia-smi --query-gpu=name,driver_version,memory.total,compute_cap --format=csv,noheader",
    ),
    ("nvcc", "nvcc --version | grep release"),
    ("python", "python3 --version"),
    (
        "python's packages",
        "python3 -m pip list 2>/dev/null | grep -iE '^(torch|tensorrt|cuda-python|cupy|onnxruntime|numpy)' | tr '\\n' ' ' | grep .",
    ),
    (
        "libraries",
        "ldconfig -p | grep -oE '(libcuda|libcudart|libnvrtc|libnvinfer[a-z_]*|libnvonnxparser|libcudnn)\\.so\\.[0-9.]*' | sort -u | tr '\\n' ' ' | grep .",
    ),
    ("what the programs lack", "ldd \"$KIT\"/bin/* | grep 'not found' | sort -u | tr '\\n' ' ' | grep ."),
];

pub(super) fn sections(run: &Run) -> Result<Vec<Section>> {
    let kit = run.kit;
    let mut installed: Vec<Row> = ASKED.iter().map(|(what, script)| ask(kit, what, script)).collect();
    installed.push(measured("glibc that the programs need", manifest::glibc(kit)));
    let mut engines = Vec::new();
    let mut tried = Vec::new();
    let (gpu, reason) = match task::perform(kit, &json!({ "task": "devices" }), MOMENT) {
        Ok(told) => {
            installed.extend(devices(&told));
            let scratch = kit.scratch("probe")?;
            for engine in kit.engines() {
                engines.extend(attempts(kit, engine, &scratch, &mut tried));
            }
            let gpu = told["devices"][0]["name"].as_str().unwrap_or("none").to_owned();
            (gpu, "no engine runs a plan here".to_owned())
        }
        Err(error) => {
            installed.push(not_run("GPUs", &error));
            tried.extend(kit.engines().iter().map(|engine| not_run(&engine.name, &error)));
            ("none".to_owned(), error)
        }
    };
    let found = Found { gpu, engines, reason };
    std::fs::write(kit.path("results/found"), serde_json::to_vec_pretty(&found)?)?;
    let about = "A plan of a sum, built and run once; each attempt in a process of its own. What is said is the library's own.";
    let section = |title: &str, about: &str, rows| Section {
        title: title.to_owned(),
        engine: "each row's own".to_owned(),
        about: about.to_owned(),
        rows,
    };
    Ok(vec![section("What is installed", "", installed), section("Which engine runs", about, tried)])
}

/// What the last probe found.
///
/// # Errors
/// There was none.
pub(super) fn found(kit: &Kit) -> Result<Found> {
    let file = kit.path("results/found");
    let bytes = std::fs::read(&file).with_context(|| format!("can't read {}", file.display()))?;
    Ok(serde_json::from_slice(&bytes)?)
}

fn ask(kit: &Kit, what: &str, script: &str) -> Row {
    let mut shell = Command::new("sh");
    shell.args(["-c", script]).env("KIT", kit.path("")).envs(kit.environment());
    match shell.output() {
        Ok(told) if told.status.success() => measured(what, String::from_utf8_lossy(&told.stdout).trim()),
        _ => measured(what, "none"),
    }
}

fn devices(told: &Value) -> Vec<Row> {
    let devices = told["devices"].as_array().map_or(&[][..], Vec::as_slice);
    let mut rows = vec![measured("CUDA that the driver has", told["driver_cuda"].to_string())];
    for (number, device) in devices.iter().enumerate() {
        let gigabytes = |what: &str| device[what].as_u64().unwrap_or(0) as f64 / 1e9;
        let text = |what: &str| device[what].as_str().unwrap_or("?").to_owned();
        let value = format!(
            "{}, compute capability {}, {:.1} GB, {:.1} free",
            text("name"),
            text("compute_capability"),
            gigabytes("memory_bytes"),
            gigabytes("free_bytes")
        );
        rows.push(measured(format!("GPU {number}"), value));
    }
    rows
}

/// Tries the engine in each way that it has; the first that runs is it.
fn attempts(kit: &Kit, mut engine: Engine, scratch: &Path, rows: &mut Vec<Row>) -> Option<Engine> {
    let mut version = engine.source();
    version["task"] = "version".into();
    match task::perform(kit, &version, MOMENT) {
        Ok(told) => told["version"].as_str().unwrap_or_default().clone_into(&mut engine.version),
        Err(error) => {
            rows.push(not_run(engine.name, error));
            return None;
        }
    }
    let mut ways = vec![(Vec::new(), "built for this GPU".to_owned())];
    if engine.flavour == Flavour::Rtx {
        ways.extend(RTX_CAPABILITIES.map(|sm| (vec![sm], format!("built for compute capability {sm}"))));
    }
    let mut runs = None;
    for (compute_capabilities, way) in ways {
        let engine = Engine { compute_capabilities, ..engine.clone() };
        let tried = attempt(kit, &engine, scratch);
        let what = format!("{}, {way}", engine.told());
        rows.push(judged(what, tried.is_ok(), tried.as_ref().err().map_or("it runs", String::as_str)));
        if tried.is_ok() && runs.is_none() {
            runs = Some(engine);
        }
    }
    runs
}

fn attempt(kit: &Kit, engine: &Engine, scratch: &Path) -> Result<(), String> {
    let plan = scratch.join("sum.plan");
    build_sum(kit, engine, &plan)?;
    let once = json!({ "task": "once", "source": engine.source(), "plan": plan, "rows": 2 });
    let told = task::perform(kit, &once, MOMENT)?;
    let values = told["outputs"][0]["values"].as_array().map_or(&[][..], Vec::as_slice);
    let right = !values.is_empty() && values.iter().all(|value| value.as_f64() == Some(2.0));
    if right { Ok(()) } else { Err(format!("1 + 1 is {values:?}")) }
}

/// A plan of the sum. Its best shape is a megabyte a tensor on a GPU, so that its copies take time; small on the double.
///
/// # Errors
/// As [`task::perform`].
pub(super) fn build_sum(kit: &Kit, engine: &Engine, plan: &Path) -> Result<(), String> {
    let columns = if kit.is_double() { 64 } else { 4096 };
    let range = |input: &str| Range {
        input: input.to_owned(),
        min: vec![1, 1],
        opt: vec![64, columns],
        max: vec![64, columns],
    };
    task::build(kit, engine, &kit.path(format!("models/{MODEL}.onnx")), plan, &[range("a"), range("b")])
}

/// Is a program here that tells how busy a GPU is?
pub(super) fn has_smi() -> bool {
    on_path("nvidia-smi").is_some()
}

/// The stand-in, if it runs here.
pub(super) fn standin(kit: &Kit) -> Option<Engine> {
    found(kit).ok()?.engines.into_iter().find(|engine| engine.name == STANDIN)
}
