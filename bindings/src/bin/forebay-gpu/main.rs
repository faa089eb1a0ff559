//! What `cargo xtask gpu` has done on a GPU, one task a process: a [`Task`] as JSON on stdin enters; what came of it, as JSON on
//! stdout, leaves. A task that fails says why as `{"error": ...}` and ends with 1; one that TensorRT or the driver brings down
//! ends that process alone.

mod checks;
mod fault;
mod lane;
mod repeat;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use forebay_bindings::cuda::{Device, Driver};
use forebay_bindings::{BuildOptions, Engine, Error, Flavour, HostCode, Library, Profile};
use serde::Deserialize;
use serde_json::{Value, json};

use repeat::Repeat;

/// What can be asked for.
#[derive(Deserialize)]
#[serde(tag = "task", rename_all = "snake_case")]
enum Task {
    /// Driver and GPUs.
    Devices,
    /// A library's version.
    Version(Source),
    /// A plan of an ONNX model. Free dimensions are as large as `profile` says.
    Build {
        source: Source,
        model: PathBuf,
        plan: PathBuf,
        profile: Profile,
        /// For these GPUs, TensorRT-RTX alone; for the one that is here if there are none.
        compute_capabilities: Vec<u16>,
    },
    /// One run with inputs of ones: the first values of each output.
    Once { source: Source, plan: PathBuf, rows: i64 },
    /// Runs one after another, with nothing around them.
    Repeat { source: Source, plan: PathBuf, repeat: Repeat },
    /// What the CUDA side must do: copies, order, graphs, lanes.
    Checks { source: Source, plan: PathBuf },
    /// A GPU's memory is touched where there is none; is the GPU's context lost, and what brings it back?
    Fault { source: Source, plan: PathBuf },
}

/// A library of TensorRT.
#[derive(Deserialize)]
struct Source {
    library: PathBuf,
    flavour: Flavour,
}

impl Source {
    fn open(&self) -> Result<Library, Error> {
        Library::open(&self.library, self.flavour)
    }

    fn engine(&self, device: &Device, plan: &Path) -> Result<Engine, Error> {
        self.open()?.runtime(Some(device), HostCode::Refuse)?.deserialize(&read(plan)?)
    }
}

fn main() -> ExitCode {
    let done = serde_json::from_reader(std::io::stdin().lock())
        .map_err(|error| Error::Wrong(format!("no task is on stdin: {error}")))
        .and_then(Task::perform);
    let (value, code) = match done {
        Ok(value) => (value, ExitCode::SUCCESS),
        Err(error) => (json!({ "error": error.to_string() }), ExitCode::FAILURE),
    };
    println!("{value}");
    code
}

impl Task {
    fn perform(self) -> Result<Value, Error> {
        match self {
            Self::Devices => devices(),
            Self::Version(source) => {
                let library = source.open()?;
                Ok(json!({ "name": library.flavour().to_string(), "version": library.version().to_string() }))
            }
            Self::Build { source, model, plan, profile, compute_capabilities } => {
                let device = compute_capabilities.is_empty().then(gpu).transpose()?;
                let mut network =
                    source.open()?.builder(device.as_ref()).parse(&read(&model)?, Some(&model))?;
                let profiles = if profile.inputs.is_empty() { Vec::new() } else { vec![profile] };
                let options = BuildOptions { profiles, compute_capabilities, ..BuildOptions::default() };
                let built = network.build(&options)?;
                std::fs::write(&plan, &built[..])
                    .map_err(|error| Error::Wrong(format!("can't write {}: {error}", plan.display())))?;
                Ok(json!({ "bytes": built.len() }))
            }
            Self::Once { source, plan, rows } => repeat::once(&source.engine(&gpu()?, &plan)?, rows),
            Self::Repeat { source, plan, repeat } => repeat.run(&source.engine(&gpu()?, &plan)?),
            Self::Checks { source, plan } => Ok(checks::all(&source.engine(&gpu()?, &plan)?)),
            Self::Fault { source, plan } => fault::meet(&source, &plan),
        }
    }
}

fn gpu() -> Result<Device, Error> {
    Ok(Driver::load()?.device(0)?)
}

fn read(file: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(file).map_err(|error| Error::Wrong(format!("can't read {}: {error}", file.display())))
}

fn devices() -> Result<Value, Error> {
    let driver = Driver::load()?;
    let mut devices = Vec::new();
    for ordinal in 0..driver.count()? {
        let device = driver.device(ordinal)?;
        let (major, minor) = device.compute_capability();
        let memory = device.memory()?;
        devices.push(json!({
            "name": device.name(),
            "compute_capability": format!("{major}.{minor}"),
            "memory_bytes": memory.total,
            "free_bytes": memory.free,
        }));
    }
    Ok(json!({ "driver_cuda": driver.version()?, "devices": devices }))
}
