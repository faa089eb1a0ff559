//! What is asked: a model's metadata and flags, or a file -> one request in canonical form, and for each input the values that it
//! may have in other requests.

mod elements;
mod free;

use std::path::PathBuf;

use bytes::Bytes;
use forebay_protocol::datatype::{DataType, UnknownDataType};
use forebay_protocol::limits::Limits;
use forebay_protocol::messages::{InferInputTensor, InferRequestedOutputTensor, ModelInferRequest};
use forebay_protocol::path::InferPath;
use forebay_protocol::request::{self, RequestError};
use forebay_protocol::tensor::{TensorError, check_raw, value_count};
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

pub(super) use elements::{Elements, RangeError};

use super::model::{Model, Tensor};
use crate::settings::{InputSettings, Shape};

/// Inputs that can't be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InputError {
    #[error("{flag}: can't read {path}: {reason}")]
    File { flag: &'static str, path: PathBuf, reason: std::io::Error },
    #[error("--data: {path}: {reason}")]
    Request { path: PathBuf, reason: RequestError },
    #[error("{flag}: the model has no input '{name}'; its inputs are: {inputs}")]
    Unknown { flag: &'static str, name: String, inputs: String },
    #[error("the model's metadata names no inputs: give a request by --data")]
    NoInputs,
    #[error("input '{name}': {reason}")]
    DataType { name: String, reason: UnknownDataType },
    #[error("input '{name}' of shape {shape:?}: {reason}")]
    Tensor { name: String, shape: Vec<i64>, reason: TensorError },
    #[error(transparent)]
    Range(#[from] RangeError),
}

/// A request, and which values its inputs may have.
pub(super) struct Asked {
    pub(super) request: ModelInferRequest,
    pub(super) elements: Vec<Elements>,
}

/// The bounds of what is sent and read: so large only that nothing overflows.
pub(super) const LIMITS: Limits = Limits::of_body(1 << 30);

/// Reads the request of a file.
///
/// # Errors
/// [`InputError`].
pub(super) fn given(model: &str, settings: &InputSettings, path: &PathBuf) -> Result<Asked, InputError> {
    let body = read("--data", path)?;
    let asked = InferPath { model, version: &settings.version };
    let mut request = request::decode(&asked, None, &body, &LIMITS)
        .map_err(|reason| InputError::Request { path: path.clone(), reason })?;
    if !settings.output.is_empty() {
        request.outputs = wanted(&settings.output);
    }
    let elements = request.inputs.iter().map(|input| {
        let datatype = input.datatype.parse().map_err(unknown(&input.name))?;
        Ok(Elements::of(datatype, None, usize::from(settings.string_length))?)
    });
    Ok(Asked { elements: elements.collect::<Result<_, InputError>>()?, request })
}

/// Makes values up, but for inputs that have files.
///
/// # Errors
/// [`InputError`].
pub(super) fn made_up(model: &Model, settings: &InputSettings, seed: u64) -> Result<Asked, InputError> {
    if model.inputs.is_empty() {
        return Err(InputError::NoInputs);
    }
    let names = settings.shape.iter().map(|shape| ("--shape", &shape.name));
    let names = names.chain(settings.range.iter().map(|range| ("--range", &range.name)));
    for (flag, name) in names.chain(settings.input.iter().map(|input| ("--input", &input.name))) {
        if !model.inputs.iter().any(|input| input.name == *name) {
            let inputs: Vec<&str> = model.inputs.iter().map(|input| input.name.as_str()).collect();
            return Err(InputError::Unknown { flag, name: name.clone(), inputs: inputs.join(", ") });
        }
    }
    let mut random = SmallRng::seed_from_u64(seed);
    let mut request = ModelInferRequest {
        model_name: model.name.clone(),
        model_version: settings.version.clone(),
        outputs: wanted(&settings.output),
        ..ModelInferRequest::default()
    };
    let mut all = Vec::with_capacity(model.inputs.len());
    for input in &model.inputs {
        let datatype: DataType = input.datatype.parse().map_err(unknown(&input.name))?;
        let range = settings.range.iter().find(|range| range.name == input.name);
        let elements = Elements::of(datatype, range, usize::from(settings.string_length))?;
        let (shape, data) = values(input, &elements, settings, &mut random)?;
        let description = InferInputTensor {
            name: input.name.clone(),
            datatype: datatype.as_str().to_owned(),
            shape,
            ..InferInputTensor::default()
        };
        request.inputs.push(description);
        request.raw_input_contents.push(data);
        all.push(elements);
    }
    Ok(Asked { request, elements: all })
}

/// Shape and raw values of an input.
fn values(
    input: &Tensor,
    elements: &Elements,
    settings: &InputSettings,
    random: &mut SmallRng,
) -> Result<(Vec<i64>, Bytes), InputError> {
    let said: Option<&Shape> = settings.shape.iter().find(|shape| shape.name == input.name);
    let file = settings.input.iter().find(|file| file.name == input.name);
    let file = file.map(|file| read("--input", &file.file)).transpose()?;
    let shape = match said {
        Some(shape) => shape.dimensions.clone(),
        None => {
            free::filled(&input.shape, file.as_ref().and_then(|data| free::count(elements.datatype, data)))
        }
    };
    let wrong = |reason| InputError::Tensor { name: input.name.clone(), shape: shape.clone(), reason };
    if let Some(data) = file {
        check_raw(elements.datatype, &shape, &data, &LIMITS).map_err(wrong)?;
        return Ok((shape, data));
    }
    let count = value_count(elements.datatype, &shape, &LIMITS).map_err(wrong)?;
    let data = random_values(elements, count, random);
    Ok((shape, data))
}

/// Raw values, each any of those that there are.
fn random_values(elements: &Elements, count: usize, random: &mut SmallRng) -> Bytes {
    let size = elements.size();
    let prefix = if elements.datatype == DataType::Bytes { 4 } else { 0 };
    let length = u32::try_from(size).unwrap_or(u32::MAX).to_le_bytes();
    let mut data = vec![0; count * (prefix + size)];
    for element in data.chunks_exact_mut((prefix + size).max(1)) {
        let (before, value) = element.split_at_mut(prefix);
        before.copy_from_slice(&length[..prefix]);
        elements.raw(random.random_range(0..elements.count()), value);
    }
    data.into()
}

fn wanted(outputs: &[String]) -> Vec<InferRequestedOutputTensor> {
    let named = |name: &String| InferRequestedOutputTensor { name: name.clone(), ..Default::default() };
    outputs.iter().map(named).collect()
}

fn read(flag: &'static str, path: &PathBuf) -> Result<Bytes, InputError> {
    std::fs::read(path).map(Bytes::from).map_err(|reason| InputError::File {
        flag,
        path: path.clone(),
        reason,
    })
}

fn unknown(name: &str) -> impl Fn(UnknownDataType) -> InputError {
    let name = name.to_owned();
    move |reason| InputError::DataType { name: name.clone(), reason }
}

#[cfg(test)]
mod tests;
