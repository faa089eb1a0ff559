//! `config.pbtxt` -> how TensorRT builds a plan of an ONNX model. Next: `profiles` reads the shapes, `compile` builds.
//!
//! The keys are parameters of the `gpu_execution_accelerator` "tensorrt", under the names that `trtexec` has for them, and Triton
//! for `max_workspace_size_bytes`.

use std::str::FromStr;

use forebay_bindings::{BuildOptions, HardwareCompatibilityLevel};

use super::profiles::{self, Given};
use crate::config::{self, ModelConfig};
use crate::engine::EngineError;
use crate::engine::onnx::Input;
use crate::proto::model_optimization_policy::execution_accelerators::Accelerator;

/// The accelerator whose parameters these are, as Triton names it.
const ACCELERATOR: &str = "tensorrt";
/// All keys, for messages.
const KEYS: &str = "minShapes, optShapes, maxShapes, max_workspace_size_bytes, builderOptimizationLevel, maxAuxStreams, \
                    sparsity, noTF32, hardwareCompatibilityLevel, computeCapabilities, versionCompatible and excludeLeanRuntime";

/// How the model is built that has those inputs.
///
/// # Errors
/// `Option`, naming the key.
pub(super) fn of(config: &ModelConfig, inputs: &[Input]) -> Result<BuildOptions, EngineError> {
    let mut options = BuildOptions::default();
    let mut given = Given::default();
    for (key, value) in accelerator(config)?.into_iter().flat_map(|accelerator| &accelerator.parameters) {
        match key.as_str() {
            "minShapes" => given.min = profiles::shapes(key, value)?,
            "optShapes" => given.opt = profiles::shapes(key, value)?,
            "maxShapes" => given.max = profiles::shapes(key, value)?,
            "max_workspace_size_bytes" => options.workspace = Some(number(key, value, 1, u64::MAX)?),
            "builderOptimizationLevel" => options.optimization_level = Some(number(key, value, 0, 5)?),
            "maxAuxStreams" => options.max_aux_streams = Some(number(key, value, 0, u8::MAX)?),
            "sparsity" => options.sparse_weights = sparsity(key, value)?,
            "noTF32" => options.no_tf32 = switch(key, value)?,
            "hardwareCompatibilityLevel" => options.hardware_compatibility = Some(hardware(key, value)?),
            "computeCapabilities" => options.compute_capabilities = capabilities(key, value)?,
            "versionCompatible" => options.version_compatible = switch(key, value)?,
            "excludeLeanRuntime" => options.exclude_lean_runtime = switch(key, value)?,
            "precision_mode" => {
                let reason = "can't be chosen: TensorRT takes each layer's precision from the model; \
                              convert the model, as `forebay optimize --for-tensorrt` does";
                return Err(wrong(key, reason.to_owned()));
            }
            _ => return Err(wrong(key, format!("is not known to the accelerator tensorrt; {KEYS} are"))),
        }
    }
    options.profiles = profiles::of(config, inputs, &given)?;
    Ok(options)
}

/// The one accelerator that there may be.
fn accelerator(config: &ModelConfig) -> Result<Option<&Accelerator>, EngineError> {
    let Some(all) = config.accelerators() else { return Ok(None) };
    if !all.cpu_execution_accelerator.is_empty() {
        return Err(wrong("cpu_execution_accelerator", "is not for models that TensorRT runs".to_owned()));
    }
    match &all.gpu_execution_accelerator[..] {
        [] => Ok(None),
        [only] if only.name == ACCELERATOR => Ok(Some(only)),
        _ => Err(wrong(
            "gpu_execution_accelerator",
            "of a model that TensorRT runs is tensorrt, once".to_owned(),
        )),
    }
}

pub(super) fn wrong(key: &str, reason: String) -> EngineError {
    EngineError::Option { key: key.to_owned(), reason }
}

fn must(key: &str, value: &str, expected: &str) -> EngineError {
    wrong(key, format!("is {value:?}, must be {expected}"))
}

fn number<T>(key: &str, value: &str, least: T, most: T) -> Result<T, EngineError>
where
    T: FromStr + PartialOrd + Copy + std::fmt::Display,
{
    let number = value.trim().parse().ok().filter(|number| (least..=most).contains(number));
    number.ok_or_else(|| must(key, value, &format!("a whole number from {least} to {most}")))
}

fn switch(key: &str, value: &str) -> Result<bool, EngineError> {
    config::boolean(value).ok_or_else(|| must(key, value, config::BOOLEANS))
}

fn sparsity(key: &str, value: &str) -> Result<bool, EngineError> {
    match value {
        "enable" => Ok(true),
        "disable" => Ok(false),
        // trtexec's "force" changes weights, and so the answers.
        _ => Err(must(key, value, "enable or disable")),
    }
}

fn hardware(key: &str, value: &str) -> Result<HardwareCompatibilityLevel, EngineError> {
    match value {
        "none" => Ok(HardwareCompatibilityLevel::SameModel),
        "ampere+" => Ok(HardwareCompatibilityLevel::AmperePlus),
        "sameComputeCapability" => Ok(HardwareCompatibilityLevel::SameComputeCapability),
        _ => Err(must(key, value, "none, ampere+ or sameComputeCapability")),
    }
}

fn capabilities(key: &str, value: &str) -> Result<Vec<u16>, EngineError> {
    let all = value.split(',').map(|capability| capability.trim().parse().ok()).collect::<Option<_>>();
    all.ok_or_else(|| must(key, value, "numbers, such as 89,120 for 8.9 and 12.0"))
}

#[cfg(test)]
mod tests;
