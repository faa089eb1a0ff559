//! What was written and what the model has -> the configuration in full, as Triton and its backend for ONNX complete it: `load` and
//! the requests go by it, and clients read it (`perf_analyzer` wants inputs and `max_batch_size`, others the platform).
//!
//! From Triton's sources: a list of inputs or outputs is filled in where it is empty, and only where one is does an ONNX model whose
//! first dimensions are all free get a batch and dynamic batching (`ModelState::AutoCompleteConfig` in the backend's onnxruntime.cc);
//! groups of instances get names and counts (`NormalizeInstanceGroup` in `model_config_utils.cc`), and dynamic batching prefers the
//! largest batch (`NormalizeModelConfig`). Of a plan the batch is said, or it is 0.

use forebay_protocol::datatype::DataType;

use crate::config::{Device, ModelConfig, Platform, PolicyChoice, SchedulingChoice};
use crate::engine::ModelFiles;
use crate::engine::signature::{Signature, TensorSpec};
use crate::proto::model_instance_group::Kind;
use crate::proto::model_version_policy::Latest;
use crate::proto::{
    self, ModelDynamicBatching, ModelInput, ModelInstanceGroup, ModelOutput, ModelTensorReshape,
    ModelVersionPolicy,
};
use crate::settings::Completion;

/// A configuration that doesn't say enough, where it must say it all.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("lists no {kind}, and nothing is filled in (--disable-auto-complete-config); the model has {has}")]
pub(crate) struct Incomplete {
    kind: &'static str,
    has: String,
}

/// What a configuration is completed from.
pub(crate) struct Completing<'a> {
    pub(crate) name: &'a str,
    pub(crate) signature: &'a Signature,
    pub(crate) files: &'a ModelFiles,
    /// Where its sessions run.
    pub(crate) devices: &'a [Device],
    /// How many GPUs there are.
    pub(crate) gpus: usize,
}

/// Completes what was written.
///
/// # Errors
/// Something is missing, and completion is off.
pub(crate) fn complete(
    mut config: ModelConfig,
    from: &Completing<'_>,
    completion: Completion,
) -> Result<ModelConfig, Incomplete> {
    fn or(field: &mut String, value: &str) {
        if field.is_empty() {
            value.clone_into(field);
        }
    }
    let Completing { name, signature, files, .. } = *from;
    or(&mut config.name, name);
    or(&mut config.platform, files.platform.name());
    or(&mut config.backend, files.platform.backend());
    or(&mut config.default_model_filename, files.named());
    let latest =
        || ModelVersionPolicy { policy_choice: Some(PolicyChoice::Latest(Latest { num_versions: 1 })) };
    config.version_policy.get_or_insert_with(latest);
    groups(&mut config, from);
    let lists = [
        ("input", config.input.is_empty(), &signature.inputs),
        ("output", config.output.is_empty(), &signature.outputs),
    ];
    let missing = lists.into_iter().find(|(_, is_empty, specs)| *is_empty && !specs.is_empty());
    if let Some((kind, _, specs)) = missing {
        if !completion.is_on {
            let has = specs.iter().map(|spec| format!("{:?}", spec.name)).collect::<Vec<_>>().join(", ");
            return Err(Incomplete { kind, has });
        }
        if files.platform == Platform::OnnxRuntime {
            batch(&mut config, from, completion.max_batch_size);
        }
        tensors(&mut config, signature);
    }
    if let Some(SchedulingChoice::DynamicBatching(dynamic)) = &mut config.scheduling_choice
        && dynamic.preferred_batch_size.is_empty()
        && config.max_batch_size > 0
    {
        dynamic.preferred_batch_size.push(config.max_batch_size);
    }
    Ok(config)
}

/// Groups get names, kinds, counts and GPUs that were not said; where there is none, one says where sessions run.
fn groups(config: &mut ModelConfig, Completing { name, files, devices, gpus, .. }: &Completing<'_>) {
    if config.instance_group.is_empty() {
        let mut gpus: Vec<i32> = devices.iter().filter_map(|device| device.gpu()).collect();
        gpus.dedup();
        config.instance_group.push(ModelInstanceGroup {
            count: i32::try_from(devices.len() / gpus.len().max(1)).unwrap_or(i32::MAX),
            kind: if devices.contains(&Device::Cpu) { Kind::Cpu } else { Kind::Gpu }.into(),
            gpus,
            ..ModelInstanceGroup::default()
        });
    }
    for (index, group) in config.instance_group.iter_mut().enumerate() {
        if group.name.is_empty() {
            group.name = format!("{name}_{index}");
        }
        group.count = files.platform.count(group);
        let kind = files.platform.kind(group);
        group.set_kind(kind);
        if kind == Kind::Gpu && group.gpus.is_empty() {
            group.gpus = (0..).take((*gpus).max(1)).collect();
        }
    }
}

/// A batch, and batching, for a model that can have them.
fn batch(config: &mut ModelConfig, Completing { name, signature, .. }: &Completing<'_>, default: i32) {
    let needed = signature.inputs.iter().filter(|spec| !spec.is_optional);
    let mut all = needed.chain(&signature.outputs);
    if !all.all(|spec| spec.shape.first() == Some(&-1)) {
        return;
    }
    if config.max_batch_size == 0 && default > 0 {
        config.max_batch_size = default;
        tracing::warn!(
            model = name,
            "max_batch_size is {default} here, since config.pbtxt lists no inputs or no outputs and all first dimensions are free; \
             if they are no batch, config.pbtxt must list both, with those dimensions"
        );
    }
    if config.max_batch_size > 1 && config.scheduling_choice.is_none() {
        config.scheduling_choice = Some(SchedulingChoice::DynamicBatching(ModelDynamicBatching::default()));
    }
}

/// Lists that are empty become the model's.
fn tensors(config: &mut ModelConfig, signature: &Signature) {
    let has_batch = config.max_batch_size > 0;
    if config.input.is_empty() {
        let input = |spec| {
            let Declared { name, data_type, dims, reshape } = Declared::of(spec, has_batch);
            ModelInput { name, data_type, dims, reshape, ..ModelInput::default() }
        };
        // What has a default is an input where the configuration says so.
        config.input = signature.inputs.iter().filter(|spec| !spec.is_optional).map(input).collect();
    }
    if config.output.is_empty() {
        let output = |spec| {
            let Declared { name, data_type, dims, reshape } = Declared::of(spec, has_batch);
            ModelOutput { name, data_type, dims, reshape, ..ModelOutput::default() }
        };
        config.output = signature.outputs.iter().map(output).collect();
    }
}

/// What is declared of a tensor.
struct Declared {
    name: String,
    data_type: i32,
    /// Without the batch's.
    dims: Vec<i64>,
    reshape: Option<ModelTensorReshape>,
}

impl Declared {
    /// Triton spells what has no dims as `[ 1 ]`: a scalar, and with a reshape what is nothing but the batch.
    fn of(spec: &TensorSpec, has_batch: bool) -> Self {
        let dims = spec.shape.get(usize::from(has_batch)..).unwrap_or_default();
        let reshape = (has_batch && spec.shape.len() == 1).then(ModelTensorReshape::default);
        let dims = if dims.is_empty() { vec![1] } else { dims.to_vec() };
        Self { name: spec.name.clone(), data_type: declared(spec.datatype).into(), dims, reshape }
    }
}

fn declared(datatype: DataType) -> proto::DataType {
    match datatype {
        DataType::Bool => proto::DataType::TypeBool,
        DataType::Uint8 => proto::DataType::TypeUint8,
        DataType::Uint16 => proto::DataType::TypeUint16,
        DataType::Uint32 => proto::DataType::TypeUint32,
        DataType::Uint64 => proto::DataType::TypeUint64,
        DataType::Int8 => proto::DataType::TypeInt8,
        DataType::Int16 => proto::DataType::TypeInt16,
        DataType::Int32 => proto::DataType::TypeInt32,
        DataType::Int64 => proto::DataType::TypeInt64,
        DataType::Fp16 => proto::DataType::TypeFp16,
        DataType::Bf16 => proto::DataType::TypeBf16,
        DataType::Fp32 => proto::DataType::TypeFp32,
        DataType::Fp64 => proto::DataType::TypeFp64,
        DataType::Bytes => proto::DataType::TypeString,
    }
}

#[cfg(test)]
mod tests;
