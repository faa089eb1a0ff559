//! `config.pbtxt` -> how ONNX Runtime runs the model, by the keys of Triton's onnxruntime backend, with what a version's own files
//! say that the session needs (`entries`). Next: the session is opened with them.
//!
//! `optimization.graph.level`: 0 all optimisations, 1 extended, -1 basic, 2 none. `parameters`: `intra_op_thread_count` and
//! `inter_op_thread_count` (threads of this instance alone), `execution_mode` (1 runs branches in parallel),
//! `enable_mem_pattern`, `enable_mem_arena`, `io_binding` (ours). `optimization.execution_accelerators` and `KIND_GPU` choose execution providers.

use ort::ep::{
    ArbitrarilyConfigurableExecutionProvider, CPU, CUDA, ExecutionProvider, ExecutionProviderDispatch,
    OpenVINO, TensorRT,
};
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};

use super::{Model, failure};
use crate::config::{self, Device, ModelConfig};
use crate::engine::EngineError;
use crate::proto::model_optimization_policy::execution_accelerators::Accelerator;

/// The parameters that are read here.
pub(super) const PARAMETERS: [&str; 6] = [
    "intra_op_thread_count",
    "inter_op_thread_count",
    "execution_mode",
    "enable_mem_pattern",
    "enable_mem_arena",
    "io_binding",
];
/// Fields that choose providers.
const CPU_ACCELERATOR: &str = "cpu_execution_accelerator";
const GPU_ACCELERATOR: &str = "gpu_execution_accelerator";
const INSTANCES: &str = "instance_group";
/// More threads than this are taken for a mistake.
const MOST_THREADS: usize = 1024;
/// Keys of Triton's backend that mean nothing here, with what does.
const IGNORED: [(&str, &str); 9] = [
    ("memory.enable_memory_arena_shrinkage", "the arena keeps what it has"),
    ("session.use_device_allocator_for_initializers", "initializers lie in the arena"),
    ("share_session_between_instances", "each instance has a session of its own"),
    ("cudnn_conv_algo_search", CUDA_OPTION),
    ("cudnn_conv_use_max_workspace", CUDA_OPTION),
    ("gpu_mem_limit", CUDA_OPTION),
    ("arena_extend_strategy", CUDA_OPTION),
    ("do_copy_in_default_stream", CUDA_OPTION),
    ("enable_cuda_graph", CUDA_OPTION),
];
const CUDA_OPTION: &str = "set it among the parameters of the gpu_execution_accelerator cuda";

/// Sets what the configuration says.
///
/// # Errors
/// `Option`, naming the key.
pub(super) fn apply(
    mut builder: SessionBuilder,
    model: &Model<'_>,
    device: Device,
) -> Result<SessionBuilder, EngineError> {
    let Model { files, config, options, .. } = *model;
    for (name, value) in files.entries.iter() {
        builder = builder.with_config_entry(name, value).map_err(|error| unset(&error))?;
    }
    builder = builder.with_optimization_level(level(config)?).map_err(|error| unset(&error))?;
    let intra = number(config, "intra_op_thread_count")?;
    let inter = number(config, "inter_op_thread_count")?;
    if intra.is_some() || inter.is_some() {
        builder = builder.with_independent_thread_pool().map_err(|error| unset(&error))?;
        builder = builder.with_intra_op_spinning(false).map_err(|error| unset(&error))?;
        builder = builder.with_inter_threads(inter.unwrap_or(1)).map_err(|error| unset(&error))?;
    }
    let intra = intra.unwrap_or(options.intra_op_threads);
    builder = builder.with_intra_threads(intra).map_err(|error| unset(&error))?;
    if let Some(parallel) = switch(config, "execution_mode")? {
        builder = builder.with_parallel_execution(parallel).map_err(|error| unset(&error))?;
    }
    if let Some(pattern) = memory_pattern(config, model.is_fixed)? {
        builder = builder.with_memory_pattern(pattern).map_err(|error| unset(&error))?;
    }
    let mut providers = providers(config, device)?;
    if let Some(arena) = switch(config, "enable_mem_arena")? {
        providers.push(CPU::default().with_arena_allocator(arena).into());
    }
    if !providers.is_empty() {
        builder = builder.with_execution_providers(providers).map_err(|error| unset(&error))?;
    }
    Ok(builder)
}

/// Why a parameter that Triton's backend reads means nothing here.
pub(super) fn why_ignored(key: &str) -> Option<&'static str> {
    IGNORED.iter().find(|(known, _)| *known == key).map(|(_, instead)| *instead)
}

/// Whether ONNX Runtime remembers what a run allocated, for the next with inputs of these shapes; `None` leaves it to do so. It forgets
/// none, so where each request may have shapes of its own it would take more memory for ever.
fn memory_pattern(config: &ModelConfig, is_fixed: bool) -> Result<Option<bool>, EngineError> {
    Ok(switch(config, "enable_mem_pattern")?.or((!is_fixed).then_some(false)))
}

/// Whether ONNX Runtime's own operators for the CPU compute all of it.
pub(super) fn is_for_cpu(config: &ModelConfig, device: Device) -> bool {
    device == Device::Cpu && config.accelerators().is_none_or(|all| all.cpu_execution_accelerator.is_empty())
}

/// Whether inputs and outputs are bound: on a GPU, unless `io_binding` says otherwise. On the CPU that is a copy more.
pub(super) fn binds(config: &ModelConfig, device: Device) -> Result<bool, EngineError> {
    Ok(switch(config, "io_binding")?.unwrap_or(matches!(device, Device::Gpu(_))))
}

fn unset<T>(error: &ort::Error<T>) -> EngineError {
    EngineError::Failed(error.message().to_owned())
}

fn level(config: &ModelConfig) -> Result<GraphOptimizationLevel, EngineError> {
    let graph = config.optimization.as_ref().and_then(|optimization| optimization.graph);
    match graph.map_or(0, |graph| graph.level) {
        0 => Ok(GraphOptimizationLevel::All),
        1 => Ok(GraphOptimizationLevel::Level2),
        -1 => Ok(GraphOptimizationLevel::Level1),
        2 => Ok(GraphOptimizationLevel::Disable),
        other => Err(wrong("optimization.graph.level", format!("is {other}, must be from -1 to 2"))),
    }
}

fn number(config: &ModelConfig, key: &'static str) -> Result<Option<usize>, EngineError> {
    let Some(parameter) = config.parameters.get(key) else { return Ok(None) };
    let value = parameter.string_value.parse::<usize>().ok().filter(|value| *value <= MOST_THREADS);
    let reason =
        || format!("is {:?}, must be a whole number from 0 to {MOST_THREADS}", parameter.string_value);
    value.map(Some).ok_or_else(|| wrong(key, reason()))
}

fn switch(config: &ModelConfig, key: &'static str) -> Result<Option<bool>, EngineError> {
    let Some(parameter) = config.parameters.get(key) else { return Ok(None) };
    let reason = || format!("is {:?}, must be {}", parameter.string_value, config::BOOLEANS);
    config::boolean(&parameter.string_value).map(Some).ok_or_else(|| wrong(key, reason()))
}

fn wrong(key: &str, reason: String) -> EngineError {
    EngineError::Option { key: key.to_owned(), reason }
}

/// In the order in which they may take operators; the CPU takes the rest.
fn providers(config: &ModelConfig, device: Device) -> Result<Vec<ExecutionProviderDispatch>, EngineError> {
    let accelerators = config.accelerators();
    let mut chosen = of_cpu(accelerators.map_or(&[], |all| &all.cpu_execution_accelerator))?;
    let wanted = accelerators.map_or(&[][..], |all| &all.gpu_execution_accelerator);
    match device {
        Device::Gpu(gpu) => chosen.extend(of_gpu(gpu, wanted)?),
        Device::Cpu if !wanted.is_empty() => tracing::warn!(
            "gpu_execution_accelerator is ignored: it is for instance_groups of KIND_GPU; this one is the CPU's"
        ),
        Device::Cpu => {}
    }
    Ok(chosen)
}

fn of_cpu(wanted: &[Accelerator]) -> Result<Vec<ExecutionProviderDispatch>, EngineError> {
    let provider = |accelerator: &Accelerator| match accelerator.name.as_str() {
        "openvino" => {
            available(CPU_ACCELERATOR, &accelerator.name, configured(OpenVINO::default(), accelerator))
        }
        other => Err(wrong(CPU_ACCELERATOR, format!("{other:?} is not known; openvino is"))),
    };
    wanted.iter().map(provider).collect()
}

fn of_gpu(gpu: i32, wanted: &[Accelerator]) -> Result<Vec<ExecutionProviderDispatch>, EngineError> {
    let mut chosen = Vec::new();
    let mut cuda = CUDA::default();
    for accelerator in wanted {
        match accelerator.name.as_str() {
            "tensorrt" => {
                chosen.push(available(GPU_ACCELERATOR, &accelerator.name, tensorrt(gpu, accelerator)?)?);
            }
            "cuda" => cuda = configured(cuda, accelerator),
            other => {
                let reason = format!("{other:?} is not known; tensorrt and cuda are");
                return Err(wrong(GPU_ACCELERATOR, reason));
            }
        }
    }
    chosen.push(available(INSTANCES, "of KIND_GPU", cuda.with_device_id(gpu))?);
    Ok(chosen)
}

/// Sets a provider's own options, by ONNX Runtime's names.
fn configured<P: ArbitrarilyConfigurableExecutionProvider>(mut provider: P, accelerator: &Accelerator) -> P {
    for (key, value) in &accelerator.parameters {
        provider = provider.with_arbitrary_config(key, value);
    }
    provider
}

/// `TensorRT`, by Triton's names of its options or ONNX Runtime's own.
fn tensorrt(device: i32, accelerator: &Accelerator) -> Result<TensorRT, EngineError> {
    let mut provider = TensorRT::default().with_device_id(device);
    for (key, value) in &accelerator.parameters {
        let (key, value) = match (key.as_str(), value.as_str()) {
            ("precision_mode", "FP32") => continue,
            ("precision_mode", "FP16") => ("trt_fp16_enable", "1"),
            ("precision_mode", "BF16") => ("trt_bf16_enable", "1"),
            ("precision_mode", "INT8") => ("trt_int8_enable", "1"),
            ("precision_mode", other) => {
                return Err(wrong(
                    "precision_mode",
                    format!("is {other:?}, must be FP32, FP16, BF16 or INT8"),
                ));
            }
            ("max_workspace_size_bytes", value) => ("trt_max_workspace_size", value),
            ("int8_calibration_table_name", value) => ("trt_int8_calibration_table_name", value),
            ("int8_use_native_calibration_table", value) => ("trt_int8_use_native_calibration_table", value),
            own => own,
        };
        provider = provider.with_arbitrary_config(key, value);
    }
    Ok(provider)
}

/// The provider, if the library was built with it.
fn available<P>(field: &str, what: &str, provider: P) -> Result<ExecutionProviderDispatch, EngineError>
where
    P: ExecutionProvider + Into<ExecutionProviderDispatch>,
{
    if P::is_available().map_err(|error| failure(&error))? {
        return Ok(provider.into().error_on_failure());
    }
    Err(wrong(field, format!("{what} needs {}, which this ONNX Runtime library was built without", P::NAME)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::ModelParameter;

    #[test]
    fn memory_patterns_are_kept_of_fixed_shapes_unless_the_configuration_says_otherwise() {
        let said = |value: &str| {
            let parameter = ModelParameter { string_value: value.to_owned() };
            let parameters = [("enable_mem_pattern".to_owned(), parameter)].into();
            ModelConfig { parameters, ..ModelConfig::default() }
        };
        let plain = ModelConfig::default();
        assert_eq!(memory_pattern(&plain, false).unwrap(), Some(false));
        assert_eq!(memory_pattern(&plain, true).unwrap(), None);
        assert_eq!(memory_pattern(&said("1"), false).unwrap(), Some(true));
        assert_eq!(memory_pattern(&said("0"), true).unwrap(), Some(false));
        assert!(memory_pattern(&said("many"), false).is_err());
    }
}
