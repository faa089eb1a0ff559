//! One instance of a plan: a context, a stream, and memory for each tensor. Inputs -> pinned memory -> the GPU -> a run ->
//! pinned memory -> outputs, all on the instance's stream; the thread waits once, at the end.

use std::time::Instant;

use bytes::Bytes;
use forebay_bindings::cuda::{Device, Event, Stream};
use forebay_bindings::{Context, Engine as Plan, Error, Scratch, Tensor, TensorIOMode, TensorLocation};
use forebay_protocol::datatype::DataType;

use super::staging::Staging;
use crate::engine::{EngineError, InputTensor, OutputTensor, Parts, Run, Session};
use crate::signature::Signature;

pub(super) struct Instance {
    context: Context,
    stream: Stream,
    done: Event,
    device: Device,
    /// By the tensor's number.
    staging: Vec<Staging>,
    /// The numbers of the signature's outputs.
    outputs: Vec<usize>,
    signature: Signature,
}

impl Instance {
    /// # Errors
    /// There is not enough memory of the GPU.
    pub(super) fn new(plan: &Plan, signature: Signature) -> Result<Self, EngineError> {
        let device = plan.device().cloned();
        let device = device.ok_or_else(|| EngineError::Failed("the plan is on no GPU".to_owned()))?;
        let context = plan.context(Scratch::OwnPerProfile).map_err(|error| failed(&error))?;
        let stream = device.stream().map_err(|error| failed(&error.into()))?;
        let done = device.event().map_err(|error| failed(&error.into()))?;
        let tensors = plan.tensors();
        let outputs = (0..tensors.len()).filter(|number| tensors[*number].mode == TensorIOMode::Output);
        let staging = tensors.iter().map(|_| Staging::default()).collect();
        Ok(Self { outputs: outputs.collect(), context, stream, done, device, staging, signature })
    }

    /// Takes the first profile that allows the inputs' shapes, if the one that is taken doesn't.
    fn choose_profile(&mut self, inputs: &[InputTensor<'_>]) -> Result<(), EngineError> {
        let plan = self.context.engine();
        let fits = |profile: usize| {
            inputs.iter().all(|input| {
                let tensor = plan.tensor(input.name).and_then(|number| plan.tensors().get(number));
                tensor.is_some_and(|tensor| allows(tensor, profile, input.shape))
            })
        };
        let taken = self.context.profile();
        if fits(taken) {
            return Ok(());
        }
        let Some(profile) = (0..plan.profiles()).find(|profile| fits(*profile)) else {
            return Err(EngineError::BadInput(no_profile(plan, inputs)));
        };
        self.context.set_profile(profile, &self.stream).map_err(|error| failed(&error))
    }

    /// Puts an input into the GPU's memory, or where the context reads values.
    fn place(&mut self, input: &InputTensor<'_>) -> Result<(), Error> {
        let plan = self.context.engine();
        let Some(number) = plan.tensor(input.name) else {
            return Err(Error::Wrong(format!("the plan has no input '{}'", input.name)));
        };
        let location = plan.tensors()[number].location;
        self.context.set_input_shape(number, input.shape)?;
        if location == TensorLocation::Host {
            return self.context.set_input_values(number, &values(input.datatype, input.data));
        }
        let bytes = input.data.len();
        let sides = self.staging[number].of(&self.device, bytes)?;
        input.data.copy_into(&mut sides.host.write()?[..bytes]);
        self.stream.upload(&sides.host, 0..bytes, &sides.gpu, 0)?;
        self.context.bind(number, &sides.gpu, 0)
    }

    /// Gives each output memory: so much as its shape takes, or, where the run tells the shape, as it turns out.
    fn make_room(&mut self) -> Result<(), Error> {
        self.context.infer_shapes()?;
        for &number in &self.outputs {
            if self.context.shape(number)?.contains(&-1) {
                if self.context.output(number).is_none() {
                    self.context.allocate_output(number)?;
                }
                continue;
            }
            let bytes = self.context.size(number)?;
            let sides = self.staging[number].of(&self.device, bytes)?;
            self.context.bind(number, &sides.gpu, 0)?;
        }
        Ok(())
    }

    /// The outputs that are wanted, once the run is done.
    fn fetch(&mut self, wanted: &[usize]) -> Result<Vec<OutputTensor>, Error> {
        let mut shapes = Vec::with_capacity(wanted.len());
        for &index in wanted {
            let number = self.outputs[index];
            let shape = self.context.shape(number)?;
            if shape.contains(&-1) {
                // How large it is, is known when the run is done.
                self.stream.synchronize()?;
                let (memory, shape) = self.context.output(number).ok_or_else(no_output)?;
                let bytes = size(self.signature.outputs[index].datatype, &shape);
                let sides = self.staging[number].of(&self.device, bytes)?;
                self.stream.download(&memory, 0..bytes, &sides.host, 0)?;
                shapes.push((index, shape.to_vec(), bytes));
            } else {
                let bytes = self.context.size(number)?;
                let sides = self.staging[number].of(&self.device, bytes)?;
                self.stream.download(&sides.gpu, 0..bytes, &sides.host, 0)?;
                shapes.push((index, shape.to_vec(), bytes));
            }
        }
        self.done.record(&self.stream)?;
        self.done.wait()?;
        let fetched = shapes.into_iter().map(|(index, shape, bytes)| {
            let sides = self.staging[self.outputs[index]].of(&self.device, bytes)?;
            let data = Bytes::copy_from_slice(&sides.host.read()?[..bytes]);
            Ok(OutputTensor { index, shape, data })
        });
        fetched.collect()
    }

    fn compute(&mut self, inputs: &[InputTensor<'_>], outputs: &[usize]) -> Result<Run, Error> {
        let began = Instant::now();
        for input in inputs {
            self.place(input)?;
        }
        let gathering = began.elapsed();
        self.make_room()?;
        self.context.enqueue(&self.stream)?;
        Ok(Run { outputs: self.fetch(outputs)?, gathering })
    }
}

impl Session for Instance {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn run(&mut self, inputs: &[InputTensor<'_>], outputs: &[usize]) -> Result<Run, EngineError> {
        for input in inputs {
            check_size(input)?;
        }
        self.choose_profile(inputs)?;
        let computed = self.compute(inputs, outputs);
        computed.map_err(|error| {
            // What was put on the stream still uses this instance's memory.
            let _ = self.stream.synchronize();
            failed(&error)
        })
    }
}

fn allows(tensor: &Tensor, profile: usize, shape: &[i64]) -> bool {
    // An input in host memory has ranges of values, not of dimensions; TensorRT checks them.
    if tensor.location == TensorLocation::Host || !tensor.shape.contains(&-1) {
        return true;
    }
    tensor.profiles.get(profile).is_some_and(|range| {
        range.min.len() == shape.len()
            && shape
                .iter()
                .zip(range.min.iter().zip(&range.max))
                .all(|(size, (min, max))| (min..=max).contains(&size))
    })
}

fn no_profile(plan: &Plan, inputs: &[InputTensor<'_>]) -> String {
    let shapes: Vec<String> =
        inputs.iter().map(|input| format!("'{}' {:?}", input.name, input.shape)).collect();
    let ranges = (0..plan.profiles()).map(|profile| {
        let free = plan.tensors().iter().filter_map(|tensor| {
            let range = tensor.profiles.get(profile)?;
            Some(format!("'{}' {:?} to {:?}", tensor.name, range.min, range.max))
        });
        free.collect::<Vec<_>>().join(", ")
    });
    format!(
        "no profile of the plan allows {} together; it has: {}",
        shapes.join(", "),
        ranges.collect::<Vec<_>>().join("; ")
    )
}

/// The bytes must be the shape's: the plan would read past them.
fn check_size(input: &InputTensor<'_>) -> Result<(), EngineError> {
    if size(input.datatype, input.shape) == input.data.len() {
        return Ok(());
    }
    let (name, bytes, shape) = (input.name, input.data.len(), input.shape);
    Err(EngineError::BadInput(format!("input '{name}' has {bytes} bytes, which shape {shape:?} is not")))
}

/// Bytes of a tensor; plans have no BYTES.
fn size(datatype: DataType, shape: &[i64]) -> usize {
    let sizes = shape.iter().map(|size| usize::try_from(*size).unwrap_or(0));
    sizes.fold(datatype.size().unwrap_or(0), usize::saturating_mul)
}

/// Values that decide shapes, which are INT32 or INT64.
fn values(datatype: DataType, data: Parts<'_>) -> Vec<i64> {
    if datatype == DataType::Int32 {
        let chunks = data.iter().flat_map(|part| part.as_chunks().0);
        return chunks.map(|value| i64::from(i32::from_le_bytes(*value))).collect();
    }
    data.iter().flat_map(|part| part.as_chunks().0).map(|value| i64::from_le_bytes(*value)).collect()
}

fn no_output() -> Error {
    Error::Wrong("an output was not computed".to_owned())
}

fn failed(error: &Error) -> EngineError {
    EngineError::Failed(error.to_string())
}
