//! A lane of an instance: a stream, and memory for each tensor. Inputs -> pinned memory -> the GPU -> a run in the instance's
//! context -> pinned memory -> outputs, all on the lane's stream; the thread waits once, at the end. Meanwhile another lane
//! copies.

use std::sync::{Arc, MutexGuard};
use std::time::Instant;

use bytes::Bytes;
use forebay_bindings::cuda::{Account, Event, Stream};
use forebay_bindings::{Context, Dims, Error};

use super::graphs::{Captured, Graphs, Warning};
use super::instance::{self, Instance};
use super::shapes::{self, Placed};
use super::staging::Staging;
use crate::engine::gpu::Gpu;
use crate::engine::signature::Signature;
use crate::engine::{EngineError, InputTensor, OutputTensor, Run, Session};

pub(super) struct Lane {
    instance: Arc<Instance>,
    stream: Stream,
    done: Event,
    staging: Staging,
    /// What the newest run gives, by the place among the signature's outputs.
    results: Vec<LaneOutputs>,
    /// Of a model that asks for them.
    graphs: Option<Graphs>,
}

/// An output of a run.
#[derive(Clone, Copy)]
pub(super) struct LaneOutputs {
    /// -1 where only the run tells.
    shape: Dims,
    bytes: usize,
}

/// The context, where other lanes may not have it before a run is over.
type Held<'a> = Option<MutexGuard<'a, Context>>;

impl Lane {
    /// # Errors
    /// CUDA refuses.
    pub(super) fn new(instance: &Arc<Instance>, graphs: Option<&Arc<Warning>>) -> Result<Self, Error> {
        let (stream, done) = (instance.device.stream()?, instance.device.event()?);
        let staging = Staging::new(&instance.device, instance.plan.tensors().len());
        let graphs = graphs.map(|warning| Graphs::new(&stream, warning));
        Ok(Self { instance: instance.clone(), stream, done, staging, results: Vec::new(), graphs })
    }

    fn compute<'a>(
        &mut self,
        instance: &'a Instance,
        held: &mut Held<'a>,
        inputs: &[Placed<'_>],
        outputs: &[usize],
    ) -> Result<Run, Error> {
        let began = Instant::now();
        for input in inputs.iter().filter(|input| !input.is_values()) {
            self.upload(input)?;
        }
        let gathering = began.elapsed();
        self.start(held.insert(instance.context()), inputs)?;
        // An output whose size the run tells lies in memory of the context, which the next run takes.
        if self.results.iter().all(LaneOutputs::is_known) {
            *held = None;
        }
        self.download(held.as_deref(), outputs)?;
        self.done.record(&self.stream)?;
        self.done.wait()?;
        Ok(Run { outputs: self.read(outputs)?, gathering })
    }

    /// Gathers an input in pinned memory and has it copied to the GPU.
    fn upload(&mut self, Placed { number, input, .. }: &Placed<'_>) -> Result<(), Error> {
        let bytes = input.data.len();
        let sides = self.staging.of(*number, bytes)?;
        input.data.copy_into(&mut sides.host.write()?[..bytes]);
        Ok(self.stream.upload(&sides.host, 0..bytes, &sides.gpu, 0)?)
    }

    /// Puts a run on the stream: as a launch of its graph, or in a context that a graph is captured from, or in the instance's.
    fn start(&mut self, context: &mut Context, inputs: &[Placed<'_>]) -> Result<(), Error> {
        let memory = self.staging.allocations();
        if let Some(graphs) = &mut self.graphs {
            if graphs.launch(memory, inputs, &mut self.results) {
                return Ok(());
            }
            if graphs.is_second(memory, inputs) {
                let captured = self.run_and_capture(inputs);
                if self.graphs.as_mut().is_some_and(|graphs| graphs.keep(captured)) {
                    return Ok(());
                }
            }
        }
        instance::choose_profile(context, inputs, &self.stream)?;
        self.enqueue(context, inputs)?;
        if let Some(graphs) = &mut self.graphs {
            graphs.note(self.staging.allocations(), inputs, &self.results);
        }
        Ok(())
    }

    /// Makes a context, runs in it, and captures that run: TensorRT has nothing to allocate or compile any more then. Inside is an
    /// error of the capture alone, after the run.
    fn run_and_capture(&mut self, inputs: &[Placed<'_>]) -> Result<Result<Captured, Error>, Error> {
        let mut context = self.instance.graph_context()?;
        instance::choose_profile(&mut context, inputs, &self.stream)?;
        self.enqueue(&mut context, inputs)?;
        let graph = self.stream.capture(|stream| context.enqueue(stream));
        Ok(graph.map(|graph| Captured::new(graph, context, &self.results)))
    }

    fn enqueue(&mut self, context: &mut Context, inputs: &[Placed<'_>]) -> Result<(), Error> {
        for placed in inputs {
            context.set_input_shape(placed.number, placed.input.shape)?;
            if placed.is_values() {
                context.set_input_values(placed.number, &placed.values())?;
            } else {
                let sides = self.staging.of(placed.number, placed.input.data.len())?;
                context.bind(placed.number, &sides.gpu, 0)?;
            }
        }
        context.infer_shapes()?;
        self.results.clear();
        for &number in &self.instance.outputs {
            self.results.push(make_room(context, number, &mut self.staging)?);
        }
        context.enqueue(&self.stream)
    }

    /// Has the outputs that are wanted copied to pinned memory. `context` is there for those whose size the run tells.
    fn download(&mut self, context: Option<&Context>, wanted: &[usize]) -> Result<(), Error> {
        for &index in wanted {
            let number = self.instance.outputs[index];
            let computed = &mut self.results[index];
            let of_context = if computed.is_known() {
                None
            } else {
                // How large it is, is known when the run is done.
                self.stream.synchronize()?;
                let output = context.and_then(|context| context.output(number));
                let (memory, shape) = output.ok_or_else(no_output)?;
                let bytes = shapes::size(self.instance.signature.outputs[index].datatype, &shape);
                *computed = LaneOutputs { shape, bytes };
                Some(memory)
            };
            let bytes = computed.bytes;
            let sides = self.staging.of(number, bytes)?;
            self.stream.download(of_context.as_ref().unwrap_or(&sides.gpu), 0..bytes, &sides.host, 0)?;
        }
        Ok(())
    }

    /// The outputs that are wanted, once their copies are done.
    fn read(&mut self, wanted: &[usize]) -> Result<Vec<OutputTensor>, Error> {
        let read = |&index: &usize| {
            let LaneOutputs { shape, bytes } = self.results[index];
            let sides = self.staging.of(self.instance.outputs[index], bytes)?;
            let data = Bytes::copy_from_slice(&sides.host.read()?[..bytes]);
            Ok(OutputTensor { index, shape: shape.to_vec(), data })
        };
        wanted.iter().map(read).collect()
    }
}

impl Session for Lane {
    fn signature(&self) -> &Signature {
        &self.instance.signature
    }

    fn run(&mut self, inputs: &[InputTensor<'_>], outputs: &[usize]) -> Result<Run, EngineError> {
        let instance = self.instance.clone();
        instance.tie.check()?;
        let inputs = shapes::place(&instance.plan, inputs)?;
        let mut held = None;
        let computed = self.compute(&instance, &mut held, &inputs, outputs);
        computed.map_err(|error| {
            // What was put on the stream still uses this lane's memory, and maybe the context's.
            instance.tie.explain(&error, &self.stream.synchronize())
        })
    }

    fn lost(&self) -> Option<&Arc<Gpu>> {
        self.instance.tie.lost()
    }

    fn memory(&self) -> Option<(i32, Account)> {
        let device = &self.instance.device;
        Some((device.ordinal(), device.account().clone()))
    }
}

impl LaneOutputs {
    pub(super) fn is_known(&self) -> bool {
        !self.shape.contains(&-1)
    }
}

/// Gives an output memory: so much as its shape takes, or, where the run tells the shape, as it turns out.
fn make_room(context: &mut Context, number: usize, staging: &mut Staging) -> Result<LaneOutputs, Error> {
    let mut computed = LaneOutputs { shape: context.shape(number)?, bytes: 0 };
    if computed.is_known() {
        computed.bytes = context.size(number)?;
        context.bind(number, &staging.of(number, computed.bytes)?.gpu, 0)?;
    } else if context.output(number).is_none() {
        context.allocate_output(number)?;
    }
    Ok(computed)
}

fn no_output() -> Error {
    Error::Wrong("an output was not computed".to_owned())
}
