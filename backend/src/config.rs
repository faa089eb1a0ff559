//! Bytes of `config.pbtxt` -> `ModelConfig`, or an error with file and line. Next: `repository` picks versions by
//! it, `signature` compares it with the model, `policy` reads how to cache.

mod lists;
mod unknown;

use std::path::{Path, PathBuf};

use forebay_protocol::datatype::DataType;
use miette::Diagnostic as _;
use prost_reflect::text_format::ParseError;
use prost_reflect::{DeserializeOptions, DynamicMessage};

use crate::proto;

pub(crate) use crate::proto::ModelConfig;
pub(crate) use crate::proto::model_config::SchedulingChoice;
use crate::proto::model_instance_group::Kind;
use crate::proto::model_optimization_policy::ExecutionAccelerators;
pub(crate) use crate::proto::model_version_policy::PolicyChoice;

/// How the parser says that a field doesn't exist.
const NOT_FOUND: &str = "not found for message";
/// A file with more unknown fields than this is no configuration of any version.
const MOST_UNKNOWN: usize = 64;

/// What the file is called in a model's folder.
pub(crate) const FILE_NAME: &str = "config.pbtxt";

/// A `config.pbtxt` that refuses its model.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// Not UTF-8.
    #[error("{path}: not UTF-8 text after byte {valid_up_to}")]
    NotText { path: PathBuf, valid_up_to: usize },
    /// Not the text format, or a value of another kind.
    #[error("{path}:{line}: {message}")]
    Syntax { path: PathBuf, line: usize, message: String },
    /// A field whose value can't be served.
    #[error("{path}:{line}: {field}: {reason}")]
    Field { path: PathBuf, line: usize, field: &'static str, reason: String },
}

/// Parses and checks one file; `path` is for messages, `model` is the name of its folder.
///
/// # Errors
/// With file and line: what can't be parsed, and values that can't be served. A field that doesn't exist is a warning.
pub(crate) fn parse(path: &Path, bytes: &[u8], model: &str) -> Result<ModelConfig, ConfigError> {
    let text = std::str::from_utf8(bytes)
        .map_err(|error| ConfigError::NotText { path: path.to_owned(), valid_up_to: error.valid_up_to() })?;
    let mut text = lists::with_colons(text);
    let mut unknown_fields = 0;
    let message = loop {
        let error = match DynamicMessage::parse_text_format(proto::descriptor("ModelConfig"), &text) {
            Ok(message) => break message,
            Err(error) => error,
        };
        let (offset, located) = located(path, &text, &error);
        let is_unknown = error.to_string().contains(NOT_FOUND) && unknown_fields < MOST_UNKNOWN;
        let Some(without) = is_unknown.then(|| unknown::without(&text, offset)).flatten() else {
            return Err(located);
        };
        tracing::warn!("{located}: the field is ignored");
        unknown_fields += 1;
        text = without;
    };
    let text = &text;
    let config: ModelConfig = message.transcode_to().map_err(|error| ConfigError::Syntax {
        path: path.to_owned(),
        line: 1,
        message: error.to_string(),
    })?;
    check(&config, model).map_err(|(field, reason)| {
        let line = line_of_field(text, field);
        ConfigError::Field { path: path.to_owned(), line, field, reason }
    })?;
    Ok(config)
}

/// Parses and checks a configuration that comes as JSON, for a model of that name.
///
/// # Errors
/// As [`parse`], with the line of the JSON.
pub(crate) fn from_json(text: &str, model: &str) -> Result<ModelConfig, ConfigError> {
    let path = PathBuf::from("the parameter config");
    let wrong = |line: usize, message: String| ConfigError::Syntax { path: path.clone(), line, message };
    let mut json = serde_json::Deserializer::from_str(text);
    // As in the file, a field of another version is no reason to refuse the rest.
    let options = DeserializeOptions::new().deny_unknown_fields(false);
    let message =
        DynamicMessage::deserialize_with_options(proto::descriptor("ModelConfig"), &mut json, &options)
            .and_then(|message| json.end().map(|()| message))
            .map_err(|error| wrong(error.line(), error.to_string()))?;
    let config: ModelConfig = message.transcode_to().map_err(|error| wrong(1, error.to_string()))?;
    check(&config, model).map_err(|(field, reason)| {
        let line = line_of_field(text, field);
        ConfigError::Field { path: path.clone(), line, field, reason }
    })?;
    Ok(config)
}

/// Where the parser stopped, and the error that says so.
fn located(path: &Path, text: &str, error: &ParseError) -> (usize, ConfigError) {
    let offset =
        error.labels().and_then(|mut labels| labels.next()).map_or(text.len(), |label| label.offset());
    let before = text.get(..offset).unwrap_or(text);
    let line = 1 + before.matches('\n').count();
    (offset, ConfigError::Syntax { path: path.to_owned(), line, message: error.to_string() })
}

/// Where a top-level field is set first, for messages.
fn line_of_field(text: &str, field: &str) -> usize {
    let at = text.lines().position(|line| line.trim_start().starts_with(field));
    at.map_or(1, |index| index + 1)
}

type Wrong = (&'static str, String);

/// What parses and still can't be served.
fn check(config: &ModelConfig, model: &str) -> Result<(), Wrong> {
    if !config.name.is_empty() && config.name != model {
        return Err(("name", format!("is {:?}, but the model's folder is {model:?}", config.name)));
    }
    let named = Platform::ALL.map(|platform| (platform.name(), platform.backend()));
    let [(onnx, onnxruntime), (plan, tensorrt)] = named;
    if !["", onnx, plan].contains(&config.platform.as_str()) {
        return Err(("platform", format!("{:?} is not served; {onnx} and {plan} are", config.platform)));
    }
    if !["", onnxruntime, tensorrt].contains(&config.backend.as_str()) {
        return Err((
            "backend",
            format!("{:?} is not served; {onnxruntime} and {tensorrt} are", config.backend),
        ));
    }
    let is_plan = |named: &str, plan: &str| (!named.is_empty()).then_some(named == plan);
    let platforms = (is_plan(&config.platform, plan), is_plan(&config.backend, tensorrt));
    if let (Some(by_platform), Some(by_backend)) = platforms
        && by_platform != by_backend
    {
        let reason = format!("{:?} is not the backend of platform {:?}", config.backend, config.platform);
        return Err(("backend", reason));
    }
    if config.max_batch_size < 0 {
        return Err(("max_batch_size", format!("is {}, must be 0 or more", config.max_batch_size)));
    }
    match config.scheduling_choice {
        Some(SchedulingChoice::SequenceBatching(_)) => {
            return Err(("sequence_batching", "stateful models are not served".to_owned()));
        }
        Some(SchedulingChoice::EnsembleScheduling(_)) => {
            return Err(("ensemble_scheduling", "ensembles are not served".to_owned()));
        }
        Some(SchedulingChoice::DynamicBatching(_)) | None => {}
    }
    if config.model_transaction_policy.is_some_and(|policy| policy.decoupled) {
        return Err(("model_transaction_policy", "decoupled models are not served".to_owned()));
    }
    for group in &config.instance_group {
        if !(0..=1024).contains(&group.count) {
            return Err(("instance_group", format!("count is {}, must be from 0 to 1024", group.count)));
        }
        if let Some(gpu) = group.gpus.iter().find(|gpu| **gpu < 0) {
            return Err(("instance_group", format!("gpus has {gpu}, must be 0 or more")));
        }
    }
    let file = &config.default_model_filename;
    if file.contains('/') || file == ".." {
        return Err(("default_model_filename", format!("{file:?} must be a file of the version's folder")));
    }
    let is_outside = |file: &str| file.starts_with('/') || file.split('/').any(|part| part == "..");
    if let Some(output) = config.output.iter().find(|output| is_outside(&output.label_filename)) {
        let file = &output.label_filename;
        return Err(("label_filename", format!("{file:?} must be a file of the model's folder")));
    }
    if config.input.iter().any(|input| input.reshape.is_some())
        || config.output.iter().any(|output| output.reshape.is_some())
    {
        return Err(("reshape", "is not served; declare the model's own shape".to_owned()));
    }
    Ok(())
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
            let kind = match (group.kind(), platform) {
                (Kind::Auto, Platform::TensorRt) => Kind::Gpu,
                (kind, _) => kind,
            };
            let devices = match (kind, group.gpus.as_slice()) {
                (Kind::Gpu, []) => every(gpus),
                (Kind::Gpu, gpus) => gpus.iter().copied().map(Device::Gpu).collect(),
                _ => vec![Device::Cpu],
            };
            let count = usize::try_from(group.count.max(1)).unwrap_or(1);
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
