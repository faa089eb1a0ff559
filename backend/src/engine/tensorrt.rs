//! TensorRT, loaded from its shared library at run time, where there is one. A plan, or an ONNX model that is compiled first
//! (`compile`) -> an engine for each GPU -> sessions (`lane`), some for each instance, which has a context of its own.

mod buckets;
mod compile;
mod graphs;
mod instance;
mod lane;
mod options;
mod shapes;
mod staging;

use std::path::PathBuf;
use std::sync::Arc;

use forebay_bindings::cuda::Driver;
use forebay_bindings::{Engine as Plan, Error, Flavour, HostCode, Library, TensorIOMode};
use forebay_protocol::datatype::DataType;
use tokio_util::sync::CancellationToken;

use super::{Engine, EngineError, ModelFiles, Session, SessionOptions};
use crate::model_config::{Device, ModelConfig, Platform};
use crate::signature::{Signature, TensorSpec};
pub(crate) use compile::Compiling;
use compile::{Compilation, Compiler};
use graphs::Warning;
use instance::Instance;
use lane::Lane;
use options::Options;

/// Which library to load, what plans may do, and how they are built.
#[derive(Debug, Clone)]
pub(crate) struct Choice {
    pub(crate) flavour: Flavour,
    /// `None`: what the system's loader finds.
    pub(crate) path: Option<PathBuf>,
    pub(crate) host_code: HostCode,
    pub(crate) compiling: Compiling,
}

/// TensorRT in this process.
pub(crate) struct TensorRt {
    driver: Driver,
    library: Library,
    host_code: HostCode,
    compiler: Compiler,
    identity: String,
}

impl TensorRt {
    /// Loads CUDA's driver and the library.
    ///
    /// # Errors
    /// What is missing, and where it was looked for.
    pub(crate) fn load(choice: Choice) -> Result<Self, String> {
        let driver = Driver::load().map_err(|error| error.to_string())?;
        let library = match &choice.path {
            Some(path) => Library::open(path, choice.flavour),
            None => Library::find(choice.flavour),
        };
        let library = library.map_err(|error| error.to_string())?;
        let identity = identity(&library);
        let gpus = driver.count().map_err(|error| error.to_string())?;
        let Choice { host_code, compiling, .. } = choice;
        let compiler = Compiler::new(compiling, library.clone(), host_code, gpus);
        Ok(Self { driver, library, host_code, compiler, identity })
    }

    /// `compilation` is there if the model is no plan yet.
    fn plan(
        &self,
        files: &ModelFiles,
        compilation: Option<&mut Compilation<'_>>,
        gpu: i32,
    ) -> Result<Plan, EngineError> {
        // A negative number is no GPU's, as any that is too large.
        let device = self.driver.device(usize::try_from(gpu).unwrap_or(usize::MAX));
        let device = device.map_err(|error| files.failed(&error))?;
        let runtime = self.library.runtime(Some(&device), self.host_code);
        let runtime = runtime.map_err(|error| files.failed(&error))?;
        match compilation {
            Some(compilation) => compilation.engine(&runtime, &device),
            None => runtime.deserialize(files.model()?).map_err(|error| files.failed(&error)),
        }
    }
}

impl Engine for TensorRt {
    fn platform(&self) -> Platform {
        Platform::TensorRt
    }

    fn identity(&self) -> &str {
        &self.identity
    }

    /// Instances of one GPU share the plan's weights; the lanes of an instance its context.
    fn open(
        &self,
        files: &ModelFiles,
        config: &ModelConfig,
        devices: &[Device],
        _options: SessionOptions,
        stop: &CancellationToken,
    ) -> Result<Vec<Box<dyn Session>>, EngineError> {
        let options = Options::of(config)?;
        let begin = || self.compiler.begin(files, config, stop);
        let mut compilation = files.is_onnx().then(begin).transpose()?;
        let mut plans: Vec<(i32, Plan)> = Vec::new();
        let mut instances = Vec::with_capacity(devices.len());
        for device in devices {
            let Device::Gpu(gpu) = *device else {
                let reason = "asks for a CPU; plans run on GPUs".to_owned();
                return Err(EngineError::Option { key: "instance_group".to_owned(), reason });
            };
            let plan = match plans.iter().find(|(of, _)| *of == gpu) {
                Some((_, plan)) => plan.clone(),
                None => self.plan(files, compilation.as_mut(), gpu)?,
            };
            let instance = Instance::new(&plan, signature(&plan)?).map_err(|error| failed(&error))?;
            instances.push(Arc::new(instance));
            plans.push((gpu, plan));
        }
        let warning = plans.first().filter(|_| options.graphs);
        let warning = warning.map(|(_, plan)| Arc::new(Warning::about(plan.name())));
        // One of each instance before another of the same: two requests at once are two instances'.
        let lanes = (0..options.lanes).flat_map(|_| &instances);
        let session = |instance| -> Result<Box<dyn Session>, Error> {
            Ok(Box::new(Lane::new(instance, warning.as_ref())?))
        };
        lanes.map(session).collect::<Result<_, _>>().map_err(|error| failed(&error))
    }
}

fn failed(error: &Error) -> EngineError {
    EngineError::Failed(error.to_string())
}

/// Name and version.
fn identity(library: &Library) -> String {
    format!("{} {}", library.flavour(), library.version())
}

fn signature(plan: &Plan) -> Result<Signature, EngineError> {
    let mut signature = Signature { inputs: Vec::new(), outputs: Vec::new() };
    for tensor in plan.tensors() {
        let is_input = tensor.mode == TensorIOMode::Input;
        let (kind, specs) =
            if is_input { ("input", &mut signature.inputs) } else { ("output", &mut signature.outputs) };
        let unsupported = || EngineError::Unsupported {
            kind,
            name: tensor.name.clone(),
            found: format!("a tensor of {:?}", tensor.dtype),
        };
        let datatype = datatype(tensor.dtype).ok_or_else(unsupported)?;
        specs.push(TensorSpec { name: tensor.name.clone(), datatype, shape: tensor.shape.to_vec() });
    }
    Ok(signature)
}

/// Our datatype of an element type; `None` for what V2 has no name for.
fn datatype(dtype: forebay_bindings::DataType) -> Option<DataType> {
    use forebay_bindings::DataType as Dtype;
    Some(match dtype {
        Dtype::Fp32 => DataType::Fp32,
        Dtype::Fp16 => DataType::Fp16,
        Dtype::Bf16 => DataType::Bf16,
        Dtype::Int8 => DataType::Int8,
        Dtype::Int32 => DataType::Int32,
        Dtype::Int64 => DataType::Int64,
        Dtype::Uint8 => DataType::Uint8,
        Dtype::Bool => DataType::Bool,
        _ => return None,
    })
}
