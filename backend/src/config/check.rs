//! A configuration that parses -> the first value in it that can't be served, by its field's path. What is refused whatever its
//! value is in the table (`fields`), what contradicts the model is `signature`'s to tell.

use std::collections::BTreeSet;

use super::{ModelConfig, Platform, PolicyChoice, reshape};
use crate::proto::model_input::Format;
use crate::proto::model_instance_group::Kind;
use crate::proto::{ModelInput, ModelInstanceGroup};

/// Sessions of one group; more are taken for a mistake.
const MOST_INSTANCES: i32 = 1024;
/// The one agent that there is, as Triton names it.
const CHECKSUM: &str = "checksum";

/// Field and reason.
pub(super) type Wrong = (String, String);

fn wrong(field: impl Into<String>, reason: impl Into<String>) -> Result<(), Wrong> {
    Err((field.into(), reason.into()))
}

/// Of a model that is called otherwise than its folder: whatever its configuration calls it.
pub(crate) const ANY_NAME: &str = "";

pub(super) fn check(config: &ModelConfig, model: &str) -> Result<(), Wrong> {
    if ![ANY_NAME, model].contains(&config.name.as_str()) && model != ANY_NAME {
        return wrong("name", format!("is {:?}, but the model's folder is {model:?}", config.name));
    }
    platform(config)?;
    if config.max_batch_size < 0 {
        return wrong("max_batch_size", format!("is {}, must be 0 or more", config.max_batch_size));
    }
    versions(config)?;
    config.instance_group.iter().enumerate().try_for_each(instances)?;
    let file = &config.default_model_filename;
    if file.contains('/') || file == ".." {
        return wrong("default_model_filename", format!("{file:?} must be a file of the version's folder"));
    }
    config.input.iter().enumerate().try_for_each(input)?;
    let names = |names: Vec<&String>, list: &str| {
        let mut seen = BTreeSet::new();
        let again = names.iter().position(|name| !seen.insert(*name));
        again.map_or(Ok(()), |index| {
            wrong(format!("{list}[{index}].name"), format!("{:?} stands twice", names[index]))
        })
    };
    names(config.input.iter().map(|input| &input.name).collect(), "input")?;
    names(config.output.iter().map(|output| &output.name).collect(), "output")?;
    for (index, output) in config.output.iter().enumerate() {
        let field = format!("output[{index}]");
        dims(&field, &output.dims)?;
        reshape::check(&field, &output.dims, output.reshape.as_ref())?;
        let file = &output.label_filename;
        if is_outside(file) {
            let reason = format!("{file:?} must be a file of the model's folder");
            return wrong(format!("output[{index}].label_filename"), reason);
        }
    }
    agents(config)
}

/// Whether it leads out of the folder that it is named from.
pub(crate) fn is_outside(file: &str) -> bool {
    file.starts_with('/') || file.split('/').any(|part| part == "..")
}

fn platform(config: &ModelConfig) -> Result<(), Wrong> {
    let named = Platform::ALL.map(|platform| (platform.name(), platform.backend()));
    let [(onnx, onnxruntime), (plan, tensorrt)] = named;
    if !["", onnx, plan].contains(&config.platform.as_str()) {
        return wrong("platform", format!("{:?} is not served; {onnx} and {plan} are", config.platform));
    }
    if !["", onnxruntime, tensorrt].contains(&config.backend.as_str()) {
        return wrong(
            "backend",
            format!("{:?} is not served; {onnxruntime} and {tensorrt} are", config.backend),
        );
    }
    let is_plan = |named: &str, plan: &str| (!named.is_empty()).then_some(named == plan);
    let platforms = (is_plan(&config.platform, plan), is_plan(&config.backend, tensorrt));
    if let (Some(by_platform), Some(by_backend)) = platforms
        && by_platform != by_backend
    {
        let reason = format!("{:?} is not the backend of platform {:?}", config.backend, config.platform);
        return wrong("backend", reason);
    }
    Ok(())
}

fn versions(config: &ModelConfig) -> Result<(), Wrong> {
    match config.version_policy.as_ref().and_then(|policy| policy.policy_choice.as_ref()) {
        // Triton serves no version then, and fails (model_lifecycle.cc).
        Some(PolicyChoice::Latest(latest)) if latest.num_versions == 0 => {
            wrong("version_policy.latest.num_versions", "is 0, must be 1 or more")
        }
        Some(PolicyChoice::Specific(specific)) if specific.versions.is_empty() => {
            wrong("version_policy.specific.versions", "is empty, must name a version")
        }
        _ => Ok(()),
    }
}

fn instances((index, group): (usize, &ModelInstanceGroup)) -> Result<(), Wrong> {
    let field = |name: &str| format!("instance_group[{index}].{name}");
    if !(0..=MOST_INSTANCES).contains(&group.count) {
        return wrong(
            field("count"),
            format!("count is {}, must be from 0 to {MOST_INSTANCES}", group.count),
        );
    }
    if let Some(at) = group.gpus.iter().position(|gpu| *gpu < 0) {
        return wrong(
            field(&format!("gpus[{at}]")),
            format!("gpus has {}, must be 0 or more", group.gpus[at]),
        );
    }
    // As Triton has it (ValidateInstanceGroup in model_config_utils.cc).
    if matches!(group.kind(), Kind::Cpu | Kind::Model) && !group.gpus.is_empty() {
        return wrong(field("gpus"), format!("are named, but the group is {}", group.kind().as_str_name()));
    }
    Ok(())
}

fn input((index, input): (usize, &ModelInput)) -> Result<(), Wrong> {
    // As Triton has it (ValidateModelInput in model_config_utils.cc).
    if input.format() != Format::None && input.dims.len() != 3 {
        let reason = format!("{} wants 3 dims, there are {}", input.format().as_str_name(), input.dims.len());
        return wrong(format!("input[{index}].format"), reason);
    }
    let field = format!("input[{index}]");
    dims(&field, &input.dims)?;
    reshape::check(&field, &input.dims, input.reshape.as_ref())
}

/// As Triton has it (`ValidateIOShape` in `model_config_utils.cc`).
fn dims(tensor: &str, dims: &[i64]) -> Result<(), Wrong> {
    let at = dims.iter().position(|size| *size < 1 && *size != -1);
    at.map_or(Ok(()), |at| {
        let reason = format!("is {}, must be 1 or more, or -1 for any", dims[at]);
        wrong(format!("{tensor}.dims[{at}]"), reason)
    })
}

fn agents(config: &ModelConfig) -> Result<(), Wrong> {
    let agents = config.model_repository_agents.iter().flat_map(|agents| &agents.agents);
    for (index, agent) in agents.enumerate() {
        if agent.name != CHECKSUM {
            let reason = format!("{:?} is not served; {CHECKSUM} is", agent.name);
            return wrong(format!("model_repository_agents.agents[{index}].name"), reason);
        }
    }
    Ok(())
}
