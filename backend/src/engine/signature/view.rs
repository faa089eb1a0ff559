//! What clients see of a model: its signature and what `config.pbtxt` declares enter; the client's signature leaves, and how each
//! tensor becomes the model's. Next: `fitted` runs sessions by it, `complete` shows it.
//!
//! The rules are Triton's: `ValidateIOShape` of core's `src/model_config_utils.cc`; `AutoCompleteIO`, `ValidateInputs` and
//! `ValidateOutputs` of its ONNX backend's `src/onnxruntime.cc`, `CompareDimsSupported` of `src/onnxruntime_utils.cc` there. An
//! output may also be declared narrower than the model has it, and is held to that.

use std::borrow::Cow;

use forebay_protocol::datatype::DataType;

use super::{Signature, TensorSpec, fits, shown};
use crate::config::{self, ModelConfig};
use crate::proto::ModelTensorReshape;

/// A model as its clients see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct View {
    /// Inputs and outputs that there are for clients.
    pub(crate) signature: Signature,
    /// How those inputs become the model's.
    pub(crate) inputs: Vec<Option<Reshape>>,
    /// Which outputs of the model those are, and how they become the client's.
    pub(crate) outputs: Vec<(usize, Option<Reshape>)>,
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
    #[error("input {name:?} of the model is not declared: declare all inputs that it needs, or none")]
    Undeclared { name: String },
    #[error(
        "input {name:?} has a default in the model, which a request may leave: declare it with optional: true"
    )]
    NotOptional { name: String },
    #[error("input {name:?} is declared optional, but the model has no default for it")]
    NoDefault { name: String },
}

impl DeclarationError {
    /// The field that is wrong, by its path in the configuration.
    pub(crate) fn field(&self, config: &ModelConfig) -> String {
        let place = |kind: &str, name: &str| match kind {
            "input" => config.input.iter().position(|input| input.name == name),
            _ => config.output.iter().position(|output| output.name == name),
        };
        let of = |kind: &str, name: &str, field: &str| match place(kind, name) {
            Some(place) => format!("{kind}[{place}].{field}"),
            None => kind.to_owned(),
        };
        match self {
            Self::NoSuchTensor { kind, name, .. } => of(kind, name, "name"),
            Self::Datatype { kind, name, .. } => of(kind, name, "data_type"),
            Self::Shape { kind, name, .. } => of(kind, name, "dims"),
            Self::NoBatchDimension { .. } => "max_batch_size".to_owned(),
            Self::Undeclared { name } => of("input", name, "name"),
            Self::NotOptional { name } | Self::NoDefault { name } => of("input", name, "optional"),
        }
    }
}

impl View {
    /// The view that the configuration gives of the model. Inputs or outputs of which it declares none are the model's own; where it
    /// declares some, the others are not there.
    ///
    /// # Errors
    /// Names the tensor, what is declared and what the model has.
    pub(crate) fn of(model: &Signature, config: &ModelConfig) -> Result<Self, DeclarationError> {
        let batch = config.max_batch_size;
        let inputs: Vec<Seen> = if config.input.is_empty() {
            // As Triton completes it: what has a default is an input where the configuration says so.
            let needed = model.inputs.iter().filter(|spec| !spec.is_optional);
            needed
                .map(|spec| Declared::own("input", spec, batch).seen(&model.inputs))
                .collect::<Result<_, _>>()?
        } else {
            config
                .input
                .iter()
                .map(|input| Declared::input(input, batch).seen(&model.inputs))
                .collect::<Result<_, _>>()?
        };
        let is_seen = |spec: &TensorSpec| inputs.iter().any(|seen| seen.spec.name == spec.name);
        if let Some(spec) = model.inputs.iter().find(|spec| !spec.is_optional && !is_seen(spec)) {
            return Err(DeclarationError::Undeclared { name: spec.name.clone() });
        }
        let outputs: Vec<Seen> = if config.output.is_empty() {
            model
                .outputs
                .iter()
                .map(|spec| Declared::own("output", spec, batch).seen(&model.outputs))
                .collect::<Result<_, _>>()?
        } else {
            config
                .output
                .iter()
                .map(|output| Declared::output(output, batch).seen(&model.outputs))
                .collect::<Result<_, _>>()?
        };
        Ok(Self {
            inputs: inputs.iter().map(|seen| seen.reshape.clone()).collect(),
            outputs: outputs.iter().map(|seen| (seen.place, seen.reshape.clone())).collect(),
            signature: Signature {
                inputs: inputs.into_iter().map(|seen| seen.spec).collect(),
                outputs: outputs.into_iter().map(|seen| seen.spec).collect(),
            },
        })
    }

    /// Whether it shows a model of that signature as it is.
    pub(crate) fn is_all_of(&self, model: &Signature) -> bool {
        self.signature == *model
            && self.inputs.iter().all(Option::is_none)
            && self.outputs.iter().all(|(_, reshape)| reshape.is_none())
    }

    /// Compares what the configuration declares with what the model promises before it is built: not the shapes of outputs.
    ///
    /// # Errors
    /// As [`Self::of`].
    pub(crate) fn check_promise(promised: &Signature, config: &ModelConfig) -> Result<(), DeclarationError> {
        let inputs = Signature { inputs: promised.inputs.clone(), outputs: Vec::new() };
        Self::of(&inputs, &ModelConfig { output: Vec::new(), ..config.clone() })?;
        let mut declared = config.output.iter().map(|output| Declared::output(output, config.max_batch_size));
        declared.try_for_each(|declared| declared.find(&promised.outputs).map(drop))
    }
}

/// A tensor as clients see it.
struct Seen {
    /// Among the model's.
    place: usize,
    spec: TensorSpec,
    reshape: Option<Reshape>,
}

/// What is declared of a tensor.
struct Declared<'a> {
    kind: &'static str,
    name: &'a str,
    datatype: Option<DataType>,
    /// Without the batch, as clients have it and as the model does.
    dims: Cow<'a, [i64]>,
    reshaped: Option<Cow<'a, [i64]>>,
    is_optional: bool,
    max_batch_size: i32,
}

impl<'a> Declared<'a> {
    fn input(input: &'a crate::proto::ModelInput, max_batch_size: i32) -> Self {
        Self {
            kind: "input",
            name: &input.name,
            datatype: config::datatype(input.data_type),
            dims: Cow::Borrowed(&input.dims),
            reshaped: input.reshape.as_ref().map(shape),
            is_optional: input.optional,
            max_batch_size,
        }
    }

    fn output(output: &'a crate::proto::ModelOutput, max_batch_size: i32) -> Self {
        Self {
            kind: "output",
            name: &output.name,
            datatype: config::datatype(output.data_type),
            dims: Cow::Borrowed(&output.dims),
            reshaped: output.reshape.as_ref().map(shape),
            is_optional: false,
            max_batch_size,
        }
    }

    /// What Triton completes for a tensor of which nothing is declared: a scalar, of a batch or alone, has dims [1].
    fn own(kind: &'static str, spec: &'a TensorSpec, max_batch_size: i32) -> Self {
        let dims = spec.shape.get(usize::from(max_batch_size > 0)..).unwrap_or_default();
        let is_scalar = dims.is_empty();
        Self {
            kind,
            name: &spec.name,
            datatype: Some(spec.datatype),
            dims: if is_scalar { Cow::Borrowed(&[1]) } else { Cow::Borrowed(dims) },
            reshaped: is_scalar.then_some(Cow::Borrowed(&[])),
            is_optional: false,
            max_batch_size,
        }
    }

    /// The place of the tensor of that name, which must have that datatype.
    fn find(&self, specs: &[TensorSpec]) -> Result<usize, DeclarationError> {
        let (kind, name) = (self.kind, self.name.to_owned());
        let Some(place) = specs.iter().position(|spec| spec.name == self.name) else {
            let has = specs.iter().map(|spec| format!("{:?}", spec.name)).collect::<Vec<_>>().join(", ");
            return Err(DeclarationError::NoSuchTensor { kind, name, has });
        };
        if self.datatype != Some(specs[place].datatype) {
            let declared = self.datatype.map_or("no datatype", DataType::as_str).to_owned();
            let has = specs[place].datatype.as_str();
            return Err(DeclarationError::Datatype { kind, name, declared, has });
        }
        Ok(place)
    }

    fn seen(&self, specs: &[TensorSpec]) -> Result<Seen, DeclarationError> {
        let place = self.find(specs)?;
        let spec = &specs[place];
        let (kind, name) = (self.kind, || self.name.to_owned());
        match (self.is_optional, spec.is_optional) {
            (true, false) => return Err(DeclarationError::NoDefault { name: name() }),
            (false, true) => return Err(DeclarationError::NotOptional { name: name() }),
            _ => {}
        }
        if self.max_batch_size > 0 && spec.shape.first() != Some(&-1) {
            let (max_batch_size, has) = (self.max_batch_size, shown(&spec.shape));
            return Err(DeclarationError::NoBatchDimension { max_batch_size, kind, name: name(), has });
        }
        let batch = (self.max_batch_size > 0).then_some(-1);
        let whole = |dims: &[i64]| batch.into_iter().chain(dims.iter().copied()).collect::<Vec<i64>>();
        let dims = whole(&self.dims);
        let reshaped = self.reshaped.as_deref().map_or_else(|| dims.clone(), whole);
        // A scalar is declared by ones alone, whatever they become.
        let is_scalar = spec.shape.is_empty() && reshaped.iter().all(|size| *size == 1);
        let agrees = |(declared, has): (&i64, &i64)| declared == has || *has == -1;
        let agree = reshaped.len() == spec.shape.len() && reshaped.iter().zip(&spec.shape).all(agrees);
        if !is_scalar && !agree {
            let (declared, has) = (shown(&reshaped), shown(&spec.shape));
            return Err(DeclarationError::Shape { kind, name: name(), declared, has });
        }
        let model = if is_scalar { Vec::new() } else { reshaped };
        // What a model gives is not held to what it says of itself, only to what is declared beyond that.
        let is_same = dims == model && (kind == "input" || model == spec.shape);
        let (from, to) = if kind == "input" { (dims.clone(), model) } else { (model, dims.clone()) };
        let seen = TensorSpec { shape: dims, ..spec.clone() };
        Ok(Seen { place, spec: seen, reshape: (!is_same).then_some(Reshape { from, to }) })
    }
}

fn shape(reshape: &ModelTensorReshape) -> Cow<'_, [i64]> {
    Cow::Borrowed(&reshape.shape)
}

/// From a shape to another of as many elements, whose free dimensions are, in their order, those of the first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reshape {
    from: Vec<i64>,
    to: Vec<i64>,
}

impl Reshape {
    /// The other shape; `None` if this isn't one of the first kind.
    pub(crate) fn of(&self, shape: &[i64]) -> Option<Vec<i64>> {
        if !fits(&self.from, shape) {
            return None;
        }
        let mut free = self.from.iter().zip(shape).filter(|(from, _)| **from < 0).map(|(_, size)| *size);
        self.to.iter().map(|size| if *size < 0 { free.next() } else { Some(*size) }).collect()
    }

    /// What it makes a shape of.
    pub(crate) fn from(&self) -> &[i64] {
        &self.from
    }
}

#[cfg(test)]
mod tests;
