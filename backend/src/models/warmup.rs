//! The first runs of a session, before any client's: those that `model_warmup` asks for, or one on zeros. A loaded session
//! enters and leaves warm; one that fails what was asked for is not served.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use forebay_protocol::datatype::DataType;
use half::{bf16, f16};

use crate::config::{self, ModelConfig};
use crate::engine::signature::{Signature, TensorSpec};
use crate::engine::{EngineError, InputTensor, Parts, Session};
use crate::proto::ModelWarmup;
use crate::proto::model_warmup::Input;
use crate::proto::model_warmup::input::InputDataType;

/// Folder of a model's input data files, as Triton has it.
const FOLDER: &str = "warmup";
/// A warm-up larger than this is taken for a mistake; it is the default limit of a request's body.
const MOST_BYTES: usize = 64 << 20;
/// Names the use of BLAKE3 that `random_data` comes from: the same on each start.
const CONTEXT: &str = "forebay warmup v1";

/// A `model_warmup` that can't be run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WarmupError {
    #[error("model_warmup {name:?}: input {input:?}: can't read {path}: {source}")]
    Unreadable { name: String, input: String, path: PathBuf, source: std::io::Error },
    #[error("model_warmup {name:?}: input {input:?}: {reason}")]
    Input { name: String, input: String, reason: String },
    #[error("model_warmup {name:?}: {source}")]
    Failed { name: String, source: EngineError },
}

/// An input of a run.
struct Tensor {
    name: String,
    datatype: DataType,
    shape: Vec<i64>,
    data: Vec<u8>,
}

impl WarmupError {
    /// The field that is wrong.
    pub(crate) fn field(&self, config: &ModelConfig) -> String {
        let (name, input) = match self {
            Self::Unreadable { name, input, .. } | Self::Input { name, input, .. } => {
                (name, format!(".inputs[{input}]"))
            }
            Self::Failed { name, .. } => (name, String::new()),
        };
        let index = config.model_warmup.iter().position(|warmup| warmup.name == *name);
        format!("model_warmup[{}]{input}", index.unwrap_or_default())
    }

    /// Whether it may pass though nothing changes.
    pub(crate) fn is_transient(&self) -> bool {
        matches!(self, Self::Failed { source, .. } if source.is_transient())
    }
}

/// Whether the runs that `model_warmup` asks for can be made, as far as that is known without a session.
///
/// # Errors
/// A run can't be made.
pub(crate) fn check(folder: &Path, config: &ModelConfig) -> Result<(), WarmupError> {
    config.model_warmup.iter().try_for_each(|warmup| tensors(folder, config, warmup).map(drop))
}

/// Warms a session; `folder` is the model's.
///
/// # Errors
/// When a run of `model_warmup` can't be made or fails.
pub(crate) fn run(folder: &Path, config: &ModelConfig, session: &mut dyn Session) -> Result<(), WarmupError> {
    if config.model_warmup.is_empty() {
        // A model that can't compute zeros is not wrong, nor is one that takes more of them than a request may have.
        match zeros(session.signature()).map(|zeros| compute(session, &zeros)) {
            None => tracing::debug!("not warmed by zeros: more than {MOST_BYTES} bytes"),
            Some(Err(error)) => tracing::debug!("not warmed by zeros: {error}"),
            Some(Ok(())) => {}
        }
        return Ok(());
    }
    for warmup in &config.model_warmup {
        let tensors = tensors(folder, config, warmup)?;
        for _ in 0..warmup.count.max(1) {
            compute(session, &tensors)
                .map_err(|source| WarmupError::Failed { name: warmup.name.clone(), source })?;
        }
    }
    Ok(())
}

fn compute(session: &mut dyn Session, tensors: &[Tensor]) -> Result<(), EngineError> {
    let inputs: Vec<InputTensor<'_>> = tensors.iter().map(Tensor::view).collect();
    let outputs: Vec<usize> = (0..session.signature().outputs.len()).collect();
    session.run(&inputs, &outputs).map(drop)
}

impl Tensor {
    fn view(&self) -> InputTensor<'_> {
        let data = Parts::One(&self.data);
        InputTensor { name: &self.name, datatype: self.datatype, shape: &self.shape, data }
    }
}

/// Each free dimension 1, without what has a default; `None` if an input is too large.
fn zeros(signature: &Signature) -> Option<Vec<Tensor>> {
    let zero = |spec: &TensorSpec| {
        let shape: Vec<i64> = spec.shape.iter().map(|size| if *size < 0 { 1 } else { *size }).collect();
        let bytes = elements(&shape)?.checked_mul(element_bytes(spec.datatype))?;
        let data = (bytes <= MOST_BYTES).then(|| vec![0; bytes])?;
        Some(Tensor { name: spec.name.clone(), datatype: spec.datatype, shape, data })
    };
    signature.inputs.iter().filter(|spec| !spec.is_optional).map(zero).collect()
}

fn tensors(folder: &Path, config: &ModelConfig, warmup: &ModelWarmup) -> Result<Vec<Tensor>, WarmupError> {
    let inputs: &BTreeMap<String, Input> = &warmup.inputs;
    inputs.iter().map(|(name, input)| tensor(folder, config, warmup, (name, input))).collect()
}

fn tensor(
    folder: &Path,
    config: &ModelConfig,
    warmup: &ModelWarmup,
    (name, input): (&String, &Input),
) -> Result<Tensor, WarmupError> {
    let wrong =
        |reason: String| WarmupError::Input { name: warmup.name.clone(), input: name.clone(), reason };
    let datatype = config::datatype(input.data_type).ok_or_else(|| wrong("has no data_type".to_owned()))?;
    let batch = (config.max_batch_size > 0).then_some(i64::from(warmup.batch_size.max(1)));
    let shape: Vec<i64> = batch.into_iter().chain(input.dims.iter().copied()).collect();
    let count = elements(&shape).filter(|count| count.saturating_mul(element_bytes(datatype)) <= MOST_BYTES);
    let count =
        count.ok_or_else(|| wrong(format!("dims {shape:?} must be whole, of {MOST_BYTES} bytes at most")))?;
    let data = match &input.input_data_type {
        None => return Err(wrong("needs zero_data, random_data or input_data_file".to_owned())),
        Some(InputDataType::ZeroData(_)) => vec![0; count * element_bytes(datatype)],
        Some(InputDataType::RandomData(_)) => random(name, datatype, count),
        Some(InputDataType::InputDataFile(file)) => {
            if file.is_empty() || file.contains('/') || file.starts_with('.') {
                return Err(wrong(format!(
                    "input_data_file {file:?} must be a file of the folder {FOLDER}/"
                )));
            }
            let path = folder.join(FOLDER).join(file);
            read(&path).map_err(|source| WarmupError::Unreadable {
                name: warmup.name.clone(),
                input: name.clone(),
                path,
                source,
            })?
        }
    };
    if let Some(size) = datatype.size()
        && data.len() != count * size
    {
        return Err(wrong(format!("has {} bytes of data, dims {shape:?} need {}", data.len(), count * size)));
    }
    Ok(Tensor { name: name.clone(), datatype, shape, data })
}

/// A file that isn't too large to be an input.
fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    if std::fs::metadata(path)?.len() > MOST_BYTES as u64 {
        return Err(std::io::Error::other(format!("it is larger than {MOST_BYTES} bytes")));
    }
    std::fs::read(path)
}

fn elements(shape: &[i64]) -> Option<usize> {
    shape.iter().try_fold(1_usize, |all, &size| all.checked_mul(usize::try_from(size).ok()?))
}

/// An empty string is its length alone.
fn element_bytes(datatype: DataType) -> usize {
    datatype.size().unwrap_or(size_of::<u32>())
}

/// Numbers from 0 to 1 for floats, any for integers; strings are empty.
fn random(input: &str, datatype: DataType, count: usize) -> Vec<u8> {
    fn floats<const N: usize>(bytes: &mut [u8], of: impl Fn(f32) -> [u8; N]) {
        for element in bytes.as_chunks_mut::<N>().0 {
            *element = of(f32::from(element[0]) / f32::from(u8::MAX));
        }
    }
    let mut bytes = vec![0; count * element_bytes(datatype)];
    if datatype == DataType::Bytes {
        return bytes;
    }
    blake3::Hasher::new_derive_key(CONTEXT).update(input.as_bytes()).finalize_xof().fill(&mut bytes);
    match datatype {
        DataType::Bool => bytes.iter_mut().for_each(|byte| *byte &= 1),
        DataType::Fp16 => floats(&mut bytes, |value| f16::from_f32(value).to_le_bytes()),
        DataType::Bf16 => floats(&mut bytes, |value| bf16::from_f32(value).to_le_bytes()),
        DataType::Fp32 => floats(&mut bytes, f32::to_le_bytes),
        DataType::Fp64 => floats(&mut bytes, |value| f64::from(value).to_le_bytes()),
        _ => {}
    }
    bytes
}

#[cfg(test)]
mod tests;
