//! What a model takes and gives, read from the model itself. A decoded request -> which outputs to compute, or what
//! is wrong with it, in Triton's words. Next: `schedule` queues the request.

use forebay_protocol::datatype::DataType;
use forebay_protocol::messages::{Choice, InferRequestedOutputTensor, ModelInferRequest};

use crate::config::{self, ModelConfig};

/// One input or output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TensorSpec {
    pub(crate) name: String,
    pub(crate) datatype: DataType,
    /// -1 is any size; empty is a scalar.
    pub(crate) shape: Vec<i64>,
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
    MissingInputs { expected: usize, got: usize, model: String, missing: String },
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

/// A `config.pbtxt` that declares something else than the model has.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum DeclarationError {
    #[error("{kind} {name:?} is declared, but the model has none of that name; it has {has}")]
    NoSuchTensor { kind: &'static str, name: String, has: String },
    #[error("{kind} {name:?} is declared as {declared}, but the model has {has}")]
    Datatype { kind: &'static str, name: String, declared: String, has: &'static str },
    #[error("{kind} {name:?} is declared with shape {declared}, but the model has {has}")]
    Shape { kind: &'static str, name: String, declared: String, has: String },
    #[error(
        "max_batch_size is {max_batch_size}, but the first dimension of {kind} {name:?} is not free: {has}"
    )]
    NoBatchDimension { max_batch_size: i32, kind: &'static str, name: String, has: String },
}

impl DeclarationError {
    /// The field that is wrong.
    pub(crate) fn field(&self, config: &ModelConfig) -> String {
        let (kind, name) = match self {
            Self::NoSuchTensor { kind, name, .. }
            | Self::Datatype { kind, name, .. }
            | Self::Shape { kind, name, .. } => (*kind, name),
            Self::NoBatchDimension { .. } => return "max_batch_size".to_owned(),
        };
        let index = match kind {
            "input" => config.input.iter().position(|input| input.name == *name),
            _ => config.output.iter().position(|output| output.name == *name),
        };
        format!("{kind}[{}]", index.unwrap_or_default())
    }
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
        if request.inputs.len() != self.inputs.len() {
            let given = |spec: &&TensorSpec| !request.inputs.iter().any(|input| input.name == spec.name);
            let missing = self.inputs.iter().filter(given).map(|spec| format!("'{}'", spec.name));
            return Err(Mismatch::MissingInputs {
                expected: self.inputs.len(),
                got: request.inputs.len(),
                model: model(),
                missing: missing.collect::<Vec<_>>().join(", "),
            });
        }
        self.choose_outputs(request)
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

    /// Compares what `config.pbtxt` declares with what the model promises before it is built: not the shapes of outputs.
    ///
    /// # Errors
    /// As [`Self::check_declaration`].
    pub(crate) fn check_promise(&self, config: &ModelConfig) -> Result<(), DeclarationError> {
        let promised = Self { inputs: self.inputs.clone(), outputs: Vec::new() };
        promised.check_declaration(&ModelConfig { output: Vec::new(), ..config.clone() })?;
        for output in &config.output {
            let declared = Declared { kind: "output", name: &output.name, datatype: output.data_type };
            declared.find(&self.outputs)?;
        }
        Ok(())
    }

    /// Compares what `config.pbtxt` declares with what the model has.
    ///
    /// # Errors
    /// Names the tensor, what is declared and what the model has.
    pub(crate) fn check_declaration(&self, config: &ModelConfig) -> Result<(), DeclarationError> {
        let batch = config.max_batch_size;
        for input in &config.input {
            let declared = Declared { kind: "input", name: &input.name, datatype: input.data_type };
            declared.check(&self.inputs, &input.dims, batch)?;
        }
        for output in &config.output {
            let declared = Declared { kind: "output", name: &output.name, datatype: output.data_type };
            declared.check(&self.outputs, &output.dims, batch)?;
        }
        if batch > 0 {
            let all = self
                .inputs
                .iter()
                .map(|spec| ("input", spec))
                .chain(self.outputs.iter().map(|s| ("output", s)));
            for (kind, spec) in all {
                if spec.shape.first() != Some(&-1) {
                    let (name, has) = (spec.name.clone(), shown(&spec.shape));
                    return Err(DeclarationError::NoBatchDimension {
                        max_batch_size: batch,
                        kind,
                        name,
                        has,
                    });
                }
            }
        }
        Ok(())
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

struct Declared<'a> {
    kind: &'static str,
    name: &'a str,
    datatype: i32,
}

impl Declared<'_> {
    /// The tensor of that name, which must have that datatype.
    fn find<'s>(&self, specs: &'s [TensorSpec]) -> Result<&'s TensorSpec, DeclarationError> {
        let (kind, name) = (self.kind, self.name.to_owned());
        let Some(spec) = specs.iter().find(|spec| spec.name == self.name) else {
            let has = specs.iter().map(|spec| format!("{:?}", spec.name)).collect::<Vec<_>>().join(", ");
            return Err(DeclarationError::NoSuchTensor { kind, name, has });
        };
        let declared = config::datatype(self.datatype);
        if declared != Some(spec.datatype) {
            let declared = declared.map_or("no datatype", DataType::as_str).to_owned();
            return Err(DeclarationError::Datatype { kind, name, declared, has: spec.datatype.as_str() });
        }
        Ok(spec)
    }

    fn check(&self, specs: &[TensorSpec], dims: &[i64], max_batch_size: i32) -> Result<(), DeclarationError> {
        let spec = self.find(specs)?;
        let (kind, name) = (self.kind, self.name.to_owned());
        let mut declared = dims.to_vec();
        if max_batch_size > 0 {
            declared.insert(0, -1);
        }
        // Either side may leave a dimension free. Triton spells a scalar as dims [1].
        let same_rank = declared.len() == spec.shape.len();
        let scalar = spec.shape.is_empty() && declared == [1];
        let agree = |(a, b): (&i64, &i64)| a == b || *a == -1 || *b == -1;
        let fits = same_rank && declared.iter().zip(&spec.shape).all(agree);
        if !scalar && !fits {
            let (declared, has) = (shown(&declared), shown(&spec.shape));
            return Err(DeclarationError::Shape { kind, name, declared, has });
        }
        Ok(())
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
