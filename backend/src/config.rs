//! Bytes of `config.pbtxt` -> `ModelConfig`, or an error with file and line (`read`, `places`). What becomes of each field is said
//! in one table (`fields`). Next: `repository` picks versions by it, `complete` fills in the rest, `signature` compares it with the
//! model, `policy` reads how to cache.

mod check;
mod fields;
mod lists;
mod places;
mod read;
mod reshape;
mod scanner;
mod unknown;

use std::path::Path;

use forebay_protocol::datatype::DataType;

use crate::proto::{self, ModelInstanceGroup};

pub(crate) use check::{ANY_NAME, is_outside};
pub(crate) use fields::said_to_another;
pub(crate) use places::Places;
pub(crate) use read::{ConfigError, from_json, of_another, parse, read};

pub(crate) use crate::proto::ModelConfig;
pub(crate) use crate::proto::model_config::SchedulingChoice;
use crate::proto::model_instance_group::Kind;
use crate::proto::model_optimization_policy::ExecutionAccelerators;
pub(crate) use crate::proto::model_version_policy::PolicyChoice;

/// What the file is called in a model's folder.
pub(crate) const FILE_NAME: &str = "config.pbtxt";

/// A configuration as it was written.
#[derive(Debug, Clone)]
pub(crate) struct Written {
    pub(crate) config: ModelConfig,
    /// Where its fields stand.
    pub(crate) places: Places,
}

impl Written {
    /// Of a model without a file at that path.
    pub(crate) fn nothing(path: &Path) -> Self {
        Self { config: ModelConfig::default(), places: Places::nowhere(path) }
    }
}

impl ModelConfig {
    /// What kind of model it is: as it says, else as `has` tells of the files in a version's folder.
    pub(crate) fn platform(&self, has: impl Fn(&str) -> bool) -> Platform {
        let says = |platform: Platform| {
            self.platform == platform.name()
                || self.backend == platform.backend()
                || self.default_model_filename == platform.model_file()
        };
        let is_plan = says(Platform::TensorRt)
            || !says(Platform::OnnxRuntime)
                && self.default_model_filename.is_empty()
                && has(Platform::TensorRt.model_file())
                && !has(Platform::OnnxRuntime.model_file());
        if is_plan { Platform::TensorRt } else { Platform::OnnxRuntime }
    }

    /// File of the model inside a version's folder, which `has` tells of: TensorRT takes an ONNX model where there is no plan.
    pub(crate) fn model_file(&self, platform: Platform, has: impl Fn(&str) -> bool) -> &str {
        let (own, onnx) = (platform.model_file(), Platform::OnnxRuntime.model_file());
        match self.default_model_filename.as_str() {
            "" if !has(own) && has(onnx) => onnx,
            "" => own,
            named => named,
        }
    }

    /// What shall run the model beside its backend's own operators.
    pub(crate) fn accelerators(&self) -> Option<&ExecutionAccelerators> {
        self.optimization.as_ref()?.execution_accelerators.as_ref()
    }

    /// Where each session runs that `instance_group` asks for; none if it doesn't say. As in Triton, `count` is of each GPU
    /// that a group names, or of each of all `gpus`. `KIND_AUTO` is where the platform runs anywhere.
    pub(crate) fn instances(&self, platform: Platform, gpus: usize) -> Vec<Device> {
        let groups = self.instance_group.iter().filter(|group| !group.passive);
        let devices = groups.flat_map(|group| {
            let devices = match (platform.kind(group), group.gpus.as_slice()) {
                (Kind::Gpu, []) => every(gpus),
                (Kind::Gpu, gpus) => gpus.iter().copied().map(Device::Gpu).collect(),
                _ => vec![Device::Cpu],
            };
            let count = usize::try_from(platform.count(group)).unwrap_or(1);
            devices.into_iter().flat_map(move |device| std::iter::repeat_n(device, count))
        });
        devices.collect()
    }
}

/// What kind of model it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Platform {
    OnnxRuntime,
    TensorRt,
}

impl Platform {
    const ALL: [Self; 2] = [Self::OnnxRuntime, Self::TensorRt];

    /// As Triton's `platform` names it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::OnnxRuntime => "onnxruntime_onnx",
            Self::TensorRt => "tensorrt_plan",
        }
    }

    /// As Triton's `backend` names what runs it.
    pub(crate) fn backend(self) -> &'static str {
        match self {
            Self::OnnxRuntime => "onnxruntime",
            Self::TensorRt => "tensorrt",
        }
    }

    /// Its file in a version's folder, unless `default_model_filename` says otherwise.
    pub(crate) fn model_file(self) -> &'static str {
        match self {
            Self::OnnxRuntime => "model.onnx",
            Self::TensorRt => "model.plan",
        }
    }

    /// Where a group's sessions run.
    pub(crate) fn kind(self, group: &ModelInstanceGroup) -> Kind {
        match (group.kind(), self) {
            (Kind::Auto, Self::TensorRt) => Kind::Gpu,
            (Kind::Auto, Self::OnnxRuntime) => Kind::Cpu,
            (kind, _) => kind,
        }
    }

    /// Sessions of a group on each device; Triton has two of an ONNX model on the CPU (`SetDefaultInstanceCount` in
    /// `model_config_utils.cc`).
    pub(crate) fn count(self, group: &ModelInstanceGroup) -> i32 {
        match (group.count, self, self.kind(group)) {
            (0, Self::OnnxRuntime, Kind::Cpu) => 2,
            (count, ..) => count.max(1),
        }
    }

    /// Where sessions run if `instance_group` doesn't say: `instances` of them on CPUs, or one on each of all `gpus`.
    pub(crate) fn devices(self, instances: usize, gpus: usize) -> Vec<Device> {
        match self {
            Self::OnnxRuntime => vec![Device::Cpu; instances],
            Self::TensorRt => every(gpus),
        }
    }
}

/// Where a session runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Device {
    Cpu,
    Gpu(i32),
}

impl Device {
    /// The number of the GPU, if it is one.
    pub(crate) fn gpu(self) -> Option<i32> {
        match self {
            Self::Cpu => None,
            Self::Gpu(gpu) => Some(gpu),
        }
    }
}

/// A boolean as Triton reads it in parameters; `None` for anything else.
pub(crate) fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "true" | "on" => Some(true),
        "0" | "false" | "off" => Some(false),
        _ => None,
    }
}

/// What a value that is no [`boolean`] should have been.
pub(crate) const BOOLEANS: &str = "0 or 1, true or false, on or off";

/// All GPUs; where there is none, the first, so that what is said is that it isn't there.
fn every(gpus: usize) -> Vec<Device> {
    let count = i32::try_from(gpus.max(1)).unwrap_or(i32::MAX);
    (0..count).map(Device::Gpu).collect()
}

/// V2's name of a `TYPE_*`; `None` for `TYPE_INVALID` and numbers that mean nothing.
pub(crate) fn datatype(declared: i32) -> Option<DataType> {
    Some(match proto::DataType::try_from(declared).ok()? {
        proto::DataType::TypeInvalid => return None,
        proto::DataType::TypeBool => DataType::Bool,
        proto::DataType::TypeUint8 => DataType::Uint8,
        proto::DataType::TypeUint16 => DataType::Uint16,
        proto::DataType::TypeUint32 => DataType::Uint32,
        proto::DataType::TypeUint64 => DataType::Uint64,
        proto::DataType::TypeInt8 => DataType::Int8,
        proto::DataType::TypeInt16 => DataType::Int16,
        proto::DataType::TypeInt32 => DataType::Int32,
        proto::DataType::TypeInt64 => DataType::Int64,
        proto::DataType::TypeFp16 => DataType::Fp16,
        proto::DataType::TypeFp32 => DataType::Fp32,
        proto::DataType::TypeFp64 => DataType::Fp64,
        proto::DataType::TypeString => DataType::Bytes,
        proto::DataType::TypeBf16 => DataType::Bf16,
    })
}

#[cfg(test)]
mod tests;
