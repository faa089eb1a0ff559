//! What a model takes and gives: as it says itself, or as clients see it (`view`). A decoded request -> which outputs to compute, or what
//! is wrong with it, in Triton's words. Next: `schedule` queues the request.

pub(crate) mod view;

use forebay_protocol::datatype::DataType;
use forebay_protocol::messages::{Choice, InferRequestedOutputTensor, ModelInferRequest};

/// One input or output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TensorSpec {
    pub(crate) name: String,
    pub(crate) datatype: DataType,
    /// -1 is any size; empty is a scalar.
    pub(crate) shape: Vec<i64>,
    /// Of an input: the model has a default for it, so a request may leave it out.
    pub(crate) is_optional: bool,
}

/// All inputs and outputs, in the model's order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Signature {
    pub(crate) inputs: Vec<TensorSpec>,
    pub(crate) outputs: Vec<TensorSpec>,
}

/// A request that doesn't fit its model. The client's fault.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum Mismatch {
    #[error("unexpected inference input '{input}' for model '{model}'")]
    UnknownInput { input: String, model: String },
    #[error("input '{input}' already exists in request for model '{model}'")]
    RepeatedInput { input: String, model: String },
    #[error(
        "expected {expected} inputs but got {got} inputs for model '{model}'. Missing required input(s) [{missing}]"
    )]
    MissingInputs { expected: String, got: usize, model: String, missing: String },
    #[error("inference input '{input}' data-type is '{got}', but model '{model}' expects '{expected}'")]
    Datatype { input: String, got: String, model: String, expected: &'static str },
    #[error("unexpected shape for input '{input}' for model '{model}'. Expected {expected}, got {got}")]
    Shape { input: String, model: String, expected: String, got: String },
    #[error("inference request batch-size must be <= {most} for '{model}', input '{input}' has {got}")]
    BatchSize { most: i32, model: String, input: String, got: i64 },
    #[error("input '{input}' batch size does not match other inputs for '{model}'")]
    BatchSizes { input: String, model: String },
    #[error("unexpected inference output '{output}' for model '{model}'")]
    UnknownOutput { output: String, model: String },
    #[error("output '{output}' is requested twice of model '{model}'")]
    RepeatedOutput { output: String, model: String },
    #[error("parameter 'classification' of output '{output}' must be an integer, 0 or more")]
    Classification { output: String },
    #[error("class result not available for output '{output}' due to unsupported type '{datatype}'")]
    Unclassified { output: String, datatype: &'static str },
}

impl Signature {
    /// Checks a request and picks the outputs to compute, as indices into `self.outputs`, in the requested order.
    ///
    /// # Errors
    /// Names the tensor and what the model expects.
    pub(crate) fn check(
        &self,
        request: &ModelInferRequest,
        max_batch_size: i32,
    ) -> Result<Vec<usize>, Mismatch> {
        let model = || request.model_name.clone();
        for (index, input) in request.inputs.iter().enumerate() {
            if request.inputs[..index].iter().any(|earlier| earlier.name == input.name) {
                return Err(Mismatch::RepeatedInput { input: input.name.clone(), model: model() });
            }
            let Some(spec) = self.inputs.iter().find(|spec| spec.name == input.name) else {
                return Err(Mismatch::UnknownInput { input: input.name.clone(), model: model() });
            };
            if input.datatype != spec.datatype.as_str() {
                return Err(Mismatch::Datatype {
                    input: input.name.clone(),
                    got: input.datatype.clone(),
                    model: model(),
                    expected: spec.datatype.as_str(),
                });
            }
            if !fits(&spec.shape, &input.shape) {
                return Err(Mismatch::Shape {
                    input: input.name.clone(),
                    model: model(),
                    expected: shown(&spec.shape),
                    got: shown(&input.shape),
                });
            }
            let batch = input.shape.first().copied().unwrap_or(1);
            if max_batch_size > 0 && batch > i64::from(max_batch_size) {
                let input = input.name.clone();
                return Err(Mismatch::BatchSize { most: max_batch_size, model: model(), input, got: batch });
            }
            let first = request.inputs[0].shape.first();
            if max_batch_size > 0 && first.is_some_and(|first| *first != batch) && !input.shape.is_empty() {
                return Err(Mismatch::BatchSizes { input: input.name.clone(), model: model() });
            }
        }
        // None is unknown and none is there twice, so as many as there are is all.
        if request.inputs.len() < self.inputs.len() {
            self.check_required(request)?;
        }
        self.choose_outputs(request)
    }

    fn check_required(&self, request: &ModelInferRequest) -> Result<(), Mismatch> {
        let required = || self.inputs.iter().filter(|spec| !spec.is_optional);
        let is_missing = |spec: &&TensorSpec| !request.inputs.iter().any(|input| input.name == spec.name);
        let missing: Vec<String> =
            required().filter(is_missing).map(|spec| format!("'{}'", spec.name)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let (least, most) = (required().count(), self.inputs.len());
        Err(Mismatch::MissingInputs {
            expected: if least == most { most.to_string() } else { format!("between {least} and {most}") },
            got: request.inputs.len(),
            model: request.model_name.clone(),
            missing: missing.join(", "),
        })
    }

    fn choose_outputs(&self, request: &ModelInferRequest) -> Result<Vec<usize>, Mismatch> {
        if request.outputs.is_empty() {
            return Ok((0..self.outputs.len()).collect());
        }
        let mut chosen = Vec::with_capacity(request.outputs.len());
        for output in &request.outputs {
            let name = || output.name.clone();
            let Some(index) = self.outputs.iter().position(|spec| spec.name == output.name) else {
                return Err(Mismatch::UnknownOutput { output: name(), model: request.model_name.clone() });
            };
            let count = classification(output).ok_or_else(|| Mismatch::Classification { output: name() })?;
            let datatype = self.outputs[index].datatype;
            if count > 0 && matches!(datatype, DataType::Bytes | DataType::Bool) {
                return Err(Mismatch::Unclassified { output: name(), datatype: datatype.as_str() });
            }
            if chosen.contains(&index) {
                return Err(Mismatch::RepeatedOutput { output: name(), model: request.model_name.clone() });
            }
            chosen.push(index);
        }
        Ok(chosen)
    }
}

/// How many classes a requested output wants in place of its tensor, 0 for the tensor; `None` if that makes no sense.
pub(crate) fn classification(output: &InferRequestedOutputTensor) -> Option<usize> {
    match output.parameters.get("classification").map(|parameter| &parameter.choice) {
        None => Some(0),
        Some(Some(Choice::Int64(count))) => usize::try_from(*count).ok(),
        Some(Some(Choice::Uint64(count))) => usize::try_from(*count).ok(),
        Some(_) => None,
    }
}

fn fits(expected: &[i64], got: &[i64]) -> bool {
    expected.len() == got.len()
        && expected.iter().zip(got).all(|(expected, got)| *got >= 0 && (*expected < 0 || expected == got))
}

/// `[-1,16]`, as Triton writes shapes.
fn shown(shape: &[i64]) -> String {
    let sizes: Vec<String> = shape.iter().map(i64::to_string).collect();
    format!("[{}]", sizes.join(","))
}

#[cfg(test)]
mod tests;
