//! A configuration and the model it is for -> the configuration in full, as Triton's auto-complete writes it. What
//! clients read: `perf_analyzer` wants inputs and `max_batch_size`, others the platform.
//!
//! `max_batch_size` stays what was written. Triton guesses 4 with dynamic batching for a model whose first dimensions are
//! free; a free dimension need not be a batch, and a guess that is wrong gives wrong answers, so here it is said or it is 0.

use forebay_protocol::datatype::DataType;

use crate::config::{Device, ModelConfig, PolicyChoice};
use crate::engine::ModelFiles;
use crate::engine::signature::{Signature, TensorSpec};
use crate::proto::model_instance_group::Kind;
use crate::proto::model_version_policy::Latest;
use crate::proto::{self, ModelInput, ModelInstanceGroup, ModelOutput, ModelVersionPolicy};

/// Completes the configuration of a model that was read from `files` and is served by sessions on `devices`.
pub(crate) fn complete(
    mut config: ModelConfig,
    name: &str,
    signature: &Signature,
    files: &ModelFiles,
    devices: &[Device],
) -> ModelConfig {
    fn or(field: &mut String, value: &str) {
        if field.is_empty() {
            value.clone_into(field);
        }
    }
    or(&mut config.name, name);
    or(&mut config.platform, files.platform.name());
    or(&mut config.backend, files.platform.backend());
    or(&mut config.default_model_filename, &files.model_file);
    let latest =
        || ModelVersionPolicy { policy_choice: Some(PolicyChoice::Latest(Latest { num_versions: 1 })) };
    config.version_policy.get_or_insert_with(latest);
    if config.instance_group.is_empty() {
        let mut gpus: Vec<i32> = devices.iter().filter_map(|device| device.gpu()).collect();
        gpus.dedup();
        config.instance_group.push(ModelInstanceGroup {
            name: name.to_owned(),
            count: i32::try_from(devices.len() / gpus.len().max(1)).unwrap_or(i32::MAX),
            kind: if devices.contains(&Device::Cpu) { Kind::Cpu } else { Kind::Gpu }.into(),
            gpus,
            ..ModelInstanceGroup::default()
        });
    }
    let has_batch = config.max_batch_size > 0;
    for spec in &signature.inputs {
        if !config.input.iter().any(|input| input.name == spec.name) {
            let (name, data_type, dims) = tensor(spec, has_batch);
            config.input.push(ModelInput { name, data_type, dims, ..ModelInput::default() });
        }
    }
    for spec in &signature.outputs {
        if !config.output.iter().any(|output| output.name == spec.name) {
            let (name, data_type, dims) = tensor(spec, has_batch);
            config.output.push(ModelOutput { name, data_type, dims, ..ModelOutput::default() });
        }
    }
    config
}

/// Name, `TYPE_*` and dims, without the batch's. Triton spells a scalar as dims [1].
fn tensor(spec: &TensorSpec, has_batch: bool) -> (String, i32, Vec<i64>) {
    let dims = spec.shape.get(usize::from(has_batch)..).unwrap_or_default();
    let dims = if spec.shape.is_empty() { vec![1] } else { dims.to_vec() };
    (spec.name.clone(), declared(spec.datatype).into(), dims)
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
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::Platform;

    #[test]
    fn what_was_written_stays_and_the_rest_is_the_models() {
        let spec = |name: &str, shape: &[i64]| TensorSpec {
            name: name.into(),
            datatype: DataType::Fp32,
            shape: shape.to_vec(),
        };
        let signature = Signature { inputs: vec![spec("a", &[-1, 3])], outputs: vec![spec("y", &[-1, 2])] };
        let written = ModelInput { name: "a".into(), dims: vec![-1], ..ModelInput::default() };
        let config =
            ModelConfig { max_batch_size: 4, input: vec![written.clone()], ..ModelConfig::default() };
        let files = ModelFiles {
            platform: Platform::OnnxRuntime,
            model_file: "model.onnx".into(),
            files: BTreeMap::new(),
        };
        let completed = complete(config, "m", &signature, &files, &[Device::Cpu; 2]);
        assert_eq!(completed.input, [written]);
        assert_eq!(
            (&completed.output[0].dims[..], completed.output[0].data_type()),
            (&[2][..], proto::DataType::TypeFp32)
        );
        assert_eq!((completed.name.as_str(), completed.instance_group[0].count), ("m", 2));
        let plain = complete(ModelConfig::default(), "m", &signature, &files, &[Device::Cpu]);
        assert_eq!(plain.input[0].dims, [-1, 3]);
    }
}
