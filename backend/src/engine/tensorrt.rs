//! TensorRT, loaded from its shared library at run time, where there is one. A plan, or an ONNX model that is compiled first
//! (`compile`) -> an engine for each GPU -> sessions (`lane`), some for each instance, which has a context of its own.

mod buckets;
mod compile;
mod graphs;
mod instance;
mod lane;
mod run_options;
mod shapes;
mod staging;

use std::process::ExitCode;
use std::sync::Arc;

use forebay_bindings::cuda::{CudaError, Device as CudaDevice, Driver};
use forebay_bindings::{Engine as Plan, Error, HostCode, Job, Library, TensorIOMode};
use forebay_protocol::datatype::DataType;
use tokio_util::sync::CancellationToken;

use super::choice::Choice;
use super::gpu::{Gpu, Tie};
use super::signature::{Signature, TensorSpec};
use super::{Engine, EngineError, ModelFiles, Session, SessionOptions};
use crate::config::{Device, ModelConfig, Platform};
pub(crate) use compile::build_options;
use compile::{Compilation, Compiler, Target};
use graphs::Warning;
use instance::Instance;
use lane::Lane;
use run_options::Options;

/// TensorRT in this process.
pub(crate) struct TensorRt {
    driver: Driver,
    library: Library,
    host_code: HostCode,
    budget: Option<usize>,
    compiler: Compiler,
    identity: String,
    /// By their numbers.
    gpus: Vec<Arc<Gpu>>,
}

/// A plan on one GPU.
struct Opened {
    plan: Plan,
    tie: Tie,
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
        let count = driver.count().map_err(|error| error.to_string())?;
        let gpus = (0..).take(count).map(|number| Arc::new(Gpu::new(number))).collect();
        let Choice { host_code, budget, compiling, .. } = choice;
        let compiler = Compiler::new(compiling, library.clone(), host_code, count);
        Ok(Self { driver, library, host_code, budget, compiler, identity, gpus })
    }

    /// The GPUs that the driver tells of.
    pub(crate) fn gpus(&self) -> &[Arc<Gpu>] {
        &self.gpus
    }

    /// Makes the context of a GPU anew, on which nothing is left.
    ///
    /// # Errors
    /// Something is left, or the GPU doesn't work again.
    pub(crate) fn reset(&self, gpu: &Gpu) -> Result<(), CudaError> {
        let ordinal = ordinal(gpu.number());
        self.driver.reset(ordinal)?;
        self.driver.device(ordinal)?.check()?;
        gpu.note_reset();
        Ok(())
    }

    /// The model's plan on that GPU; `compilation` is there if the model is no plan yet.
    fn open_plan(
        &self,
        files: &ModelFiles,
        compilation: Option<&mut Compilation<'_>>,
        gpu: i32,
    ) -> Result<Opened, EngineError> {
        let device = || self.driver.device(ordinal(gpu)).map_err(|error| files.failed(&error));
        match compilation {
            Some(compilation) => {
                // No handle is kept: a build takes minutes, in which the GPU may have to be reset.
                let target = Target::of(&device()?);
                compilation.open(&target, &|plan: &[u8]| self.deserialize(files, plan, &device()?))
            }
            None => self.deserialize(files, files.model()?, &device()?),
        }
    }

    /// The engine has an account of its own for the memory that it and its contexts take.
    fn deserialize(
        &self,
        files: &ModelFiles,
        plan: &[u8],
        device: &CudaDevice,
    ) -> Result<Opened, EngineError> {
        let gpu = usize::try_from(device.ordinal()).ok().and_then(|number| self.gpus.get(number));
        let gpu = gpu.ok_or_else(|| files.failed(&"the GPU is a new one"))?;
        // While there is a handle of the GPU it isn't reset, so the tie is of the same life.
        let tie = gpu.tie();
        if gpu.is_lost() {
            return Err(EngineError::Away { reason: gpu.why() });
        }
        // The weights, most of a plan, are copied.
        self.check_budget(files, gpu, plan.len())?;
        let device = device.accounted(&gpu.account().part());
        let runtime = self.library.runtime(Some(&device), self.host_code);
        match runtime.and_then(|runtime| runtime.deserialize(plan)) {
            Ok(plan) => Ok(Opened { plan, tie }),
            Err(error) => Err(self.explain(files, &tie, plan.len(), &error)),
        }
    }

    /// Whether models may hold so many bytes of the GPU more than they do.
    fn check_budget(&self, files: &ModelFiles, gpu: &Gpu, more: usize) -> Result<(), EngineError> {
        let held = gpu.account().bytes().saturating_add(more);
        match self.budget {
            Some(budget) if held > budget => {
                let file = files.model_file.clone();
                Err(EngineError::OverBudget { file, gpu: gpu.number(), budget, held })
            }
            _ => Ok(()),
        }
    }

    /// What an error of opening means: the GPU may be lost, or have less than the `needed` bytes.
    fn explain(&self, files: &ModelFiles, tie: &Tie, needed: usize, error: &Error) -> EngineError {
        let gpu = tie.gpu().number();
        let Ok(device) = self.driver.device(ordinal(gpu)) else { return files.failed(error) };
        if tie.is_lost_by(&device.check()) {
            return EngineError::Away { reason: format!("{error}; {}", tie.gpu().why()) };
        }
        match device.memory() {
            Ok(memory) if memory.free < needed => {
                let (file, free, total) = (files.model_file.clone(), memory.free, memory.total);
                EngineError::NoRoom { file, gpu, needed, free, total }
            }
            _ => files.failed(error),
        }
    }
}

/// Builds a plan as a job on stdin says: see [`Job`].
pub(crate) fn build_plan() -> ExitCode {
    Job::serve()
}

/// A negative number is no GPU's, as any that is too large.
fn ordinal(gpu: i32) -> usize {
    usize::try_from(gpu).unwrap_or(usize::MAX)
}

impl Engine for TensorRt {
    fn platform(&self) -> Platform {
        Platform::TensorRt
    }

    fn identity(&self) -> &str {
        &self.identity
    }

    /// Instances of one GPU share the plan's weights; the lanes of an instance its context.
    fn parameters(&self) -> &'static [&'static str] {
        &run_options::PARAMETERS
    }

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
        let mut plans: Vec<Opened> = Vec::new();
        let mut instances = Vec::with_capacity(devices.len());
        for device in devices {
            let Device::Gpu(gpu) = *device else {
                let reason = "asks for a CPU; plans run on GPUs".to_owned();
                return Err(EngineError::Option { key: "instance_group".to_owned(), reason });
            };
            let known = plans.iter().position(|opened| opened.tie.gpu().number() == gpu);
            if known.is_none() {
                plans.push(self.open_plan(files, compilation.as_mut(), gpu)?);
            }
            let Opened { plan, tie } = &plans[known.unwrap_or(plans.len() - 1)];
            let instance = Instance::new(plan, signature(plan)?, tie.clone(), options.graphs)
                .map_err(|error| self.explain(files, tie, plan.scratch_size(0).unwrap_or(0), &error))?;
            instances.push(Arc::new(instance));
        }
        let warning = plans.first().filter(|_| options.graphs);
        let warning = warning.map(|opened| Arc::new(Warning::about(opened.plan.name())));
        // One of each instance before another of the same: two requests at once are two instances'.
        let lanes = (0..options.lanes).flat_map(|_| &instances);
        let session = |instance: &Arc<Instance>| -> Result<Box<dyn Session>, EngineError> {
            let lane = Lane::new(instance, warning.as_ref());
            Ok(Box::new(lane.map_err(|error| self.explain(files, &instance.tie, 0, &error))?))
        };
        lanes.map(session).collect()
    }

    fn check_room(&self, files: &ModelFiles, devices: &[Device]) -> Result<(), EngineError> {
        let mut gpus =
            devices.iter().filter_map(|device| device.gpu()).filter_map(|gpu| self.gpus.get(ordinal(gpu)));
        gpus.try_for_each(|gpu| self.check_budget(files, gpu, 0))
    }
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
        specs.push(TensorSpec {
            name: tensor.name.clone(),
            datatype,
            shape: tensor.shape.to_vec(),
            is_optional: false,
        });
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
